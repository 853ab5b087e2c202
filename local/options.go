package local

import (
	"errors"
	"fmt"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Option configures an Engine. The defaults suit most programs.
type Option func(*config)

type config struct {
	holdTTL time.Duration
	clock   func() time.Time

	onThreshold func(budget.Crossing)
}

// WithHoldTTL sets the time after which an unsettled hold is released: whole milliseconds
// up to [budget.MaxHoldTTL], or 0 for never. Defaults to [budget.DefaultHoldTTL].
func WithHoldTTL(ttl time.Duration) Option { return func(c *config) { c.holdTTL = ttl } }

// WithClock sets the clock for deadlines, for tests. Operations call it, so it must be
// safe for concurrent use; its time is cut to milliseconds. If it runs backwards, the
// engine's time stands still until the clock catches up. Defaults to nil, the engine's own
// clock.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

// WithOnThreshold sets a function that is called when an account crosses one of its
// thresholds; see [budget.AtThresholds]. The operation that crossed it calls the function
// before it returns: for each level, from the tenant up, for its base limit and then its others, in
// ascending order of the percentages. The function must be safe for concurrent use, and may call the engine.
// Defaults to nil, no function.
func WithOnThreshold(report func(budget.Crossing)) Option {
	return func(c *config) { c.onThreshold = report }
}

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
