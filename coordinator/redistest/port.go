package redistest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
	"syscall"
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

// takenPorts holds the reservations of this process's ports, whether the server runs or not.
var takenPorts = struct {
	sync.Mutex
	reservations map[int]io.Closer
}{reservations: map[int]io.Closer{}}

func takePort() (int, error) {
	takenPorts.Lock()
	defer takenPorts.Unlock()
	for range portTries {
		port := lowestPort + rand.IntN(portCount)
		if takenPorts.reservations[port] != nil || !portFree(port) {
			continue
		}
		reservation, err := reservePort(port)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("redistest: reserving port %d: %w", port, err)
		}
		takenPorts.reservations[port] = reservation
		return port, nil
	}
	return 0, errors.New("redistest: no free loopback port between 10000 and 32000; is something holding them all?")
}

func returnPort(port int) {
	takenPorts.Lock()
	defer takenPorts.Unlock()
	if reservation := takenPorts.reservations[port]; reservation != nil {
		_ = reservation.Close() // a socket without connections
		delete(takenPorts.reservations, port)
	}
}

// reservePort keeps other processes' servers off a port until Close or the end of the
// process, also while the server is down between Kill and Restart. It listens on an
// abstract Unix socket, which needs no file and exists only on Linux; elsewhere it does
// nothing.
func reservePort(port int) (io.Closer, error) {
	if runtime.GOOS != "linux" {
		return io.NopCloser(nil), nil
	}
	return net.Listen("unix", "@bursar-redistest-"+strconv.Itoa(port))
}

func portFree(port int) bool {
	listener, err := net.Listen("tcp4", loopback(port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
