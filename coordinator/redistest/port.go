package redistest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are below the range for outgoing connections of Linux (from 32768) and macOS (from
// 49152), so that no connection gets a server's port while it is down between Kill and
// Restart.
const (
	lowestPort = 10_000
	portCount  = 22_000
	portTries  = 1_000
)

// portSource returns a port that was free a moment ago. Another process may bind it before
// the server does; then the caller must call portSource again.
type portSource func() (int, error)

// takenPorts holds the ports of this process's servers, running or not.
var takenPorts = struct {
	sync.Mutex
	set map[int]bool
}{set: map[int]bool{}}

func takePort() (int, error) {
	takenPorts.Lock()
	defer takenPorts.Unlock()
	for range portTries {
		port := lowestPort + rand.IntN(portCount)
		if takenPorts.set[port] || !portFree(port) {
			continue
		}
		takenPorts.set[port] = true
		return port, nil
	}
	return 0, errors.New("redistest: no free loopback port between 10000 and 32000; is something holding them all?")
}

func returnPort(port int) {
	takenPorts.Lock()
	defer takenPorts.Unlock()
	delete(takenPorts.set, port)
}

func portFree(port int) bool {
	listener, err := net.Listen("tcp4", loopback(port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
