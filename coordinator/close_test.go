package coordinator

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// closeWork lists the work that a Close may have to wait for, each begun on a node whose
// Redis does not answer.
var closeWork = []struct {
	name  string
	begin func(t *testing.T, c *Coordinator, reader *sdkmetric.ManualReader, pause func())
}{
	{"a call", func(t *testing.T, c *Coordinator, _ *sdkmetric.ManualReader, pause func()) {
		pause()
		go func() { _, _ = c.TryReserve(context.Background(), "acme", 1) }()
		awaitLane(t, c, "acme", 0)
	}},
	{"an abandoned call", func(t *testing.T, c *Coordinator, _ *sdkmetric.ManualReader, pause func()) {
		pause()
		ctx, abandon := context.WithCancel(t.Context())
		abandoned := async(func() error { _, err := c.TryReserve(ctx, "acme", 1); return err })
		awaitLane(t, c, "acme", 0)
		abandon()
		if err := <-abandoned; !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("a call that was sent: %v", err)
		}
	}},
	{"work of a Do", func(t *testing.T, c *Coordinator, _ *sdkmetric.ManualReader, pause func()) {
		working := make(chan struct{})
		go func() {
			_, _ = c.Do(context.Background(), "acme", 1, func(context.Context) (budget.Microcents, error) {
				close(working)
				<-t.Context().Done() // longer than any Close waits
				return 1, nil
			})
		}()
		<-working
		pause()
	}},
	{"a collection of metrics", func(t *testing.T, c *Coordinator, reader *sdkmetric.ManualReader, pause func()) {
		pause()
		go func() { _ = reader.Collect(context.Background(), new(metricdata.ResourceMetrics)) }()
		awaitLane(t, c, "acme", 0)
	}},
	{"the sessions", func(_ *testing.T, _ *Coordinator, _ *sdkmetric.ManualReader, pause func()) { pause() }},
}

// While Redis does not answer, each Close returns when its own context ends, and the
// first that does ends the node for the others.
func TestEachCloseObeysItsContext(t *testing.T) {
	t.Parallel()
	for _, work := range closeWork {
		t.Run(work.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), ReadTimeout: -1}) // it never times out
			t.Cleanup(func() { _ = client.Close() })
			reader := sdkmetric.NewManualReader()
			c, err := New(t.Context(), client, quiet(), withoutProbes(), WithCallTimeout(time.Hour), WithObservedTenants("acme"),
				WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))))
			if err != nil {
				t.Fatal(err)
			}
			ensure(t, c, "acme", 1000)
			work.begin(t, c, reader, func() {
				if err := server.Pause(); err != nil {
					t.Fatal(err)
				}
			})
			unbounded := async(func() error { return c.Close(context.Background()) })
			for !c.node.Closed() {
				time.Sleep(100 * time.Microsecond)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			second, third := async(func() error { return c.Close(ctx) }), async(func() error { return c.Close(ctx) })
			for name, closed := range map[string]<-chan error{"with a deadline": second, "with the same deadline": third} {
				if err := within(t, closed); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the Close %s: %v", name, err)
				}
			}
			if err := within(t, unbounded); !errors.Is(err, ErrUnavailable) {
				t.Errorf("the Close without a deadline: %v", err)
			}
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			if err := c.Close(cancelled); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a later Close whose context has ended: %v", err)
			}
			if err := c.Close(context.Background()); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a later Close without a deadline: %v", err)
			}
			if err := server.Resume(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A Close whose context ends does not change the result of one that has finished.
func TestCloseAfterTheWork(t *testing.T) {
	t.Parallel()
	c, err := New(t.Context(), redistest.Start(t).Client(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	ensure(t, c, "acme", 1000)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for i, ctx := range []context.Context{t.Context(), ended, t.Context()} {
		if err := c.Close(ctx); err != nil {
			t.Errorf("Close number %d: %v", i, err)
		}
	}
}

// within returns the error, which must arrive long before Redis is back.
func within(t *testing.T, errs <-chan error) error {
	t.Helper()
	select {
	case err := <-errs:
		return err
	case <-time.After(10 * time.Second):
		return fmt.Errorf("nothing for 10 s")
	}
}
