package fleet

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// One that is started again at once is not gone, and one that answers nobody is not
// either: its callers wait as long as they do.
func TestVigil(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr().String()})
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	lost := make(chan error, 1)
	go func() { lost <- awaitLoss(ctx, client.Options()) }()
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
		t.Errorf("it is there, and the vigil says %v", err)
	}
	server.Close()
	began := time.Now()
	if err := awaitLoss(t.Context(), client.Options()); err == nil || time.Since(began) < goneAfter {
		t.Errorf("nobody is there, and the vigil says %v after %s", err, time.Since(began))
	}
	if err := awaitLoss(ctx, client.Options()); err != nil {
		t.Errorf("a vigil that has ended: %v", err)
	}
}
