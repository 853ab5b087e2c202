package budgettest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// fixture holds the new engine of a check, its clock, and the tenants that the check has
// created.
type fixture struct {
	t       testing.TB
	ctx     context.Context
	subject Subject
	engine  budget.Engine
	clock   *clock
	tenants []budget.TenantID
	// settings are those that the check has given to its tenants.
	settings map[budget.TenantID]budget.Settings
	limits   map[limitName]budget.Settings // of their limits
}

// limitName names a limit of a tenant.
type limitName struct {
	tenant budget.TenantID
	period budget.Period
}

func newFixture(t testing.TB, f Factory, c check) *fixture {
	t.Helper()
	x := &fixture{
		t: t, ctx: t.Context(), clock: newClock(),
		settings: make(map[budget.TenantID]budget.Settings), limits: make(map[limitName]budget.Settings),
	}
	config := Config{HoldTTL: c.ttl, Clock: x.clock.now}
	if c.ownClock {
		config.Clock = nil
	}
	x.subject = f(t, config)
	x.engine = x.subject.Engine
	if !c.levels {
		x.engine = flat{x.subject.Engine, x}
	}
	return x
}

func (x *fixture) audit() {
	x.t.Helper()
	if err := Audit(x.ctx, x.subject, x.clock.now(), x.tenants...); err != nil {
		x.t.Error(err)
	}
}

// open creates a tenant, which must be new.
func (x *fixture) open(tenant budget.TenantID, amount budget.Microcents, settings ...budget.Setting) {
	x.t.Helper()
	x.tenants = append(x.tenants, tenant)
	change, err := budget.NewChange(settings...)
	if err != nil {
		x.t.Fatal(err)
	}
	x.settings[tenant] = x.after(tenant, budget.Settings{}, change)
	expect(x, budget.Ensured{Outcome: budget.Created, Remaining: amount})(x.engine.EnsureTenant(x.ctx, tenant, amount, settings...))
}

// after returns the settings of a tenant after a change, and remembers those of its limits.
func (x *fixture) after(tenant budget.TenantID, before budget.Settings, change budget.Change) budget.Settings {
	for _, l := range change.Limits {
		name := limitName{tenant, l.Window.Period}
		delete(x.limits, name)
		if !l.Remove {
			x.limits[name] = budget.Settings{Overdraft: l.Overdraft, Thresholds: l.Thresholds, Window: l.Window}
		}
	}
	return change.Apply(before)
}

// hold reserves cost, checks the remaining amount after it, and returns the ID.
func (x *fixture) hold(tenant budget.TenantID, cost, remaining budget.Microcents, opts ...budget.ReserveOption) budget.ReservationID {
	x.t.Helper()
	res, err := x.engine.TryReserve(x.ctx, tenant, cost, opts...)
	id := res.ID
	res.ID = budget.ReservationID{}
	expect(x, budget.Reservation{Outcome: budget.Reserved, Remaining: remaining})(res, err)
	if id.Tenant() != tenant || id.Validate() != nil {
		x.t.Fatalf("a reserve of %q returned the id %q", tenant, id)
	}
	return id
}

// balance checks a tenant's settings and all terms of its balance.
func (x *fixture) balance(tenant budget.TenantID, granted, remaining, reserved, committed budget.Microcents) {
	x.t.Helper()
	expect(x, budget.Balance{
		Outcome: budget.Found, Granted: granted, Remaining: remaining, Reserved: reserved, Committed: committed,
		Settings: x.settings[tenant],
	})(x.engine.Balance(x.ctx, tenant))
}

// holds audits and returns a tenant's holds.
func (x *fixture) holds(tenant budget.TenantID) []budget.Hold {
	x.t.Helper()
	list, err := x.engine.Holds(x.ctx, tenant)
	if err != nil {
		x.t.Fatalf("holds of %q: no answer: %v", tenant, err)
	}
	if err := auditAnswer(tenant, list); err != nil {
		x.t.Fatalf("holds of %q: %v", tenant, err)
	}
	return list.Holds
}

// expect checks a result, as in expect(x, want)(x.engine.Commit(x.ctx, id, 5)).
func expect[R comparable](x *fixture, want R) func(R, error) {
	return func(got R, err error) {
		x.t.Helper()
		if err != nil {
			x.t.Fatalf("no answer: %v; want %+v", err, want)
		}
		if got != want {
			x.t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}

// refused checks that an operation returns an error and a zero result. The error must wrap
// want, unless want is nil.
func refused[R comparable](x *fixture, want error, what string) func(R, error) {
	return func(got R, err error) {
		x.t.Helper()
		var zero R
		if err == nil || want != nil && !errors.Is(err, want) {
			x.t.Fatalf("%s: got %+v and error %v, want the error %v", what, got, err, want)
		}
		if got != zero {
			x.t.Fatalf("%s: got %+v along with the error, want a zero result", what, got)
		}
	}
}

// advance moves the clock.
func (x *fixture) advance(d time.Duration) { x.clock.advance(d) }

// The results that most checks expect.

func committed(remaining, actual budget.Microcents) budget.Settlement {
	return budget.Settlement{Outcome: budget.Committed, Remaining: remaining, Actual: actual}
}

func released(remaining, returned budget.Microcents) budget.Settlement {
	return budget.Settlement{Outcome: budget.Released, Remaining: remaining, Returned: returned}
}

func overrun(remaining budget.Microcents) budget.Settlement {
	return budget.Settlement{Outcome: budget.Overrun, Remaining: remaining}
}

func missing(prior budget.Outcome) budget.Settlement {
	return budget.Settlement{Outcome: budget.MissingReservation, Prior: prior}
}

func insufficient(remaining, required budget.Microcents) budget.Reservation {
	return budget.Reservation{Outcome: budget.Insufficient, Remaining: remaining, Required: required}
}
