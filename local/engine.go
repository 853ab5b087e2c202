package local

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Engine keeps budgets in this process. It implements [budget.Engine], is safe
// for any number of goroutines, and needs no Close.
type Engine struct {
	accounts accounts
	clock    clock
	holdTTL  int64 // milliseconds; 0 for none
}

var _ budget.Engine = (*Engine)(nil)

// New returns an engine without tenants. Its error names an option that cannot be.
func New(opts ...Option) (*Engine, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	e := &Engine{holdTTL: cfg.holdTTL.Milliseconds()}
	e.accounts.init()
	e.clock.init(cfg.clock)
	return e, nil
}

// account returns the tenant's account as it is now: what was due has ended. It
// is nil where there is none, with an error where there can be none or the
// options are bad.
func (e *Engine) account(tenant budget.TenantID, opts []budget.Option) (*account, budget.Options, error) {
	a := e.accounts.find(tenant)
	if a == nil {
		// Tenants that have an account were validated when they got it.
		if err := tenant.Validate(); err != nil {
			return nil, budget.Options{}, err
		}
	}
	o, err := budget.Apply(opts)
	if err != nil {
		return nil, o, err
	}
	if a != nil {
		a.advance(e.clock.now())
	}
	return a, o, nil
}

// ttl is the time to live of a hold, in milliseconds.
func (e *Engine) ttl(o budget.Options) int64 {
	if o.HasHoldTTL {
		return int64(o.HoldTTL / time.Millisecond)
	}
	return e.holdTTL
}
