package budget

import "time"

// calendar finds the boundaries of a window.
type calendar struct {
	window Window
	zone   *time.Location
}

func (w Window) calendar() (calendar, error) {
	normal, err := w.normal()
	if err != nil {
		return calendar{}, err
	}
	if normal.Period == NoPeriod || normal.Period.Rolling() {
		return calendar{}, errNoPeriod
	}
	zone, err := normal.location()
	return calendar{normal, zone}, err
}

// next returns the first boundary after t.
func (c calendar) next(t time.Time) time.Time {
	if c.window.Period == Hour {
		return c.nextHour(t)
	}
	year, month, day := t.In(c.zone).Date()
	// A date begins again if the clock goes back over midnight, and a date may be missing: so
	// begin a period before the present one.
	date := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	switch c.window.Period {
	case Week:
		date = date.AddDate(0, 0, -int(7+date.Weekday()-c.window.Weekday)%7-7)
	case Month:
		date = time.Date(year, month-1, c.window.Day, 0, 0, 0, 0, time.UTC)
	case NoPeriod, Hour, Day, Last24Hours, Last7Days, Last30Days:
		date = date.AddDate(0, 0, -1)
	}
	for {
		if first := c.firstInstant(date); first.After(t) {
			return first
		}
		switch c.window.Period {
		case Week:
			date = date.AddDate(0, 0, 7)
		case Month:
			date = date.AddDate(0, 1, 0)
		case NoPeriod, Hour, Day, Last24Hours, Last7Days, Last30Days:
			date = date.AddDate(0, 0, 1)
		}
	}
}

// firstInstant returns the first instant at which the zone's clock shows the date, which is
// given as its midnight in UTC, or a later one.
func (c calendar) firstInstant(date time.Time) time.Time {
	for t := date.Add(-36 * time.Hour).In(c.zone); ; {
		start, end, offset := zoneBounds(t)
		first := date.Add(-offset)
		if first.Before(start) {
			first = start
		}
		if end.IsZero() || first.Before(end) {
			return first
		}
		t = end
	}
}

// nextHour returns the first instant after t at which the zone's clock shows a full hour.
func (c calendar) nextHour(t time.Time) time.Time {
	t = t.Truncate(time.Millisecond).Add(time.Millisecond).In(c.zone)
	for {
		_, end, shift := zoneBounds(t)
		local := t.Add(shift).UTC()
		hour := local.Truncate(time.Hour)
		if hour.Before(local) {
			hour = hour.Add(time.Hour)
		}
		if hour = hour.Add(-shift); end.IsZero() || hour.Before(end) {
			return hour
		}
		t = end
	}
}

// zoneBounds returns a part of time around t in which the offset of its zone is the same. The
// end is after t: that of ZoneBounds isn't on the last day of a leap year for which the zone has
// only a rule, since it takes such a year for 365 days.
func zoneBounds(t time.Time) (start, end time.Time, offset time.Duration) {
	start, end = t.ZoneBounds()
	if !end.IsZero() && !end.After(t) {
		end = t.Add(time.Hour)
	}
	_, seconds := t.Zone()
	return start, end, time.Duration(seconds) * time.Second
}
