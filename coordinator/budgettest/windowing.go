package budgettest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// The windows of random operations.

// windowing is the part of an operation that concerns windows.
type windowing struct {
	window windowChange // of verbConfigure and verbEnsure
	toward toward       // an advance in place of the verb, unless it is nowhere
	quiet  bool         // the next operation is the first one after an advance
	lasts  bool         // a hold has no deadline instead of the default one
}

// windowChange is a window to set. Its amount is the operation's, or 0 if it is kept.
type windowChange struct {
	set, keeps bool
	window     budget.Window
}

// String returns the window without its amount.
func (c windowChange) String() string {
	w := c.window
	return fmt.Sprintf("a window by the %s (%s, from %s or day %d, carry %d, amount kept: %t)", w.Period, w.Zone, w.Weekday, w.Day, w.Carry, c.keeps)
}

// toward is a time to which the clock moves, relative to the boundaries of the operation's
// tenant. Without boundaries it moves by the operation's jump.
type toward uint8

const (
	nowhere        toward = iota
	beforeBoundary        // 1 ms
	toBoundary
	afterBoundary // 1 ms
	toSecond      // boundary
	beyondFourth  // boundary
	pastTenWeeks
)

var towardNames = [...]string{
	"", "1 ms before the next boundary", "the next boundary", "1 ms after the next boundary", "the second next boundary",
	"beyond the fourth next boundary", "ten weeks later",
}

// of returns the time for an operation with a verb: that of an advance may be a boundary.
func (t toward) of(v verb) toward {
	if v != verbAdvance {
		return nowhere
	}
	return t
}

// of returns the text of an advance.
func (w windowing) of(tenant budget.TenantID) string {
	text := ""
	if w.toward != nowhere {
		text = fmt.Sprintf(", or to %s of %s", towardNames[w.toward], tenant)
	}
	if w.quiet {
		text += ", without a read"
	}
	return text
}

var (
	windowTemplates = []windowChange{
		{},
		{true, false, budget.Window{Period: budget.Hour, Carry: budget.CarryAll}},
		{true, true, budget.Window{Period: budget.Day, Zone: "Europe/Berlin"}},
		{},
		{true, false, budget.Window{Period: budget.Hour, Carry: 100}},
		{true, false, budget.Window{Period: budget.Day, Carry: budget.CarryAll}},
		{true, true, budget.Window{Period: budget.Hour, Carry: 3}},
		{true, true, budget.Window{}},
		{},
		{true, false, budget.Window{Period: budget.Hour}},
		{true, true, budget.Window{Period: budget.Week, Weekday: time.Monday, Carry: budget.CarryAll}},
		{true, false, budget.Window{Period: budget.Day, Carry: 10}},
		{true, true, budget.Window{Period: budget.Month, Day: 28, Zone: "America/New_York", Carry: 1000}},
		{},
		{true, false, budget.Window{Period: budget.Hour, Zone: "Asia/Kathmandu", Carry: exactFloat}},
		{true, false, budget.Window{Period: budget.Day, Day: 3}},
		{true, true, budget.Window{Period: budget.Last24Hours}},
		{true, false, budget.Window{Period: budget.Last24Hours}},
		{true, true, budget.Window{Period: budget.Last7Days}},
		{true, false, budget.Window{Period: budget.Last30Days}},
		{true, false, budget.Window{Period: budget.Last24Hours}},
		{true, true, budget.Window{Period: budget.Last24Hours}},
		{true, true, budget.Window{Period: budget.Last30Days}},
		{true, false, budget.Window{Period: budget.Last7Days}},
	}
	towardChoices = []toward{
		nowhere, nowhere, toBoundary, nowhere, nowhere, beforeBoundary, nowhere, nowhere, afterBoundary, nowhere, nowhere, toSecond, nowhere,
		nowhere, toBoundary, nowhere, nowhere, nowhere, beyondFourth, nowhere, nowhere, nowhere, nowhere, pastTenWeeks, nowhere, nowhere, nowhere,
	}
	// windowOutcomesToSee lists further outcomes, of accounts with windows.
	windowOutcomesToSee = []string{
		"configure configured with a window", "ensure created with a window",
		"configure error: " + budget.ErrOverflow.Error() + " with a window", "configure error: " + budget.ErrInvalidSetting.Error() + " with a window",
		"commit committed late", "commit overrun late", "release released late", "commit_available committed late",
		"commit_available committed with a shortfall late", "advance to a boundary", "epoch found", "epoch error: " + budget.ErrNoEpoch.Error(),
	}
	// rollingOutcomesToSee lists further outcomes, of accounts with rolling windows.
	rollingOutcomesToSee = []string{
		"configure configured with a rolling window", "ensure created with a rolling window",
		"ensure error: " + budget.ErrInvalidSetting.Error() + " with a rolling window",
		"commit committed outside", "commit_available committed outside",
		"advance to the end of a part", "advance until a part leaves",
	}
)

