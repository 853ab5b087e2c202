package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

const (
	windowName       = "window"
	windowAmountName = "window-amount"
	zoneName         = "zone"
	weekStartsName   = "week-starts"
	monthStartsName  = "month-starts"
	carryName        = "carry"
)

const windowHelp = `--window makes the budget renew: each epoch, an hour, day, week or month of --zone's clock,
is granted --window-amount, by default the budget that the tenant has, and up to --carry of
what remains of the epoch before. Debt always passes on. A larger amount counts at once, a
smaller one from the next epoch.

With 24h, 7d or 30d the window rolls: a committed amount returns when it is older than that,
in parts of 1, 6 or 24 hours. Such a window has an amount alone, which counts at once. Each
flag changes one part of a window and leaves the others.`

// windowFlags returns the flags of windows, for tenant set and tenant ensure.
func windowFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: windowName, Usage: "renew the budget each `PERIOD`: hour, day, week or month, or limit the last 24h, 7d or 30d; none removes the window"},
		&cli.StringFlag{Name: windowAmountName, Usage: "grant `AMOUNT` in each epoch, or in a rolling window"},
		&cli.StringFlag{Name: zoneName, Usage: "renew by the clock of `ZONE`, such as Europe/Berlin", DefaultText: "UTC"},
		&cli.StringFlag{Name: weekStartsName, Usage: "first `DAY` of a week", DefaultText: "monday"},
		&cli.StringFlag{Name: monthStartsName, Usage: "first `DAY` of a month, 1 to 28", DefaultText: "1"},
		&cli.StringFlag{Name: carryName, Usage: "pass on up to `AMOUNT`, or all, of what remains of an epoch", DefaultText: noSetting},
	}
}

// windowChange is the change of a window that flags give. Its zero value changes nothing.
type windowChange struct {
	given   string // flag that changes a window, without the dashes; "" for none
	remove  bool
	period  budget.Period // NoPeriod if it isn't given
	amount  budget.Microcents
	zone    string
	weekday time.Weekday
	day     int
	carry   budget.Microcents

	setWeekday, setCarry bool

	ofLimit bool // a further limit, which keeps its period
}

// instead returns the remedy if a part needs a window of another period.
func (c windowChange) instead(periods string) string {
	if c.ofLimit {
		return "leave it out, or set the limit " + periods
	}
	return fmt.Sprintf("leave it out, or give --%s %s", windowName, periods)
}

// windowOf returns the change that the flags give. An error names the flag.
func windowOf(cc *cli.Context) (c windowChange, err error) {
	for _, f := range []struct {
		name  string
		parse func(c *windowChange, text string) error
	}{
		{windowName, (*windowChange).parsePeriod},
		{windowAmountName, (*windowChange).parseAmount},
		{zoneName, (*windowChange).parseZone},
		{weekStartsName, (*windowChange).parseWeekday},
		{monthStartsName, (*windowChange).parseDay},
		{carryName, (*windowChange).parseCarry},
	} {
		if !cc.IsSet(f.name) {
			continue
		}
		if err := f.parse(&c, cc.String(f.name)); err != nil {
			return windowChange{}, exit.With(exit.Usage, fmt.Errorf("--%s: %w", f.name, err))
		}
		if c.remove && f.name != windowName {
			return windowChange{}, exit.With(exit.Usage, fmt.Errorf("--%s %s removes the window: leave out --%s", windowName, noSetting, f.name))
		}
		c.given = f.name
	}
	if c.period != budget.NoPeriod {
		_, err = c.apply("", budget.Window{})
	}
	return c, exit.With(exit.Usage, err)
}

func (c *windowChange) parsePeriod(text string) (err error) {
	c.remove = text == noSetting
	if c.remove {
		return nil
	}
	if c.period, err = periodOf(text); err != nil {
		err = fmt.Errorf("%w, or %s for no window", err, noSetting)
	}
	return err
}

// periodOf parses the name of a period.
func periodOf(text string) (p budget.Period, err error) {
	if p.UnmarshalText([]byte(text)) != nil || p == budget.NoPeriod {
		return budget.NoPeriod, fmt.Errorf("%q is not a period: give %s", text, anyPeriod)
	}
	return p, nil
}

func (c *windowChange) parseAmount(text string) (err error) {
	c.amount, err = amountArgument(text, budget.Microcent)
	return err
}

// parseZone loads the zone, so that an unknown one is an error of its flag.
func (c *windowChange) parseZone(text string) error {
	c.zone = text
	if _, err := (budget.Window{Period: budget.Day, Zone: text}).Boundaries(time.Unix(0, 0), 1); err != nil || text == "" {
		return fmt.Errorf("%q is not a time zone: give a name of the IANA database, such as Europe/Berlin", text)
	}
	return nil
}

func (c *windowChange) parseWeekday(text string) error {
	c.setWeekday = true
	for c.weekday = time.Sunday; c.weekday <= time.Saturday; c.weekday++ {
		if strings.EqualFold(text, c.weekday.String()) {
			return nil
		}
	}
	return fmt.Errorf("%q is not a day: give monday to sunday", text)
}

