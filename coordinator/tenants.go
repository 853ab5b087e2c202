package coordinator

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/lane"
)

// tenantGauges report the balances of the tenants of WithObservedTenants.
type tenantGauges struct {
	granted, remaining, reserved, committed, holds metric.Int64ObservableGauge
	ended, epochEnd                                metric.Int64ObservableGauge // of accounts with a window of the calendar
}

func newTenantGauges(meter metric.Meter) (tenantGauges, error) {
	var errs []error
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge("bursar.tenant."+name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	g := tenantGauges{
		granted:   gauge("granted", "{microcent}", "The budget of an observed tenant, with a window that of the current epoch or of the rolling window."),
		remaining: gauge("remaining", "{microcent}", "The remaining budget of an observed tenant."),
		reserved:  gauge("reserved", "{microcent}", "The amount reserved by the open holds of an observed tenant."),
		committed: gauge("committed", "{microcent}", "The amount that an observed tenant has spent, with a window in the current epoch or the rolling window."),
		holds:     gauge("holds", "{hold}", "The number of open holds of an observed tenant."),
		ended:     gauge("ended", "{microcent}", "The amount reserved in ended epochs by the open holds of an observed tenant."),
		epochEnd:  gauge("epoch.end", "s", "The Unix time at which the epoch of an observed tenant ends and its budget renews."),
	}
	return g, errors.Join(errs...)
}

func (g tenantGauges) all() []metric.Observable {
	return []metric.Observable{g.granted, g.remaining, g.reserved, g.committed, g.holds, g.ended, g.epochEnd}
}

// observeTimeout bounds how long a collection of metrics waits for Redis.
const observeTimeout = 2 * time.Second

// observe reads each tenant's base limit, and then all its limits, at one instant each. It skips a
// tenant that is missing or cannot be read in time.
func (g tenantGauges) observe(ctx context.Context, c *Coordinator, o metric.Observer) error {
	if c.node.Closed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	var errs []error
	for _, tenant := range c.config.observed {
		a, _, err := c.send(ctx, lane.NewCall(opBalance.kind(), tenant, 0, budget.ReservationID{}))
		if err != nil || a.Outcome != budget.Found {
			errs = append(errs, err)
			continue
		}
		o.ObserveInt64(g.holds, a.Holds, metric.WithAttributes(c.telemetry.identity.all(tenantKey.String(string(tenant)))...))
		g.observeTerms(c, o, tenant, *a.Balance)
		if a.Balance.Settings.Limits == 0 {
			continue
		}
		if a, _, err = c.send(ctx, lane.NewCall(opLimits.kind(), tenant, 0, budget.ReservationID{})); err != nil || a.Outcome != budget.Found {
			errs = append(errs, err)
			continue
		}
		for _, b := range a.Limits.Limits[1:] {
			g.observeTerms(c, o, tenant, b)
		}
	}
	return errors.Join(errs...)
}

// observeTerms reports the balance of a limit. The series of a base limit don't have the attribute
// of limits, so they stay the same when the tenant gets further ones.
func (g tenantGauges) observeTerms(c *Coordinator, o metric.Observer, tenant budget.TenantID, b budget.Balance) {
	attributes := []attribute.KeyValue{tenantKey.String(string(tenant))}
	if b.Limit != budget.NoPeriod {
		attributes = append(attributes, limitKey.String(b.Limit.String()))
	}
	labels := metric.WithAttributes(c.telemetry.identity.all(attributes...)...)
	o.ObserveInt64(g.granted, int64(b.Granted), labels)
	o.ObserveInt64(g.remaining, int64(b.Remaining), labels)
	o.ObserveInt64(g.reserved, int64(b.Reserved), labels)
	o.ObserveInt64(g.committed, int64(b.Committed), labels)
	if end := b.Epoch.End; end != 0 {
		o.ObserveInt64(g.ended, int64(b.Ended), labels)
		o.ObserveInt64(g.epochEnd, end.Time().Unix(), labels)
	}
}
