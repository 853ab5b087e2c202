package store

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

const someIncarnation = "0123456789abcdef"

func TestRecordAndHeader(t *testing.T) {
	t.Parallel()
	record := Record{Layout: 4, Partitions: 16}
	if got, err := ParseRecord(record.String()); err != nil || got != record || record.String() != "4 16" {
		t.Errorf("%+v, %v from %q", got, err, record)
	}
	if got, err := ParseRecord("2 something else"); err != nil || got.Layout != 2 || got.Partitions != 0 {
		t.Errorf("of another layout: %+v, %v", got, err)
	}
	for _, text := range []string{
		"", "4", "4 ", "4 16 ", "4 15", "4 2048", "4 0", "0 16", "-2 16", "4 +16", "4 016", "4  16", "x 16", "4 16 " + someIncarnation,
	} {
		if got, err := ParseRecord(text); err == nil {
			t.Errorf("record %q was read: %+v", text, got)
		}
	}
	header := Header{Layout: 4, Partitions: 16, Index: 15, Incarnation: someIncarnation}
	if got, err := ParseHeader(header.String()); err != nil || got != header || header.String() != header.Begin()+someIncarnation {
		t.Errorf("%+v, %v from %q", got, err, header)
	}
	if got, err := ParseHeader("2 something else"); err != nil || got.Layout != 2 || got.Partitions != 0 {
		t.Errorf("of another layout: %+v, %v", got, err)
	}
	for _, text := range []string{
		"", "4 16 15", "4 16 16 " + someIncarnation, "4 16 -1 " + someIncarnation, "4 3 1 " + someIncarnation, "4 16 15 0123", "4 16 15 0123456789abcdez",
		"4 16 +1 " + someIncarnation,
	} {
		if got, err := ParseHeader(text); err == nil {
			t.Errorf("header %q was read: %+v", text, got)
		}
	}
}

func TestBalanced(t *testing.T) {
	t.Parallel()
	const most = math.MaxInt64
	for _, c := range []struct {
		granted, remaining, reserved, committed budget.Microcents
		want                                    bool
	}{
		{0, 0, 0, 0, true},
		{10, 5, 3, 2, true},
		{10, -5, 3, 12, true}, // a debt
		{10, 6, 3, 2, false},
		{10, 5, 3, 3, false},
		{10, 13, -5, 2, false},
		{10, 13, 2, -5, false},
		{-10, 0, 0, -10, false},
		{most, most, 0, 0, true},
		{most, 0, most, 0, true},
		{most, -most, most, most, true},
		{0, -most, most, 0, true},
		{0, math.MinInt64, most, 1, true},
		{0, 2, most, most, false}, // it wraps to 0
		{most, most, most, most, false},
	} {
		a := Account{Granted: c.granted, Remaining: c.remaining, Reserved: c.reserved, Committed: c.committed}
		if a.Balanced() != c.want {
			t.Errorf("%+v: %t, want %t", a, a.Balanced(), c.want)
		}
	}
}

// The parts of a rolling window add up to committed, and the text says so if they don't.
func TestBalancedRollingWindow(t *testing.T) {
	t.Parallel()
	const most = math.MaxInt64
	for _, c := range []struct {
		remaining, committed budget.Microcents
		ring                 []budget.Microcents
		text                 string
	}{
		{7, 3, []budget.Microcents{1, 0, 2}, ""},
		{10, 0, []budget.Microcents{0, 0, 0}, ""},
		{7, 3, []budget.Microcents{1, 0, 1}, "committed is 3, but the parts of its rolling window add up to 2: 1 too little"},
		{7, 3, []budget.Microcents{1, 3, 0}, "committed is 3, but the parts of its rolling window add up to 4: 1 too much"},
		{7, 3, []budget.Microcents{most, most, 5}, "committed is 3, but the parts of its rolling window don't fit 64 bits together"}, // they wrap to 3
		{8, 3, []budget.Microcents{1, 0, 2}, "remaining 8 + reserved 0 + committed 3 is not granted 10: 1 too much"},
	} {
		a := Account{Granted: 10, Remaining: c.remaining, Committed: c.committed, Epochs: &Epochs{Ring: c.ring}}
		if a.Balanced() != (c.text == "") || a.BalanceText() != c.text {
			t.Errorf("%+v of %v: %t, %q; want %q", a, c.ring, a.Balanced(), a.BalanceText(), c.text)
		}
	}
}

