package local

import (
	"github.com/calybris/bursar/coordinator/budget"
)

// Engine keeps budgets in memory. It implements [budget.Engine], is safe for concurrent
// use, and needs no Close.
type Engine struct {
	accounts accounts
	clock    clock
	holdTTL  int64 // milliseconds; 0 for none

	onThreshold func(budget.Crossing) // nil for none
}

var _ budget.Engine = (*Engine)(nil)

// New returns an engine without tenants. The error, if any, names the invalid options.
func New(opts ...Option) (*Engine, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	e := &Engine{holdTTL: cfg.holdTTL.Milliseconds(), onThreshold: cfg.onThreshold}
	e.accounts.init()
	e.clock.init(cfg.clock)
	return e, nil
}

// account returns the tenant's account, advanced to now, or nil if there is none. The
// error is that of an invalid tenant ID.
func (e *Engine) account(tenant budget.TenantID) (*account, error) {
	a := e.accounts.find(tenant)
	if a == nil {
		return nil, tenant.Validate() // an existing tenant's ID was validated when it was created
	}
	a.advance(e.clock.now())
	return a, nil
}
