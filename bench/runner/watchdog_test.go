package runner

import (
	"context"
	"net"
	"testing"
	"time"
)

// A server that restarts at once is not gone, nor is one that accepts connections and
// returns errors.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", server.Addr().String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	lost := make(chan error, 1)
	go func() { lost <- awaitLoss(ctx, dial) }()
	for range 2 { // it comes back
		conn, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("-ERR max number of clients reached\r\n"))
		conn.Close()
	}
	cancel()
	if err := <-lost; err != nil {
		t.Errorf("the server answers, and the watchdog returned %v", err)
	}
	server.Close()
	began := time.Now()
	if err := awaitLoss(t.Context(), dial); err == nil || time.Since(began) < goneAfter {
		t.Errorf("the server is closed, and the watchdog returned %v after %s", err, time.Since(began))
	}
	if err := awaitLoss(ctx, dial); err != nil {
		t.Errorf("a watchdog that has ended: %v", err)
	}
}
