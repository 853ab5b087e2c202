package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
)

// The periods of windows, for errors.
const (
	calendarPeriods = "hour, day, week or month"
	anyPeriod       = "hour, day, week, month, 24h, 7d or 30d"
)

// ofCalendar returns a given flag that only a window of the calendar has, or "".
func (c windowChange) ofCalendar() string {
	switch {
	case c.zone != "":
		return zoneName
	case c.setWeekday:
		return weekStartsName
	case c.day > 0:
		return monthStartsName
	case c.setCarry:
		return carryName
	default:
		return ""
	}
}

// missingParts are the parts that a rolling window lacks, by the flags that set them.
var missingParts = map[string]string{
	zoneName: "no boundaries in a time zone", weekStartsName: "no first weekday", monthStartsName: "no first day of a month",
	carryName: "no epochs that pass an amount on",
}

// roll is apply for a change to a rolling window, or of one.
func (c windowChange) roll(w budget.Window) (budget.Window, error) {
	if c.period != budget.NoPeriod {
		w.Period = c.period
	}
	if flag := c.ofCalendar(); flag != "" {
		return w, fmt.Errorf("--%s: a window of the last %s has %s: %s", flag, w.Period, missingParts[flag], c.instead(calendarPeriods))
	}
	if c.amount > 0 {
		w.Amount = c.amount
	}
	return budget.Window{Period: w.Period, Amount: w.Amount}, nil
}

// grant sets the amount of a tenant's window after a change, if the change leaves it out, and
// returns the granted amount. b is the balance before; that of a new tenant has no outcome.
func grant(w *budget.Window, b budget.Balance) (granted budget.Microcents, err error) {
	before, had, exists := b.Settings.Window.Amount, b.Settings.Window.Period != budget.NoPeriod, b.Outcome == budget.Found
	if !had {
		before = b.Granted
	}
	counts := w.Period.Rolling() || w.Amount > before // at once
	switch {
	case w.Amount == 0:
		w.Amount = max(before, 0)
	case exists && counts && had:
		return b.Granted.Add(w.Amount - before)
	case exists && counts:
		return w.Amount, nil
	case !exists && w.Period.Rolling() && w.Amount != b.Granted:
		return 0, fmt.Errorf("a new tenant whose window is the last %s has one amount, but %s differs from its budget of %s: leave it out, or give the same budget",
			w.Period, w.Amount, b.Granted)
	}
	return b.Granted, nil
}

// roll sets how the rolling window of a preview gives back committed amounts. b is the present
// balance as stored, and returns are those of the present window; some may be due.
func (p *previewTerms) roll(b budget.Balance, returns []audit.Return, now time.Time) {
	parts, length := p.Settings.Window.Period.Parts()
	p.PartSeconds = int64(length / time.Second)
	at, present := budget.InstantOf(now), b.Settings.Window.Period
	returns = slices.DeleteFunc(returns, func(r audit.Return) bool { return r.At <= at })
	if present == p.Settings.Window.Period {
		p.Returns = returns
		return
	}
	// The committed amount becomes that of the new window's part of now.
	committed := b.Committed
	switch {
	case present.Rolling():
		committed = 0
		for _, r := range returns {
			committed += r.Amount
		}
	case b.Epoch.End != 0 && b.Epoch.End <= at:
		committed = 0
	}
	if committed > 0 {
		leaves := now.Truncate(length).Add(time.Duration(parts+1) * length)
		p.Returns = []audit.Return{{At: budget.InstantOf(leaves), Amount: committed}}
	}
}

// printReturns prints how a rolling window gives back committed amounts.
func (p previewTerms) printReturns(w io.Writer) {
	if p.PartSeconds == 0 {
		return
	}
	fmt.Fprintf(w, "returns    each cost, once the whole part of %d h in which its hold was made is older than %s\n",
		p.PartSeconds/int64(time.Hour/time.Second), p.Settings.Window.Period)
	for _, r := range p.Returns {
		fmt.Fprintf(w, "           %s  %s\n", r.At, r.Amount)
	}
}

// periodText names the window of an account in a table.
func periodText(p budget.Period) string {
	switch {
	case p == budget.NoPeriod:
		return "-"
	case p.Rolling():
		return "last " + p.String()
	default:
		return p.String()
	}
}

// renewal is the next time at which a tenant's budget grows by its window.
type renewal struct {
	At budget.Instant    `json:"renews,omitzero"`    // 0 for never
	By budget.Microcents `json:"renews_by,omitzero"` // only of a rolling window, which returns a part
}

// String returns the time, and the amount that returns; "-" for none.
func (r renewal) String() string {
	switch {
	case r.At == 0:
		return "-"
	case r.By == 0:
		return r.At.String()
	default:
		return fmt.Sprintf("%s by %s", r.At, r.By)
	}
}

// renewalsOf returns the renewals of accounts by tenant, without those that have none.
func renewalsOf(ctx context.Context, c *connect.Connection, accounts ...budget.Account) (map[budget.TenantID]renewal, error) {
	all := make(map[budget.TenantID]renewal)
	var rolling []budget.TenantID
	for _, a := range accounts {
		switch {
		case a.Balance.Settings.Window.Period.Rolling():
			rolling = append(rolling, a.Tenant)
		case a.Balance.Epoch.End != 0:
			all[a.Tenant] = renewal{At: a.Balance.Epoch.End}
		}
	}
	if len(rolling) == 0 {
		return all, nil
	}
	returns, err := audit.Returns(ctx, c.Client, c.Prefix, rolling...)
	for tenant, next := range returns {
		all[tenant] = renewal{next[0].At, next[0].Amount}
	}
	return all, ofState(err)
}

// printRenewal prints the renewal of a rolling window; that of an epoch is its end.
func printRenewal(w io.Writer, r renewal) {
	if r.By != 0 {
		fmt.Fprintf(w, "renews     %s\n", r)
	}
}
