package budget

import (
	"testing"
	"time"
)

// TestLastDayOfLeapYear finds the boundaries around the ends of years that tzdata describes only by
// a rule, of which 2040 and 2044 are leap years.
func TestLastDayOfLeapYear(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Adelaide", "Pacific/Kiritimati"} {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for year := 2038; year <= 2045; year++ {
			began := time.Date(year, time.December, 29, 0, 0, 0, 0, location).Add(-time.Second)
			days, err := Window{Period: Day, Zone: zone}.Boundaries(began, 5)
			if err != nil {
				t.Fatal(err)
			}
			for i, day := range days {
				if want := time.Date(year, time.December, 29+i, 0, 0, 0, 0, location); !day.Equal(want) {
					t.Errorf("%s: day %d begins at %s, want %s", zone, i, day, want)
				}
			}
			hours, err := Window{Period: Hour, Zone: zone}.Boundaries(began, 5*24)
			if err != nil {
				t.Fatal(err)
			}
			for i, hour := range hours {
				if want := began.Add(time.Second + time.Duration(i)*time.Hour); !hour.Equal(want) {
					t.Errorf("%s: hour %d begins at %s, want %s", zone, i, hour, want)
				}
			}
		}
	}
}

// TestZonesStayLoaded checks that a zone is read from the database once.
func TestZonesStayLoaded(t *testing.T) {
	t.Parallel()
	w := Window{Period: Day, Zone: "Europe/Berlin"}
	first, err := w.location()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := w.location(); err != nil || first != second {
		t.Errorf("the zone was loaded twice: %v", err)
	}
}
