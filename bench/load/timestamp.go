package load

import (
	"fmt"
	"strings"
	"time"
)

// clocked are the rows' times since the first.
type clocked struct {
	first  time.Time
	at     []time.Duration
	layout int // of the row before
}

// timestampLayouts: time.Parse takes any fraction after the seconds. A time without a
// zone is UTC.
var timestampLayouts = []string{
	time.DateTime,
	time.DateTime + "Z07:00",
	time.DateTime + "Z0700",
	time.DateTime + "Z07",
	time.DateTime + " Z07:00",
	time.DateTime + " Z0700",
	time.DateTime + " Z07",
}

func (c *clocked) add(timestamp string) error {
	at, ok := c.parse(timestamp)
	if !ok {
		return fmt.Errorf("%.40q is no timestamp that --speed reads: write 2023-11-16 18:17:03.97 or 2023-11-16T18:17:03+00:00", timestamp)
	}
	if len(c.at) == 0 {
		c.first = at
	}
	since := at.Sub(c.first)
	if len(c.at) > 0 && since < c.at[len(c.at)-1] {
		return fmt.Errorf("%.40q is before the row above it: sort the rows by their times", timestamp)
	}
	c.at = append(c.at, since)
	return nil
}

// parse tries the layout of the row before first.
func (c *clocked) parse(timestamp string) (time.Time, bool) {
	text := strings.ToUpper(timestamp)
	if day := len(time.DateOnly); len(text) > day && text[day] == 'T' {
		text = text[:day] + " " + text[day+1:]
	}
	for _, zone := range []string{" UTC", " GMT"} {
		text = strings.TrimSuffix(text, zone)
	}
	for i := range timestampLayouts {
		layout := (c.layout + i) % len(timestampLayouts)
		if at, err := time.Parse(timestampLayouts[layout], text); err == nil {
			c.layout = layout
			return at, true
		}
	}
	return time.Time{}, false
}
