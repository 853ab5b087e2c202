package redistest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports come from below the range that Linux (32768) and macOS (49152) give to
// outgoing connections: while a server is down between Kill and Restart, no
// client of anything can be given its port.
const (
	lowestPort = 10_000
	portCount  = 22_000
	portTries  = 1_000
)

// portSource hands out a port that was free a moment ago. Another process may
// take it before the server does, so that a start has to be ready to ask again.
type portSource func() (int, error)

// takenPorts are those of this process' servers, running or not.
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