func decodeWindowing(first, second byte) windowing {
	return windowing{
		window: pick(windowTemplates, first), toward: pick(towardChoices, second), quiet: first%3 == 1, lasts: first%8 < 5,
	}
}

// withWindows returns the operation for engines whose windows are checked.
func (op operation) withWindows() operation {
	if op.toward != nowhere {
		op.verb = verbAdvance
	}
	if op.lasts {
		op.ttl = 0
	}
	return op
}

// settings returns the settings of an operation that sets some.
func (op operation) settings(amount budget.Microcents) []budget.Setting {
	return append(op.accountSettings(amount), op.limits.settings(amount, op.offset)...)
}

// accountSettings returns those of the base limit.
func (op operation) accountSettings(amount budget.Microcents) []budget.Setting {
	if !op.window.set {
		return op.setting.of(amount, op.thresholds)
	}
	w := op.window.window
	if !op.window.keeps {
		w.Amount = amount
	}
	if op.verb == verbConfigure {
		return []budget.Setting{budget.InWindow(w)}
	}
	return append(op.setting.of(amount, op.thresholds), budget.InWindow(w))
}

// windowed is the part of a pair that concerns windows.
type windowed struct {
	quiet  bool                           // the state was not compared after the last advance
	starts map[limitName][]budget.Instant // of the epochs of the reference, of which the last few are compared
}

// comparedEpochs is the number of epochs of an account that are compared: more than an engine
// keeps.
const comparedEpochs = 6

// advance moves the clock and compares the state, unless the next operation shall be the first.
// That must then be at the same time: each engine may begin the epochs of further accounts in an
// operation.
func (p *pair) advance(op operation) error {
	if p.quiet {
		if err := p.compareState(); err != nil {
			return err
		}
	}
	target, err := p.destination(op)
	if err != nil {
		return err
	}
	p.clock.set(target)
	if p.quiet = op.quiet; p.quiet {
		return nil
	}
	return p.compareState()
}

// destination returns the time to which an operation moves the clock.
func (p *pair) destination(op operation) (time.Time, error) {
	now := p.clock.now()
	jump := now.Add(op.jump)
	if op.toward == nowhere {
		return jump, nil
	}
	if op.toward == pastTenWeeks {
		return now.AddDate(0, 0, 70), nil
	}
	b, err := p.chosen(op)
	if err != nil {
		return now, err
	}
	if w := b.Settings.Window; w.Period.Rolling() {
		return p.rollingDestination(op, w.Period)
	}
	if b.Epoch.End == 0 {
		return jump, nil
	}
	following, err := b.Settings.Window.Boundaries(b.Epoch.End.Time(), 3)
	if err != nil {
		return now, err
	}
	target := map[toward]time.Time{
		beforeBoundary: b.Epoch.End.Time().Add(-time.Millisecond), toBoundary: b.Epoch.End.Time(),
		afterBoundary: b.Epoch.End.Time().Add(time.Millisecond), toSecond: following[0], beyondFourth: following[2].Add(time.Minute),
	}[op.toward]
	if target.Before(now) {
		return jump, nil
	}
	p.coverage["advance to a boundary"]++
	if b.Limit != budget.NoPeriod {
		p.coverage["advance to a boundary of a limit"]++
	}
	return target, nil
}

// rolls reports whether an account of the reference has a rolling window.
func (p *pair) rolls(tenant budget.TenantID) bool {
	b, err := p.reference.Engine.Balance(p.ctx, tenant)
	return err == nil && b.Settings.Window.Period.Rolling()
}