func (c *windowChange) parseDay(text string) (err error) {
	if c.day, err = strconv.Atoi(text); err != nil || c.day < 1 || c.day > 28 {
		return fmt.Errorf("%q is not a day that each month has: give 1 to 28", text)
	}
	return nil
}

func (c *windowChange) parseCarry(text string) (err error) {
	c.setCarry = true
	switch text {
	case "all":
		c.carry = budget.CarryAll
	case noSetting, "0":
		c.carry = 0
	default:
		c.carry, err = amountArgument(text, 0)
	}
	return err
}

// apply returns a tenant's window after the change.
func (c windowChange) apply(tenant budget.TenantID, w budget.Window) (budget.Window, error) {
	switch {
	case c.remove:
		return budget.Window{}, nil
	case c.period == budget.NoPeriod && w.Period == budget.NoPeriod:
		periods := calendarPeriods
		if c.ofCalendar() == "" {
			periods = anyPeriod
		}
		return w, fmt.Errorf("--%s: %s has no window: give --%s %s, too", c.given, wording.Name(tenant), windowName, periods)
	case c.period.Rolling() || c.period == budget.NoPeriod && w.Period.Rolling():
		return c.roll(w)
	case c.period != budget.NoPeriod && c.period != w.Period:
		w.Period, w.Weekday, w.Day = c.period, 0, 0
		if c.period == budget.Week {
			w.Weekday = time.Monday
		}
	}
	if c.amount > 0 {
		w.Amount = c.amount
	}
	if c.zone != "" {
		w.Zone = c.zone
	}
	if c.setCarry {
		w.Carry = c.carry
	}
	if c.setWeekday {
		if w.Period != budget.Week {
			return w, fmt.Errorf("--%s: the window is by the %s, and only a week has a first weekday: %s", weekStartsName, w.Period, c.instead(budget.Week.String()))
		}
		w.Weekday = c.weekday
	}
	if c.day > 0 {
		if w.Period != budget.Month {
			return w, fmt.Errorf("--%s: the window is by the %s, and only a month has a first day: %s", monthStartsName, w.Period, c.instead(budget.Month.String()))
		}
		w.Day = c.day
	}
	return w, nil
}

// windowText describes a window in one line.
func windowText(w budget.Window) string {
	if w.Period.Rolling() {
		return fmt.Sprintf("the last %s, %s", w.Period, w.Amount)
	}
	text := "by the " + w.Period.String()
	if w.Period == budget.Week {
		text += " from " + w.Weekday.String()
	}
	if w.Period == budget.Month {
		text += fmt.Sprintf(" from day %d", max(w.Day, 1))
	}
	zone := w.Zone
	if zone == "" {
		zone = "UTC"
	}
	text += fmt.Sprintf(" in %s, %s each", zone, w.Amount)
	switch {
	case w.Carry == budget.CarryAll:
		text += ", all that remains passes on"
	case w.Carry > 0:
		text += fmt.Sprintf(", up to %s passes on", w.Carry)
	}
	return text
}

// zoneOf returns the zone of a window, or UTC if this program doesn't know it.
func zoneOf(w budget.Window) *time.Location {
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		return time.UTC
	}
	return zone
}

// localTime formats a time in a zone, with its offset from UTC.
func localTime(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("2006-01-02 15:04:05.999 -07:00")
}

// printEpoch prints the epoch of a balance, if the limit has had a window. in stands before
// the ended epochs, such as "in 2 open holds of".
func printEpoch(w io.Writer, b budget.Balance, in string) {
	e, zone := b.Epoch, zoneOf(b.Settings.Window)
	switch {
	case e == (budget.Epoch{}):
	case e.End == 0:
		fmt.Fprintf(w, "epoch      since %s\n", localTime(e.Start.Time(), zone))
	default:
		fmt.Fprintf(w, "epoch      %s to %s\n", localTime(e.Start.Time(), zone), localTime(e.End.Time(), zone))
	}
	if b.Ended > 0 {
		fmt.Fprintf(w, "ended      %s reserved %s ended epochs\n", b.Ended, in)
	}
}

// epochText is printEpoch and printRenewal for a line of tenant watch.
func epochText(b budget.Balance, r renewal, in string) (text string) {
	if b.Ended > 0 {
		text = fmt.Sprintf("  ended epochs %s%s", b.Ended, in)
	}
	if r.At != 0 {
		text += "  renews " + r.String()
	}
	return text
}

// ofEnded returns the holds of a list that belong to ended epochs: the oldest ones, which
// reserve Ended together. The balance of a rolling window has no start to compare with.
func ofEnded(list budget.HoldList) map[budget.ReservationID]bool {
	ended := make(map[budget.ReservationID]bool)
	byAge := func(a, b budget.Hold) int { return a.Made.Compare(b.Made) }
	sum := budget.Microcents(0)
	for _, h := range slices.SortedFunc(slices.Values(list.Holds), byAge) {
		if sum == list.Balance.Ended {
			break
		}
		sum += h.Held
		ended[h.ID] = true
	}
	return ended
}
