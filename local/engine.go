package local

import (
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

// account returns the tenant's account, advanced to now, or nil where there is
// none; an error where there can be none, or where an option is bad.
func (e *Engine) account(tenant budget.TenantID) (*account, error) {
	a := e.accounts.find(tenant)
	if a == nil {
		return nil, tenant.Validate() // those with an account were validated before they got it
	}
	a.advance(e.clock.now())
	return a, nil
}
