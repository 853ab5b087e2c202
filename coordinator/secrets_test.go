package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A node's errors, logs, spans and metrics never contain a password or a URL.
func TestSecretsAreNotLeaked(t *testing.T) {
	t.Parallel()
	const password = "correct-horse-battery"
	server := redistest.Start(t, redistest.WithUser("node", password, "~bursar:*", "+@all"))
	opts := server.Options()
	opts.Username, opts.Password = "node", password
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	log := &logRecorder{}
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewSpanRecorder()
	options := []Option{
		log.option(), WithCallTimeout(100 * time.Millisecond), WithBreaker(100 * time.Millisecond),
		WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))),
		WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))),
	}
	var texts []string
	_, err := New(t.Context(), redis.NewClient(&redis.Options{Addr: opts.Addr, Username: "node", Password: password + "r"}), options...)
	texts = append(texts, fmt.Sprint(err))
	for _, fault := range reportedFaults(server.Client(), server) {
		c, err := New(t.Context(), client, options...)
		if err != nil {
			t.Fatal(fault.name, err)
		}
		ensure(t, c, "acme", 1000)
		fault.begin(t)
		texts = append(texts, callAll(t, c, fault.name)...)
		metrics, _ := read(t, reader)
		texts = append(texts, fmt.Sprint(metrics))
		fault.end(t)
		server.Client().FlushAll(t.Context())
	}
	texts = append(texts, log.text())
	if len(spans.Ended()) == 0 || log.text() == "" {
		t.Error("no spans or log lines were recorded")
	}
	for _, s := range spans.Ended() {
		texts = append(texts, fmt.Sprint(s.Name(), s.Attributes(), s.Status(), s.Events(), s.Links()))
	}
	for _, text := range texts {
		for _, secret := range []string{password, "redis://"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q appears in: %.300s", secret, text)
			}
		}
	}
}

type reportedFault struct {
	name       string
	begin, end func(t *testing.T)
}

func reportedFaults(admin *redis.Client, server *redistest.Server) []reportedFault {
	nothing := func(*testing.T) {}
	do := func(args ...any) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := admin.Do(t.Context(), args...).Err(); err != nil {
				t.Errorf("%v: %v", args, err)
			}
		}
	}
	must := func(what func() error) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := what(); err != nil {
				t.Error(err)
			}
		}
	}
	return []reportedFault{
		{"a corrupt account", do("HSET", acmeLedger, "aacme", "1 2 3 4"), nothing},
		{"a layout of the future", do("HSET", acmeLedger, "f", "99 4 0 0123456789abcdef"), nothing},
		{"another incarnation", do("HSET", acmeLedger, "f", store.Header{Layout: 4, Partitions: 4, Index: acmePartition, Incarnation: "0123456789abcdef"}.String()), nothing},
		{"a lost partition", do("FLUSHALL"), nothing},
		{"foreign timers", func(t *testing.T) { do("DEL", acmeTimers)(t); do("SET", acmeTimers, "x")(t) }, nothing},
		{"no right to write", do("ACL", "SETUSER", "node", "-hset"), do("ACL", "SETUSER", "node", "+hset")},
		{"no right to the keys", do("ACL", "SETUSER", "node", "resetkeys"), do("ACL", "SETUSER", "node", "~bursar:*")},
		{"another password", func(t *testing.T) {
			do("ACL", "SETUSER", "node", "resetpass", ">other")(t)
			do("CLIENT", "KILL", "USER", "node")(t)
		}, do("ACL", "SETUSER", "node", "resetpass", ">correct-horse-battery")},
		{"full memory", do("CONFIG", "SET", "maxmemory", "1"), do("CONFIG", "SET", "maxmemory", "0")},
		{"a frozen server", must(server.Pause), must(server.Resume)},
		{"a stopped server", func(*testing.T) { server.Kill() }, must(func() error { return server.Restart(context.Background()) })},
	}
}

// callAll calls each operation, and returns the texts of checks and errors.
func callAll(t *testing.T, c *Coordinator, fault string) (texts []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	id := budget.NewReservationID("acme", 1, 2)
	_, err1 := c.TryReserve(ctx, "acme", 1)
	_, err2 := c.Commit(ctx, id, 1)
	_, err3 := c.Lookup(ctx, id)
	_, err4 := c.Holds(ctx, "acme")
	_, err5 := c.EnsureTenant(ctx, "acme", 1)
	err6 := c.Ready(ctx)
	_, err7 := New(ctx, c.client, quiet(), WithCallTimeout(100*time.Millisecond))
	checks, err8 := Inspect(ctx, c.client)
	texts = append(texts, fmt.Sprint(checks))
	failures := 0
	for _, err := range []error{err1, err2, err3, err4, err5, err6, err7, err8} {
		if err != nil {
			failures++
			texts = append(texts, err.Error())
		}
	}
	if failures == 0 {
		t.Errorf("%s: no operation failed", fault)
	}
	if err := c.Close(ctx); err != nil && !errors.Is(err, ErrUnavailable) {
		texts = append(texts, err.Error())
	}
	return texts
}
