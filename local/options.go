package local

import (
	"errors"
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Option sets up an Engine. The defaults are right for most.
type Option func(*config)

type config struct {
	holdTTL time.Duration
	clock   func() time.Time
}

// WithHoldTTL sets after how long an unsettled hold is released: whole
// milliseconds up to budget.MaxHoldTTL, 0 for never. Defaults to
// budget.DefaultHoldTTL.
func WithHoldTTL(ttl time.Duration) Option { return func(c *config) { c.holdTTL = ttl } }

// WithClock makes the clock of deadlines the caller's, for tests: it is asked in
// every operation, must be safe for concurrent use, and is cut to milliseconds.
// Where it runs backwards, the engine's time stands still. nil, the default, is
// the engine's own clock.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

func newConfig(opts []Option) (config, error) {
	c := config{holdTTL: budget.DefaultHoldTTL}
	var errs []error
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, fmt.Errorf("option %d is nil: leave it out", i+1))
			continue
		}
		opt(&c)
	}
	return c, errors.Join(append(errs, budget.ValidateHoldTTL(c.holdTTL))...)
}
