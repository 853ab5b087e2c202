//go:build faults

package faults

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy is the network between a fleet and Redis. It forwards everything. With a fault
// set, it applies that to batches, and to nothing else.
type proxy struct {
	t       *testing.T
	ln      net.Listener
	backend atomic.Pointer[string]
	fault   atomic.Int32 // a netFault
	hits    atomic.Int64 // batches hit by the fault

	mu     sync.Mutex
	conns  map[net.Conn]bool
	sent   [][]byte // batches, for a late delivery
	closed bool
	wait   sync.WaitGroup
}

type netFault int32

const (
	healthy      netFault = iota
	loseReply             // executed, and the connection breaks before the reply
	resetBefore           // not executed
	resetMiddle           // half of it is sent
	delayReply            // later than the client waits
	repeatLater           // executed, and kept to be delivered again
	stall                 // nothing is forwarded, and no connection breaks
	netFaultKind          // number of faults
)

func interpose(t *testing.T, backend string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, ln: ln, conns: make(map[net.Conn]bool)}
	p.backend.Store(&backend)
	p.wait.Go(p.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		p.cut(true)
		p.wait.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.ln.Addr().String() }

// lead directs new connections to another server, and breaks the existing ones.
func (p *proxy) lead(backend string) {
	p.backend.Store(&backend)
	p.cut(false)
}

// cut breaks every connection.
func (p *proxy) cut(last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = last
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", *p.backend.Load())
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		if p.closed {
			_ = errors.Join(client.Close(), server.Close())
		}
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		c := &link{p: p, client: client, server: server}
		p.wait.Go(c.requests)
		p.wait.Go(c.replies)
	}
}

func (p *proxy) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// link is one connection.
type link struct {
	p              *proxy
	client, server net.Conn
	verdict        atomic.Int32 // fault of the next reply
}

// close closes both ends when one is closed, but not during a stall.
func (c *link) close() {
	for netFault(c.p.fault.Load()) == stall && !c.p.ended() {
		time.Sleep(time.Millisecond)
	}
	_ = errors.Join(c.client.Close(), c.server.Close())
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	delete(c.p.conns, c.client)
	delete(c.p.conns, c.server)
}

func (c *link) requests() {
	defer c.close()
	buffer := make([]byte, 1<<20)
	for {
		n, err := c.client.Read(buffer)
		if err != nil {
			return
		}
		for netFault(c.p.fault.Load()) == stall && !c.p.ended() {
			time.Sleep(time.Millisecond)
		}
		f := healthy
		if bytes.Contains(buffer[:n], []byte("\r\nevalsha\r\n")) {
			f = netFault(c.p.fault.Load())
		}
		c.verdict.Store(int32(f))
		if f != healthy {
			c.p.hits.Add(1)
		}
		switch f {
		case resetBefore:
			return
		case resetMiddle:
			_, _ = c.server.Write(buffer[:n/2])
			return
		case repeatLater:
			c.p.mu.Lock()
			c.p.sent = append(c.p.sent, bytes.Clone(buffer[:n]))
			c.p.mu.Unlock()
		case healthy, loseReply, delayReply, stall, netFaultKind:
		}
		if _, err := c.server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (c *link) replies() {
	defer c.close()
	buffer := make([]byte, 1<<20)
	for {
		n, err := c.server.Read(buffer) // so the command was executed
		if err != nil {
			return
		}
		switch netFault(c.verdict.Load()) {
		case loseReply:
			return
		case delayReply:
			time.Sleep(1500 * time.Millisecond)
		case healthy, resetBefore, resetMiddle, repeatLater, stall, netFaultKind:
		}
		for netFault(c.p.fault.Load()) == stall && !c.p.ended() {
			time.Sleep(time.Millisecond)
		}
		if _, err := c.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// redeliver sends the kept batches again, each on a connection of its own, and returns
// their number.
func (p *proxy) redeliver() int {
	p.mu.Lock()
	sent := p.sent
	p.sent = nil
	p.mu.Unlock()
	for _, raw := range sent {
		conn, err := net.Dial("tcp", *p.backend.Load())
		if err != nil {
			p.t.Fatal(err)
		}
		if _, err := conn.Write(raw); err != nil {
			p.t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadAtLeast(conn, make([]byte, 1<<16), 1); err != nil {
			p.t.Errorf("a late duplicate was not answered: %v", err)
		}
		_ = conn.Close()
	}
	return len(sent)
}
