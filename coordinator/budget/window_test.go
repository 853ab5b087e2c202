package budget

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // for machines without it
)

func inZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// TestBoundaries has the first boundaries after a time, in UTC, around changes of a zone's clock.
func TestBoundaries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		window Window
		after  string
		want   []string
	}{
		{
			"a day of 23 hours", Window{Period: Day, Zone: "Europe/Berlin"}, "2026-03-28T22:59:59.999Z",
			[]string{"2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"},
		},
		{
			"a day of 25 hours", Window{Period: Day, Zone: "Europe/Berlin"}, "2026-10-24T22:00:00Z",
			[]string{"2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"},
		},
		{
			"hours of a day of 23 hours", Window{Period: Hour, Zone: "Europe/Berlin"}, "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
		},
		{
			"weeks from Monday", Window{Period: Week, Weekday: time.Monday, Zone: "Europe/Berlin"}, "2026-03-22T23:00:00Z",
			[]string{"2026-03-29T22:00:00Z", "2026-04-05T22:00:00Z"},
		},
		{
			"weeks from Sunday", Window{Period: Week, Zone: "Europe/Berlin"}, "2026-10-24T22:00:00Z",
			[]string{"2026-10-31T23:00:00Z", "2026-11-07T23:00:00Z"},
		},
		{
			"months", Window{Period: Month, Zone: "Europe/Berlin"}, "2026-02-28T23:00:00Z",
			[]string{"2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"},
		},
		{
			"months from the 28th", Window{Period: Month, Day: 28}, "2027-12-31T00:00:00Z",
			[]string{"2028-01-28T00:00:00Z", "2028-02-28T00:00:00Z", "2028-03-28T00:00:00Z"},
		},
		{
			"a missing midnight", Window{Period: Day, Zone: "America/Sao_Paulo"}, "2018-11-03T03:00:00Z",
			[]string{"2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		},
		{
			"a missing date", Window{Period: Day, Zone: "Pacific/Apia"}, "2011-12-29T00:00:00Z",
			[]string{"2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		},
		{
			"weeks from a missing Friday", Window{Period: Week, Weekday: time.Friday, Zone: "Pacific/Apia"}, "2011-12-24T00:00:00Z",
			[]string{"2011-12-30T10:00:00Z", "2012-01-05T10:00:00Z"},
		},
		{
			"half an hour forward", Window{Period: Hour, Zone: "Australia/Lord_Howe"}, "2026-10-03T14:30:00Z",
			[]string{"2026-10-03T16:00:00Z", "2026-10-03T17:00:00Z"},
		},
		{
			"half an hour back", Window{Period: Hour, Zone: "Australia/Lord_Howe"}, "2026-04-04T13:00:00Z",
			[]string{"2026-04-04T14:00:00Z", "2026-04-04T15:30:00Z", "2026-04-04T16:30:00Z"},
		},
		{
			"hours at half past", Window{Period: Hour, Zone: "Asia/Kolkata"}, "2026-03-01T12:00:00Z",
			[]string{"2026-03-01T12:30:00Z", "2026-03-01T13:30:00Z"},
		},
		{
			"days at a quarter past", Window{Period: Day, Zone: "Asia/Kathmandu"}, "2026-03-01T12:00:00Z",
			[]string{"2026-03-01T18:15:00Z", "2026-03-02T18:15:00Z"},
		},
		{
			"a date that begins twice", Window{Period: Day, Zone: "America/St_Johns"}, "2006-10-28T02:30:00Z",
			[]string{"2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},
		},
		{
			"within the date before it again", Window{Period: Day, Zone: "America/St_Johns"}, "2006-10-29T03:00:00Z",
			[]string{"2006-10-30T03:30:00Z"},
		},
		{
			"a midnight that occurs twice", Window{Period: Day, Zone: "Atlantic/Azores"}, "2026-10-24T00:00:00Z",
			[]string{"2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"},
		},
		{
			"and in Havana", Window{Period: Day, Zone: "America/Havana"}, "2026-10-31T05:00:00Z",
			[]string{"2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		},
		{ // for which ZoneBounds returns an end before the time
			"the end of a leap year", Window{Period: Day, Zone: "Europe/Berlin"}, "2040-12-29T23:00:00Z",
			[]string{"2040-12-30T23:00:00Z", "2040-12-31T23:00:00Z", "2041-01-01T23:00:00Z"},
		},
		{
			"its hours", Window{Period: Hour, Zone: "Pacific/Chatham"}, "2040-12-31T13:20:00Z",
			[]string{"2040-12-31T14:15:00Z", "2040-12-31T15:15:00Z"},
		},
		{"nanoseconds", Window{Period: Hour}, "2026-03-01T11:59:59.999999999Z", []string{"2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"}},
		{"at a boundary", Window{Period: Hour}, "2026-03-01T12:00:00Z", []string{"2026-03-01T13:00:00Z"}},
	} {
		after, err := time.Parse(time.RFC3339Nano, c.after)
		if err != nil {
			t.Fatal(err)
		}
		boundaries, err := c.window.Boundaries(after, len(c.want))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range boundaries {
			got = append(got, b.Format(time.RFC3339Nano))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	if none, err := (Window{Period: Day}).Boundaries(time.Now(), 0); err != nil || len(none) != 0 {
		t.Errorf("no boundaries: %s, %v", none, err)
	}
}

// epochNumber numbers the epochs of a window by the date that a zone's clock shows. The clock may go back
// to an earlier number.
func epochNumber(w Window, local time.Time) int64 {
	_, offset := local.Zone()
	date := (local.Unix() + int64(offset)) / (24 * 60 * 60) // since 1970-01-01, a Thursday
	switch w.Period {
	case Day:
		return date
	case Week:
		return (date + 4 - int64(w.Weekday) + 7) / 7
	case Month:
		year, month, day := local.Date()
		n := int64(year)*12 + int64(month)
		if day < max(w.Day, 1) {
			n--
		}
		return n
	case NoPeriod, Hour, Last24Hours, Last7Days, Last30Days:
	}
	panic(w.Period)
}

// everyBoundary returns the boundaries of testWindows between two times by looking at the clock in each
// minute. An epoch begins when the clock shows a later date than ever before, or a full hour.
func everyBoundary(zone *time.Location, from, to time.Time) [][]time.Time {
	boundaries, latest, shown := make([][]time.Time, len(testWindows)), make([]int64, len(testWindows)), 0
	for at := from.AddDate(0, 0, -5).Truncate(time.Minute); at.Before(to); at = at.Add(time.Minute) {
		local := at.In(zone)
		if local.Day() == shown && local.Minute() != 0 {
			continue // neither another date nor a full hour
		}
		shown = local.Day()
		for i, w := range testWindows {
			begins := w.Period == Hour && local.Minute() == 0
			if w.Period != Hour {
				n := epochNumber(w, local)
				begins = n > latest[i]
				latest[i] = max(latest[i], n)
			}
			if begins && at.After(from) {
				boundaries[i] = append(boundaries[i], at.UTC())
			}
		}
	}
	return boundaries
}

var (
	testZones = []string{
		"UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Pacific/Kiritimati", "Australia/Lord_Howe", "Asia/Kolkata", "Asia/Kathmandu",
		"America/St_Johns", "Atlantic/Azores", "America/Havana", "Antarctica/Troll", "Asia/Beirut", "America/New_York", "Pacific/Chatham",
	}
	testWindows = func() []Window {
		windows := []Window{{Period: Hour}, {Period: Day}, {Period: Month}}
		for weekday := time.Sunday; weekday <= time.Saturday; weekday++ {
			windows = append(windows, Window{Period: Week, Weekday: weekday})
		}
		for _, day := range []int{1, 2, 15, 27, 28} {
			windows = append(windows, Window{Period: Month, Day: day})
		}
		return windows
	}()
)

// TestEveryBoundary compares all boundaries of months in which clocks change with those found minute by
// minute.
func TestEveryBoundary(t *testing.T) {
	t.Parallel()
	for zone, months := range map[string][]string{
		"Europe/Berlin": {"2026-03", "2026-10"}, "America/Sao_Paulo": {"2018-11", "2018-02"}, "Pacific/Apia": {"2011-12"},
		"Pacific/Kiritimati": {"1994-12"}, "Australia/Lord_Howe": {"2026-04", "2026-10"}, "Asia/Kolkata": {"2026-03"},
		"Asia/Kathmandu": {"2026-03"}, "America/St_Johns": {"2006-10", "2006-04"}, "Atlantic/Azores": {"2026-10"}, "America/Havana": {"2026-11"},
		"Antarctica/Troll": {"2026-03"}, "Asia/Beirut": {"2026-03", "2026-10"}, "UTC": {"2028-02"}, "Pacific/Chatham": {"2026-04", "2040-12"}, "America/New_York": {"2044-12"},
	} {
		location := inZone(t, zone)
		for _, month := range months {
			start, err := time.Parse("2006-01", month)
			if err != nil {
				t.Fatal(err)
			}
			from, to := start.AddDate(0, 0, -3).Add(17*time.Second), start.AddDate(0, 1, 9)
			boundaries := everyBoundary(location, from, to)
			for i, w := range testWindows {
				w.Zone = zone
				want := boundaries[i]
				got, err := w.Boundaries(from, len(want)+1)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got[:len(want)], want) || got[len(want)].Before(to) {
					t.Errorf("%+v around %s: got %s, want %s and then one after %s", w, month, got, want, to)
				}
			}
		}
	}
}

// TestBoundariesAscend checks random boundaries: they ascend, and each is the first instant at which the
// clock of the zone shows its date.
func TestBoundariesAscend(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		w := testWindows[random.IntN(len(testWindows))]
		w.Zone = testZones[random.IntN(len(testZones))]
		zone := inZone(t, w.Zone)
		after := time.UnixMilli(random.Int64N(4_000_000_000_000)) // until 2096
		boundaries, err := w.Boundaries(after, 6)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range boundaries {
			if !b.After(after) || b.Location() != time.UTC || b.Nanosecond() != 0 {
				t.Fatalf("%+v: %s after %s", w, b, after)
			}
			local, before := b.In(zone), b.Add(-1).In(zone)
			if w.Period == Hour {
				if local.Minute() != 0 || local.Second() != 0 || b.Sub(after) > 2*time.Hour {
					t.Fatalf("%+v: %s after %s", w, local, after)
				}
			} else if epochNumber(w, local) <= epochNumber(w, before) {
				t.Fatalf("%+v: %s, boundary %d, shows no later date than %s", w, local, i, before)
			}
			if again, err := w.Boundaries(b.Add(-1), 1); err != nil || !again[0].Equal(b) {
				t.Fatalf("%+v: after %s: %s, %v", w, before, again, err)
			}
			after = b
		}
	}
}

// TestRenewal compares a Renewal with the boundaries one by one.
func TestRenewal(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		w := testWindows[random.IntN(len(testWindows))]
		w.Zone = testZones[random.IntN(len(testZones))]
		mark := random.Int64N(2_000_000_000_000)
		ahead, err := w.Boundaries(time.UnixMilli(mark), 40)
		if err != nil {
			t.Fatal(err)
		}
		passed := random.IntN(30)
		if random.IntN(2) == 0 {
			passed = random.IntN(4)
		}
		now := mark // with this number of boundaries passed
		if passed > 0 {
			now = ahead[passed-1].UnixMilli()
		}
		now += random.Int64N(ahead[passed].UnixMilli() - now)
		got, err := w.Renewal(mark, now)
		if err != nil {
			t.Fatal(err)
		}
		var want Renewal
		if passed > 0 {
			want.Boundaries = append(want.Boundaries, ahead[0].UnixMilli())
		}
		if passed > 1 {
			want.Boundaries = append(want.Boundaries, ahead[passed-1].UnixMilli())
			want.Omitted = int64(passed - 2)
		}
		for _, b := range ahead[passed : passed+8] {
			want.Boundaries = append(want.Boundaries, b.UnixMilli())
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v from %d to %d, with %d passed: got %+v, want %+v", w, mark, now, passed, got, want)
		}
	}
	for _, w := range []Window{{}, {Period: Day, Zone: "Europe/Atlantis"}} {
		if r, err := w.Renewal(0, 1); !errors.Is(err, ErrInvalidSetting) || r.Boundaries != nil {
			t.Errorf("%+v: %+v, %v", w, r, err)
		}
		if b, err := w.Boundaries(time.Now(), 1); !errors.Is(err, ErrInvalidSetting) || b != nil {
			t.Errorf("%+v: %s, %v", w, b, err)
		}
	}
}

// TestPasses compares Passes with exact arithmetic.
func TestPasses(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	edges := []int64{0, 1, 2, 1 << 31, 1 << 32, 1 << 53, math.MaxInt64 / 2, math.MaxInt64 - 1, math.MaxInt64}
	amount := func() int64 {
		if random.IntN(2) == 0 {
			return edges[random.IntN(len(edges))]
		}
		return random.Int64() >> random.IntN(63)
	}
	for range 200_000 {
		w := Window{Period: Day, Amount: Microcents(amount()), Carry: Microcents(amount())}
		remaining, skipped := Microcents(amount()), amount()
		if random.IntN(2) == 0 {
			remaining = -remaining - Microcents(random.IntN(2))
		}
		want := new(big.Int).Mul(big.NewInt(skipped), big.NewInt(int64(w.Amount)))
		want.Add(want, big.NewInt(int64(remaining)))
		if carry := big.NewInt(int64(w.Carry)); want.Cmp(carry) > 0 {
			want = carry
		}
		if got := w.Passes(remaining, skipped); !want.IsInt64() || int64(got) != want.Int64() {
			t.Fatalf("%+v with %d after %d epochs passes on %d, want %s", w, remaining, skipped, got, want)
		}
	}
}

func TestInvalidWindows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		window Window
		text   string
	}{
		"no period":          {Window{Amount: 1}, "without a period; give one of hour, day, week, month"},
		"only a zone":        {Window{Zone: "Europe/Berlin"}, "without a period"},
		"only UTC":           {Window{Zone: "UTC"}, "without a period"},
		"only a carry-over":  {Window{Carry: CarryAll}, "without a period"},
		"an unknown period":  {Window{Period: 9}, "unknown period 9"},
		"an unknown zone":    {Window{Period: Day, Zone: "Europe/Atlantis"}, `time zone "Europe/Atlantis"`},
		"the local zone":     {Window{Period: Day, Zone: "Local"}, `time zone "Local"`},
		"a long zone":        {Window{Period: Day, Zone: strings.Repeat("a", 65)}, "give a name of the IANA database"},
		"a day of a day":     {Window{Period: Day, Day: 1}, "only a month has a first day"},
		"a weekday of a day": {Window{Period: Day, Weekday: time.Monday}, "Monday as the first day of a window by the day"},
		"weekday 7":          {Window{Period: Week, Weekday: 7}, "weekday 7"},
		"a negative weekday": {Window{Period: Week, Weekday: -1}, "weekday -1"},
		"day 29":             {Window{Period: Month, Day: 29}, "from day 29"},
		"day 30":             {Window{Period: Month, Day: 30}, "from day 30"},
		"day 31":             {Window{Period: Month, Day: 31}, "from day 31"},
		"day -1":             {Window{Period: Month, Day: -1}, "from day -1"},
		"a negative amount":  {Window{Period: Day, Amount: -1}, "amount of -1 microcents"},
		"a negative carry":   {Window{Period: Day, Carry: -1}, "carry-over of -1 microcents"},
	} {
		change, err := NewChange(InWindow(c.window))
		if !errors.Is(err, ErrInvalidSetting) || !strings.Contains(err.Error(), c.text) || !change.IsZero() {
			t.Errorf("%s: %+v, %v; want the error %q", name, change, err, c.text)
		}
	}
	for _, c := range []struct{ window, want Window }{
		{Window{}, Window{}},
		{Window{Period: Day}, Window{Period: Day, Zone: "UTC"}},
		{Window{Period: Month}, Window{Period: Month, Zone: "UTC", Day: 1}},
		{Window{Period: Month, Day: 28, Zone: "Europe/Berlin"}, Window{Period: Month, Day: 28, Zone: "Europe/Berlin"}},
		{Window{Period: Week, Weekday: time.Saturday, Amount: MaxMicrocents, Carry: CarryAll}, Window{Period: Week, Zone: "UTC", Weekday: time.Saturday, Amount: MaxMicrocents, Carry: CarryAll}},
	} {
		change, err := NewChange(InWindow(c.window))
		if err != nil || change.Window != c.want || !change.SetWindow || change.IsZero() {
			t.Errorf("%+v: %+v, %v; want %+v", c.window, change, err, c.want)
		}
	}
}

func TestWindowChanges(t *testing.T) {
	t.Parallel()
	hour, day := Window{Period: Hour, Zone: "UTC", Amount: 7, Carry: 3}, Window{Period: Day, Zone: "UTC"}
	before := Settings{Overdraft: 1, CapHolds: 4, Thresholds: thresholds(t, 50), Window: hour, Frozen: true}
	for name, c := range map[string]struct {
		before   Settings
		settings []Setting
		want     Window
	}{
		"the first":         {Settings{}, []Setting{InWindow(hour)}, hour},
		"without an amount": {Settings{}, []Setting{InWindow(day)}, day},
		"keeps the amount":  {before, []Setting{InWindow(day)}, Window{Period: Day, Zone: "UTC", Amount: 7}},
		"another amount":    {before, []Setting{InWindow(Window{Period: Day, Amount: 9})}, Window{Period: Day, Zone: "UTC", Amount: 9}},
		"removed":           {before, []Setting{InWindow(Window{})}, Window{}},
		"another setting":   {before, []Setting{CapHold(1)}, hour},
		"the last of two":   {before, []Setting{InWindow(day), InWindow(hour)}, hour},
	} {
		change, err := NewChange(c.settings...)
		want := c.before
		want.Window = c.want
		if name == "another setting" {
			want.CapHold = 1
		}
		if got := change.Apply(c.before); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
}

// TestWindowsAsJSON checks the names of the fields, and that the values come back.
func TestWindowsAsJSON(t *testing.T) {
	t.Parallel()
	w := Window{Period: Week, Zone: "Europe/Berlin", Weekday: time.Monday, Amount: 5, Carry: CarryAll}
	month := Window{Period: Month, Zone: "UTC", Day: 28, Amount: 5}
	start, end := InstantOf(time.Date(2026, 3, 1, 12, 0, 0, int(time.Millisecond), time.UTC)), InstantOf(time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC))
	for _, c := range []struct {
		value any
		want  string
	}{
		{w, `{"period":"week","zone":"Europe/Berlin","weekday":1,"amount":5,"carry":9223372036854775807}`},
		{month, `{"period":"month","zone":"UTC","day":28,"amount":5}`},
		{Window{}, `{}`},
		{Settings{Window: month}, `{"window":{"period":"month","zone":"UTC","day":28,"amount":5}}`},
		{Epoch{Start: start, End: end}, `{"start":"2026-03-01T12:00:00.001Z","end":"2026-03-08T00:00:00Z"}`},
		{Epoch{Start: start}, `{"start":"2026-03-01T12:00:00.001Z"}`},
		{Configuration{Outcome: Configured, Settings: Settings{Window: month}}, `{"outcome":"configured","settings":{"window":{"period":"month","zone":"UTC","day":28,"amount":5}}}`},
		{
			Balance{Outcome: Found, Granted: -4, Remaining: -6, Reserved: 2, Settings: Settings{Window: month}, Epoch: Epoch{start, end}, Ended: 3},
			`{"outcome":"found","granted":-4,"remaining":-6,"reserved":2,"committed":0,` +
				`"settings":{"window":{"period":"month","zone":"UTC","day":28,"amount":5}},` +
				`"epoch":{"start":"2026-03-01T12:00:00.001Z","end":"2026-03-08T00:00:00Z"},"ended":3}`,
		},
		{
			Reservation{Outcome: Insufficient, Remaining: 3, Level: "acme", Required: 7, Renews: end},
			`{"outcome":"insufficient","remaining":3,"level":"acme","required":7,"renews":"2026-03-08T00:00:00Z"}`,
		},
		{Remainder{Outcome: Found, Remaining: 3, Level: "acme", Renews: end}, `{"outcome":"found","remaining":3,"level":"acme","renews":"2026-03-08T00:00:00Z"}`},
	} {
		text, err := json.Marshal(c.value)
		if err != nil || string(text) != c.want {
			t.Errorf("%T is %s, %v; want %s", c.value, text, err, c.want)
			continue
		}
		back := reflect.New(reflect.TypeOf(c.value))
		if err := json.Unmarshal(text, back.Interface()); err != nil || back.Elem().Interface() != c.value {
			t.Errorf("%s comes back as %+v, %v", text, back.Elem().Interface(), err)
		}
	}
	for _, text := range []string{`{"period":"year"}`, `{"period":""}`, `{"period":"Day"}`} {
		if err := json.Unmarshal([]byte(text), new(Window)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

func TestPeriodsHaveNames(t *testing.T) {
	t.Parallel()
	for p := NoPeriod; int(p) < len(periodNames); p++ {
		text, err := p.MarshalText()
		var back Period
		if err != nil || back.UnmarshalText(text) != nil || back != p || p.String() != string(text) {
			t.Errorf("%d is %q, %v, and back %d", p, text, err, back)
		}
	}
	if err := new(Period).UnmarshalText([]byte("decade")); !errors.Is(err, ErrInvalidSetting) || Period(9).String() != "period(9)" {
		t.Errorf("an unknown period: %v", err)
	}
}

func TestInstants(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{
		{}, time.UnixMilli(1), time.UnixMilli(-1), time.UnixMilli(1_772_366_400_999), time.Date(2026, 3, 1, 0, 0, 0, 0, inZone(t, "Asia/Kolkata")),
	} {
		i := InstantOf(at)
		text, err := i.MarshalText()
		var back Instant
		if err != nil || back.UnmarshalText(text) != nil || back != i || !i.Time().Equal(at) || string(text) != i.String() {
			t.Errorf("%s is %q, %v, and back %d", at, text, err, back)
		}
		if at.IsZero() != (i == 0) || i.Time().Location() != time.UTC {
			t.Errorf("%s is %d", at, i)
		}
	}
	if i := InstantOf(time.Unix(0, 1_999_999)); i != 1 {
		t.Errorf("a fraction of a millisecond: %d", i)
	}
	if err := new(Instant).UnmarshalText([]byte("yesterday")); err == nil {
		t.Error("a text that isn't a time is read")
	}
}

func TestBalanceOptions(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_772_366_400_999)
	for _, c := range []struct {
		opts []BalanceOption
		want Instant
	}{
		{nil, 0}, {[]BalanceOption{AtEpoch(time.Time{})}, 0}, {[]BalanceOption{AtEpoch(at)}, InstantOf(at)},
		{[]BalanceOption{AtEpoch(at), AtEpoch(at.Add(time.Hour))}, InstantOf(at.Add(time.Hour))},
	} {
		if o, err := ApplyBalance(c.opts); err != nil || o.At != c.want {
			t.Errorf("got %+v, %v; want %d", o, err, c.want)
		}
	}
	if o, err := ApplyBalance([]BalanceOption{AtEpoch(at), nil}); err == nil || o != (BalanceOptions{}) || !strings.Contains(err.Error(), "option 2 is nil") {
		t.Errorf("a nil option: %+v, %v", o, err)
	}
}

// TestAuditOfEpochs checks that the holds of ended epochs count.
func TestAuditOfEpochs(t *testing.T) {
	t.Parallel()
	list := HoldList{
		Outcome: Found, Balance: Balance{Outcome: Found, Granted: -10, Remaining: -50, Reserved: 30, Committed: 10, Ended: 12},
		Holds: []Hold{{ID: ids[0], Held: 30}, {ID: ids[1], Held: 12}},
	}
	if err := list.Audit(); err != nil {
		t.Error(err)
	}
	for _, ended := range []Microcents{0, 11, 13} {
		list.Balance.Ended = ended
		if list.Audit() == nil {
			t.Errorf("%d in ended epochs is accepted", ended)
		}
	}
}

func ExampleWindow_Boundaries() {
	w := Window{Period: Day, Zone: "Europe/Berlin"}
	boundaries, err := w.Boundaries(time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC), 2)
	if err != nil {
		panic(err)
	}
	fmt.Println(boundaries[1].Sub(boundaries[0])) // the clock goes forward
	// Output: 23h0m0s
}
