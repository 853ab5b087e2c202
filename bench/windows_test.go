package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/budget"
)

// A run whose budgets renew checks all epochs, at each level.
func TestRunWindows(t *testing.T) {
	t.Parallel()
	c := Defaults()
	c.Nodes, c.Concurrency, c.Tenants, c.Levels, c.Workload = 2, 4, 12, 3, workload.Storm
	c.Duration, c.Warmup, c.RollEvery, c.HoldTime = 5*time.Second, 0, minRollEvery, 5*time.Millisecond
	result, err := Run(t.Context(), c)
	w := result.Windows
	if err != nil || !result.Conserved || w == nil || w.Epochs < 2*12 || w.Boundaries == 0 || w.P99 == 0 || w.Others == 0 || w.Highest < w.P99 {
		t.Fatalf("%v: %+v\nwindows %+v", err, result.Books, w)
	}
	c.Duration = 100 * time.Millisecond
	for _, tamper := range []struct {
		name string
		do   func(terms []budget.Microcents)
	}{
		{"a budget twice", func(terms []budget.Microcents) { terms[0] *= 2; terms[1] = terms[0] - terms[2] - terms[3] }},
		{"a microcent", func(terms []budget.Microcents) { terms[1]++; terms[0]++ }},
	} {
		c.tamper = func(a *target) error { return rewriteAccount(a, rootName, tamper.do) }
		if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), `for tenant "org": committed is`) {
			t.Errorf("%s: %v", tamper.name, err)
		}
	}
}

// Each interval of the clock is an hour.
func TestClockOfWindows(t *testing.T) {
	t.Parallel()
	c := Config{RollEvery: 2 * time.Second, Duration: time.Second, rollFrom: time.Now().Add(-5 * time.Second)}
	r := c.runner()
	for range 3 {
		at := r.Clock()
		hours := at.Sub(c.rollFrom.UTC().Truncate(time.Hour))
		if hours < 2*time.Hour+time.Second-time.Millisecond || hours > 2*time.Hour+2*time.Second {
			t.Errorf("5 s after %s it is %s", c.rollFrom, at)
		}
	}
}

func TestValidateWindows(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Config){
		"--roll-every 1s: give 2s to 1h0m0s":                                      func(c *Config) { c.RollEvery = time.Second },
		"--roll-every -1s: give 2s to 1h0m0s":                                     func(c *Config) { c.RollEvery = -time.Second },
		"--roll-every 2s: give at least a 1000th of --duration 1h0m0s":            func(c *Config) { c.RollEvery, c.Duration = 2*time.Second, time.Hour },
		"--roll-every: windows are those of accounts in Redis; leave it out, or ": func(c *Config) { c.Engine, c.Redis, c.Nodes, c.RollEvery = report.EngineLocal, "", 1, 2*time.Second },
	} {
		c := Defaults()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	c := Defaults()
	c.RollEvery = 2 * time.Second
	if err := c.validateEpochs([]budget.Microcents{budget.MaxMicrocents / 20}); err == nil || !strings.Contains(err.Error(), "the budgets of 1 tenant in 35 epochs overflow 64 bits") {
		t.Error(err)
	}
}