// rollingDestination returns the time to which an operation moves the clock if its tenant has a
// rolling window: about when the oldest part with an amount leaves or, if there is none, when the
// current part ends; when that ends; or when it leaves.
func (p *pair) rollingDestination(op operation, period budget.Period) (time.Time, error) {
	parts, length := period.Parts()
	start := p.clock.now().Truncate(length)
	left, err := p.reference.Engine.Remaining(p.ctx, op.tenant)
	if err != nil {
		return start, fmt.Errorf("the reference's remaining of %q: %w", op.tenant, err)
	}
	target, what := start.Add(length), "advance to the end of a part"
	if left.Renews != 0 && op.toward != toSecond {
		target, what = left.Renews.Time(), "advance until a part leaves"
	}
	switch op.toward {
	case beforeBoundary:
		target = target.Add(-time.Millisecond)
	case afterBoundary:
		target = target.Add(time.Millisecond)
	case beyondFourth:
		target = start.Add(time.Duration(parts+1) * length)
	case nowhere, toBoundary, toSecond, pastTenWeeks:
	}
	if target.Before(p.clock.now()) {
		return p.clock.now().Add(op.jump), nil
	}
	p.coverage[what]++
	return target, nil
}

// late returns "late" if an operation settles a hold of an ended epoch of the hold's tenant, or
// "outside" if the rolling window of the tenant doesn't contain the hold, else "".
func (p *pair) late(op operation, slot int) (string, error) {
	if !p.able.windows || !op.verb.settles() || slot == fabricatedSlot {
		return "", nil
	}
	b, err := p.reference.Engine.Balance(p.ctx, p.reference.ids[slot].Tenant())
	if err != nil {
		return "", fmt.Errorf("the reference's balance of a hold's tenant: %w", err)
	}
	if parts, length := b.Settings.Window.Period.Parts(); parts > 0 {
		oldest := p.clock.now().Truncate(length).Add(-time.Duration(parts) * length)
		if p.made[slot] < budget.InstantOf(oldest) {
			return "outside", nil
		}
	}
	if p.made[slot] < b.Epoch.Start {
		return "late", nil
	}
	return "", nil
}

// reservable returns an amount that an operation may reserve: the sum of all open holds of an
// account must fit 64 bits, although those of ended epochs don't need to.
func (p *pair) reservable(tenant budget.TenantID, amount budget.Microcents) (budget.Microcents, error) {
	for ; tenant != ""; tenant = tenant.Parent() {
		b, err := p.reference.Engine.Balance(p.ctx, tenant)
		if err != nil {
			return 0, fmt.Errorf("the reference's balance of %q: %w", tenant, err)
		}
		amount = min(amount, budget.MaxMicrocents-b.Ended-b.Reserved)
	}
	return amount, nil
}

// note remembers when the epochs of the accounts started.
func (p *pair) note(accounts map[budget.TenantID]account) {
	if p.starts == nil {
		p.starts = make(map[limitName][]budget.Instant)
	}
	for tenant, a := range accounts {
		p.noteStart(limitName{tenant, budget.NoPeriod}, a.Epoch.Start)
		for period, limit := range a.Limits {
			p.noteStart(limitName{tenant, period}, limit.Epoch.Start)
		}
	}
}

func (p *pair) noteStart(name limitName, start budget.Instant) {
	starts := p.starts[name]
	if start != 0 && !slices.Contains(starts, start) {
		starts = append(starts, start)
		p.starts[name] = starts[max(len(starts)-comparedEpochs, 0):]
	}
}

// compareEpochs compares the last epochs of a tenant and its ancestors.
func (p *pair) compareEpochs(tenant budget.TenantID) error {
	for ; tenant != ""; tenant = tenant.Parent() {
		for period := budget.NoPeriod; period <= budget.Last30Days; period++ {
			name := limitName{tenant, period}
			for _, start := range p.starts[name] {
				want, got := p.reference.epoch(p.ctx, name, start), p.subject.epoch(p.ctx, name, start)
				what := "epoch "
				if period != budget.NoPeriod {
					what = "epoch of a limit "
				}
				p.coverage[what+want.key()]++
				if err := compareAnswers(want, got); err != nil {
					return fmt.Errorf("the epoch of %q (%s) at %s: %w", tenant, period, start, err)
				}
			}
		}
	}
	return nil
}

// epoch returns the balance of a limit in the epoch that starts at a time.
func (s *side) epoch(ctx context.Context, name limitName, start budget.Instant) answer {
	res, err := s.Engine.Balance(ctx, name.tenant, budget.OfLimit(name.period), budget.AtEpoch(start.Time()))
	if err == nil && res.Outcome == budget.Found && !res.Conserved() {
		err = fmt.Errorf("the terms don't add up: %+v", res)
	}
	return answer{Outcome: res.Outcome, Account: accountOf(budget.HoldList{Balance: res}, nil), Err: errorName(err)}
}
