package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// wire is all connections of a client: it counts what goes over them, and can hold
// back what is sent.
type wire struct {
	sent, received atomic.Int64
	held           chan struct{} // told of each write that is held back

	mu   sync.Mutex
	gate chan struct{} // closed to let the writes go; nil while nothing is held
}

func newWire() *wire { return &wire{held: make(chan struct{})} }

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn, wire: w}, nil
}

// hold makes every write wait for release, which may be called twice.
func (w *wire) hold() (release func()) {
	gate := make(chan struct{})
	w.mu.Lock()
	w.gate = gate
	w.mu.Unlock()
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.gate = nil
		w.mu.Unlock()
		close(gate)
	})
}

func (w *wire) pass() {
	w.mu.Lock()
	gate := w.gate
	w.mu.Unlock()
	if gate == nil {
		return
	}
	select {
	case w.held <- struct{}{}:
		<-gate
	case <-gate:
	}
}

type countedConn struct {
	net.Conn
	wire *wire
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.wire.pass()
	n, err := c.Conn.Write(b)
	c.wire.sent.Add(int64(n))
	return n, err
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wire.received.Add(int64(n))
	return n, err
}
