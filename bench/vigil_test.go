package bench

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A Redis that dies ends the run long before a call gives up by itself (10 s), whoever
// plays; what the callers say of it is not repeated.
func TestRunOnARedisThatDies(t *testing.T) {
	t.Parallel()
	for _, against := range [][]string{nil, {contender.Local, contender.Check}} {
		t.Run(fmt.Sprint(against), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			c := brief()
			c.Redis, c.Against, c.Duration, c.Rounds = server.URL(), against, 100*time.Second, 1000
			if against == nil {
				c.Rounds = 1
			}
			watching, ended := context.WithCancel(t.Context())
			killed := make(chan time.Time, 1)
			go func() {
				for meter := contender.NewMeter(watching, server.Client()); ; {
					if used, err := meter.Read(watching); err != nil || used.Commands > 10_000 {
						break
					}
				}
				server.Kill()
				killed <- time.Now()
			}()
			result, err := Run(t.Context(), c)
			ended()
			if took := time.Since(<-killed); took > 12*time.Second {
				t.Errorf("it took %s after the death", took)
			}
			said := fmt.Sprint(err)
			if exit.Code(err) != exit.Unavailable || !strings.HasPrefix(said, server.URL()+" is gone in the middle of the run") ||
				!strings.Contains(said, "the books could not be checked") {
				t.Errorf("code %d, %s", exit.Code(err), said)
			}
			if result.Audited || result.Conserved {
				t.Errorf("%+v", result)
			}
		})
	}
}

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
