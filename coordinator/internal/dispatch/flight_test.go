package dispatch

import (
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// The more commands are abandoned, the longer the limit for the next ones.
func TestFlightLimitGrows(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { client.Close() })
	d := New(Config{Client: client, MaxFlight: time.Second, Logger: slog.Default(), Now: time.Now})
	s := d.server("key")
	for hung, want := range map[int32]time.Duration{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 8: 16, 100: 16} {
		s.hung.Store(hung)
		if got := s.flightLimit(); got != want*time.Second {
			t.Errorf("after %d: %s, want %ds", hung, got, want)
		}
	}
}

// A client that has a read timeout, or that can't be given one, is not changed.
func TestBoundedClients(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[time.Duration]time.Duration{-1: time.Second, -2: time.Second, 0: 5 * time.Second, time.Minute: time.Minute} {
		client := redis.NewClient(&redis.Options{ReadTimeout: timeout})
		if got := bounded(client, time.Second).(*redis.Client).Options().ReadTimeout; got != want {
			t.Errorf("a read timeout of %d became %s, want %s", timeout, got, want)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}