// An account is behind once its epoch has ended, its end isn't known, or a part has left its
// rolling window.
func TestBehind(t *testing.T) {
	t.Parallel()
	const hour, now = 3_600_000, 100 * 3_600_000
	for _, c := range []struct {
		name   string
		period budget.Period
		epochs *Epochs
		want   bool
	}{
		{"no window", budget.NoPeriod, nil, false},
		{"a removed window", budget.NoPeriod, &Epochs{Start: 1}, false},
		{"an epoch that goes on", budget.Hour, &Epochs{Ahead: []int64{now + 1}}, false},
		{"an epoch that has ended", budget.Hour, &Epochs{Ahead: []int64{now}}, true},
		{"an epoch without a known end", budget.Hour, &Epochs{}, true},
		{"the part of now", budget.Last24Hours, &Epochs{Mark: now}, false},
		{"the part of now, at its end", budget.Last24Hours, &Epochs{Mark: now - hour + 1}, false},
		{"the part before", budget.Last24Hours, &Epochs{Mark: now - hour}, true},
		{"a part of 6 hours", budget.Last7Days, &Epochs{Mark: now - 6*hour + 1}, false},
		{"a part of 6 hours that is over", budget.Last7Days, &Epochs{Mark: now - 6*hour}, true},
		{"a part of a day that is over", budget.Last30Days, &Epochs{Mark: now - 24*hour}, true},
	} {
		a := Account{Settings: budget.Settings{Window: budget.Window{Period: c.period}}, Epochs: c.epochs}
		if got := a.Behind(now); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

// accountRecord and the functions below write records as the scripts do.
func accountRecord(a Account) string {
	var b []byte
	for _, term := range []budget.Microcents{a.Granted, a.Remaining, a.Reserved, a.Committed} {
		b = appendUint(b, uint64(term), 8)
	}
	b = appendUint(b, uint64(a.Holds), 4)
	b = appendUint(b, a.Serial, 6)
	b = appendUint(b, uint64(a.Deadline), 6)
	b = appendUint(b, uint64(a.Young), 6)
	b = appendUint(b, uint64(a.Older), 4)
	b = appendUint(b, a.Turn, 6)
	return string(append(b, settingsRecord(a.Settings)...))
}

// settingsRecord writes the flags and the settings of an account.
func settingsRecord(s budget.Settings) []byte {
	var flags byte
	if s.Frozen {
		flags |= luascripts.AccountFrozen
	}
	if s.Closed {
		flags |= luascripts.AccountClosed
	}
	if s.Frozen, s.Closed = false, false; s == (budget.Settings{}) {
		return []byte{flags}
	}
	b := []byte{flags | luascripts.AccountSettings}
	for _, amount := range []budget.Microcents{s.Overdraft, s.CapHold, s.CapReserved} {
		b = appendUint(b, uint64(amount), 8)
	}
	b = appendUint(b, uint64(s.CapHolds), 4)
	percents := s.Thresholds.Percents()
	b = append(b, byte(len(percents)))
	for _, percent := range percents {
		b = appendUint(b, uint64(percent), 2)
	}
	return b
}

func holdRecord(h Hold) string {
	b := appendUint([]byte{h.State}, uint64(h.Held), 8)
	serial := h.Serial
	if h.Several {
		serial += luascripts.SeveralLevels
	}
	b = appendUint(b, serial, 6)
	b = appendUint(b, h.Sequence, 6)
	b = appendUint(b, uint64(h.Made), 6)
	b = appendUint(b, uint64(h.Deadline+h.Ended), 6) // one of them is 0
	if !h.Open() {
		b = appendUint(b, h.EndedSeq, 6)
		b = appendUint(b, uint64(h.Actual), 8)
	}
	return string(append(b, h.Levels)) + string(h.Tenant)
}

func controlRecord(c Control) string {
	var b []byte
	for _, n := range []uint64{uint64(c.Time), uint64(c.Due), c.Sequence, c.LastSerial, c.RingHead, c.RingTail} {
		b = appendUint(b, n, 6)
	}
	return string(appendUint(appendUint(b, uint64(c.RingCount), 4), c.Endings, 6))
}

var (
	someAccount = Account{
		Granted: math.MaxInt64, Remaining: -5, Reserved: 3, Committed: math.MaxInt64 - 7, Holds: math.MaxUint32,
		Serial: 1<<48 - 1, Deadline: 1<<48 - 2,
		Settings: budget.Settings{Overdraft: 1<<62 + 1, CapHold: 2, CapReserved: 3, CapHolds: math.MaxUint32, Thresholds: someThresholds, Frozen: true, Closed: true},
	}
	someThresholds, _ = budget.NewThresholds(50, 1000)
	someHold          = Hold{State: luascripts.HoldOpen, Held: math.MaxInt64, Made: 1, Deadline: 1<<48 - 1, Serial: 2, Sequence: 1<<48 - 3, Levels: 1, Tenant: "acme/search"}
	someTombstone     = Hold{State: luascripts.HoldCommitted, Held: 7, Made: 1, Ended: 5, Serial: 2, Sequence: 3, EndedSeq: 4, Actual: 9, Levels: 1, Tenant: "a"}
	severalLevels     = Hold{State: luascripts.HoldExpired, Held: 7, Made: 1, Ended: 5, Serial: 1<<47 - 1, Sequence: 3, EndedSeq: 4, Levels: 5, Several: true, Tenant: "a/b/c"}
	severalLimits     = Hold{State: luascripts.HoldOpen, Held: 7, Made: 1, Serial: 3, Sequence: 3, Levels: 1, Several: true, Tenant: "a"}
	someControl       = Control{Time: 1, Due: 1<<48 - 1, Sequence: 3, LastSerial: 4, RingHead: 5, RingTail: 6, RingCount: math.MaxUint32, Endings: 8}
)

func TestRecordsAndTheirPrefixes(t *testing.T) {
	t.Parallel()
	account := accountRecord(someAccount)
	if got, ok, err := ParseAccount(account); !ok || err != nil || got != someAccount {
		t.Errorf("account %+v, %v", got, err)
	}
	if _, ok, err := ParseAccount(luascripts.Deleted); ok || err != nil {
		t.Errorf("a deleted account: %t, %v", ok, err)
	}
	for n := range luascripts.AccountBytes {
		if _, ok, err := ParseAccount(account[:n]); ok || err == nil {
			t.Errorf("%d bytes of an account were read", n)
		}
	}
	for _, hold := range []Hold{someHold, someTombstone, severalLevels, severalLimits} {
		record := holdRecord(hold)
		if got, err := ParseHold(record); err != nil || !cmp.Equal(got, hold) {
			t.Errorf("hold %+v, %v", got, err)
		}
		for n := range len(record) - len(hold.Tenant) + 1 {
			if got, err := ParseHold(record[:n]); err == nil {
				t.Errorf("%d bytes of a hold were read: %+v", n, got)
			}
		}
		for state := range 256 {
			other := hold
			other.State = byte(state)
			_, err := ParseHold(holdRecord(other))
			if known := strings.IndexByte("oclx", byte(state)) >= 0; known != (err == nil) {
				t.Errorf("state %d: %v", state, err)
			}
		}
	}
	for what, h := range map[string]Hold{
		"no level":             {State: luascripts.HoldOpen, Tenant: "a/b"},
		"not its own level":    {State: luascripts.HoldOpen, Tenant: "a/b", Levels: 2},
		"a level above a root": {State: luascripts.HoldOpen, Tenant: "a/b", Levels: 5},
	} {
		if _, err := ParseHold(holdRecord(h)); err == nil {
			t.Errorf("a hold of %s was read", what)
		}
	}
	one := severalLevels
	one.Several = false
	if _, err := ParseHold(holdRecord(one)); err == nil {
		t.Error("a hold of several levels with the serial of one was read")
	}
	control := controlRecord(someControl)
	if got, err := ParseControl(control); err != nil || got != someControl || len(control) != luascripts.ControlBytes {
		t.Errorf("control %+v, %v", got, err)
	}
	for n := range luascripts.ControlBytes {
		if _, err := ParseControl(control[:n]); err == nil {
			t.Errorf("%d bytes of a control record were read", n)
		}
	}
	session := AppliedSession(strings.Repeat("m", 16), 77, true, 5, "")
	for n := range len(session) + 1 {
		if s := session[:n]; s.Valid() != (n == len(session)) {
			t.Errorf("%d bytes of a session in a repair: %t", n, s.Valid())
		}
	}
}

func TestNameField(t *testing.T) {
	t.Parallel()
	id := budget.NewReservationID("acme/b", 1, 2)
	for _, c := range []struct {
		field  string
		tenant budget.TenantID
		want   string
	}{
		{"", "", "partition"}, {"f", "", "header"}, {"c", "", "control record"},
		{"aacme/b", "", `tenant "acme/b"`}, {"a", "", `tenant ""`}, {"a\x00", "", `tenant "\x00"`},
		{HoldField(id), "acme/b", "reservation acme~2fb.00000000000000010000000000000002"},
		{HoldField(id), "", "reservation 00000000000000010000000000000002"},
		{HoldField(id), "a//b", "reservation 00000000000000010000000000000002"},
		{"hshort", "acme", `field "hshort"`},
		{SessionField(255), "", "session of node 00000000000000ff"}, {ReplyField(255), "", "stored reply of node 00000000000000ff"},
		{"s", "", `field "s"`}, {"d\x00\x00\x00\x00\x01\x00", "", "record 256 of settled holds"}, {"e\x00\x00\x00\x00\x00\x01", "", "record 1 of expired holds"},
		{"d", "", `field "d"`}, {"zoo", "", `field "zoo"`}, {"cc", "", `field "cc"`},
	} {
		if got := NameField(c.field, c.tenant); got != c.want {
			t.Errorf("field %q: %s, want %s", c.field, got, c.want)
		}
	}
}

// No bytes make a parser panic, and the scripts would write its result in the same bytes.
func FuzzRecords(f *testing.F) {
	for _, text := range []string{
		"", "4 16 " + someIncarnation, "4 16 3 " + someIncarnation, accountRecord(someAccount), holdRecord(someHold), holdRecord(someTombstone),
		controlRecord(someControl), string(AppliedSession(strings.Repeat("m", 16), 1, true, 5, "R")), "\x00\x17" + string(AppliedSession(strings.Repeat("m", 16), 1, false, 0, "")) + "rest",
		"A\x00\x00\x00\x00\x00\x01\x04RK" + strings.Repeat("\x01", 60), luascripts.Deleted, "h0123456789abcdef", "s\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		f.Add(text, uint8(2), uint8(1))
	}
	f.Fuzz(func(t *testing.T, text string, operations, accounts uint8) {
		if r, err := ParseRecord(text); err == nil && r.Layout == luascripts.Layout && r.String() != text {
			t.Errorf("record %q became %q", text, r)
		}
		if h, err := ParseHeader(text); err == nil && h.Layout == luascripts.Layout && h.String() != text {
			t.Errorf("header %q became %q", text, h)
		}
		if a, ok, err := ParseAccount(text); ok && (err != nil || accountRecord(a) != text) {
			t.Errorf("account %q became %+v, %v", text, a, err)
		} else if ok {
			_ = a.Balanced()
			_ = a.BalanceText()
		}
		if h, err := ParseHold(text); err == nil && holdRecord(h) != text {
			t.Errorf("hold %q became %+v", text, h)
		}
		if c, err := ParseControl(text); err == nil && controlRecord(c) != text[:luascripts.ControlBytes] {
			t.Errorf("control %q became %+v", text, c)
		}
		if s := Session(text); s.Check() == nil {
			_, _, _, _, _ = s.State(), s.Number(), s.Mark(), s.Time(), s.Since()
		}
		fuzzReplies(text, int(operations), int(accounts))
		for _, tenant := range []budget.TenantID{"", "acme", budget.TenantID(text)} {
			_ = NameField(text, tenant)
			_, _ = ReservationOf(tenant, text)
		}
		_, _ = NodeOfField(text)
	})
}

func fuzzReplies(text string, operations, accounts int) {
	_, rest := CutWord(text)
	_, _ = ParseOpened(rest)
	_, _ = ParseOpened(text)
	_, _ = ParseGap(text)
	_ = AppliedTime(text)
	r, err := ParseReply(text, operations, accounts)
	if err != nil {
		return
	}
	for i := range accounts {
		_ = r.Remaining(i)
	}
	for _, code := range []byte(r.Codes) {
		if code == luascripts.CodeKnown {
			_ = r.Known()
		} else {
			_ = r.Amount()
		}
	}
	_, _ = r.End()
}

// No page makes a snapshot panic or continue forever.
func FuzzSnapshot(f *testing.F) {
	control := controlRecord(Control{Time: 1, Sequence: 1 << 40, LastSerial: 1 << 40})
	f.Add(control, AccountField("acme"), accountRecord(someAccount), "hfedcba9876543210", holdRecord(someHold), "0")
	f.Add(control, "hfedcba9876543210", holdRecord(someTombstone), SessionField(1), "a", "7")
	f.Add("", "", "", "", "", "0")
	f.Add("short", "a", "", "h", "o", "0")
	f.Fuzz(func(t *testing.T, control, field, record, otherField, otherRecord, cursor string) {
		for _, tenant := range []budget.TenantID{"", "acme"} {
			s := NewSnapshot("4 4 1 "+someIncarnation, tenant, true)
			s.Thorough = tenant == ""
			for page := 0; !s.Done() && page < 10; page++ {
				if page > 2 {
					cursor = "0"
				}
				_ = s.Args()
				pairs := []any{field, record, otherField, otherRecord}
				if s.Add([]any{WordPage, control, cursor, "1", "1", "1", "5", pairs, []any{otherField}, pairs}) != nil {
					return
				}
			}
			if _, err := ParseControl(control); err == nil && !s.Done() && s.ringHead <= 1 && s.endings <= 1 {
				t.Error("it continues")
			}
		}
		s := NewSnapshot(record, "", true)
		for _, reply := range [][]any{nil, {control}, {WordPage}, {WordPage, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {WordPage, control, cursor, "", "", "", "", []any{field}, nil, nil}} {
			if s.Add(reply) == nil {
				t.Errorf("page %q was read", reply)
			}
		}
	})
}
