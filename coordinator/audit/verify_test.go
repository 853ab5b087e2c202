package audit_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/enginetest"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// scene is a prefix of four partitions with three tenants of one root and others, and a
// ledger that a test damages.
type scene struct {
	*testing.T
	client *redis.Client
	engine *enginetest.Engine
	keys   store.Keys // of acme
	index  int
	hold   budget.ReservationID // open, with a deadline, of acme/search
	ended  budget.ReservationID // committed
}

func newScene(t *testing.T) *scene {
	t.Helper()
	client := redistest.Start(t).Client()
	e := enginetest.Start(t, client, enginetest.Config{Partitions: 4})
	s := &scene{T: t, client: client, engine: e, keys: e.Keys("acme"), index: store.PartitionOf("acme", 4)}
	fill(t, e, slices.Concat([]budget.TenantID{"acme/spare"}, names("t%d", 20))...)
	s.hold = fill(t, e, "acme/search")
	fill(t, e, "acme") // last, so that no hold has two levels
	s.ended = reserve(t, e, "acme", time.Hour)
	do(t, e, luascripts.KindCommit, "acme", 7, s.ended)
	short := reserve(t, e, "acme", time.Millisecond)
	for client.HGet(t.Context(), s.keys.Ledger, store.HoldField(short)).Val()[0] == luascripts.HoldOpen {
		do(t, e, luascripts.KindRemaining, "acme", 0, budget.ReservationID{})
	}
	return s
}

func (s *scene) account(tenant budget.TenantID) *field {
	return fieldOf(s, s.client, s.keys.Ledger, store.AccountField(tenant))
}

func (s *scene) held(id budget.ReservationID) *field {
	return fieldOf(s, s.client, s.keys.Ledger, store.HoldField(id))
}

func (s *scene) field(name string) *field { return fieldOf(s, s.client, s.keys.Ledger, name) }

// anyField returns a field of the ledger of a kind.
func (s *scene) anyField(kind byte) *field {
	s.Helper()
	for name := range s.client.HGetAll(s.Context(), s.keys.Ledger).Val() {
		if name[0] == kind {
			return s.field(name)
		}
	}
	s.Fatalf("no field begins with %c", kind)
	return nil
}

// a want is a damage that is expected, by regular expressions.
type want struct {
	kind          audit.Kind
	subject, what string
}

func (w want) is(d audit.Damage) bool {
	return d.Kind == w.kind && regexp.MustCompile("^"+w.subject+"$").MatchString(d.Subject) && regexp.MustCompile(w.what).MatchString(d.What)
}

// finds checks that there are these damages and no others, each in the partition.
func (s *scene) finds(name string, wants ...want) {
	s.Helper()
	r := verify(s, s.client)
	if len(r.Damages) != len(wants) || len(r.Unsettled) > 0 {
		s.Errorf("%s: %d damages, want %d: %+v", name, len(r.Damages), len(wants), r)
	}
	for _, w := range wants {
		i := slices.IndexFunc(r.Damages, w.is)
		if i < 0 {
			s.Errorf("%s: nothing is %+v in %+v", name, w, r.Damages)
			continue
		}
		d := r.Damages[i]
		if d.Partition != s.index || d.Remedy == "" || strings.Contains(d.String(), "%!") || !strings.HasPrefix(d.String(), fmt.Sprintf("partition %d: %s: ", s.index, d.Subject)) {
			s.Errorf("%s: %s", name, d)
		}
	}
}

// Offsets in records; ledger.lua describes them.
const (
	grantedAt, remainingAt, reservedAt, committedAt, countAt, serialAt, youngAt, olderAt, turnAt = 0, 8, 16, 24, 32, 36, 48, 54, 58
	heldAt, holdSerialAt, holdSequenceAt, holdDeadlineAt, endedSequenceAt                        = 1, 9, 15, 27, 33
)

func TestVerifyFindsEachDamagedAccount(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.finds("sound")
	tenant, spare := `tenant "acme/search"`, `tenant "acme/spare"`
	a := s.account("acme/search")
	for _, c := range []struct {
		name   string
		damage func()
		want   want
	}{
		{"granted by one", func() { a.add(grantedAt, 8, 1) }, want{store.UnbalancedAccount, tenant, "980 .* 20 .* 0 is not granted 1001: 1 too little"}},
		{"remaining by one", func() { a.add(remainingAt, 8, 1) }, want{store.UnbalancedAccount, tenant, "981 .* 20 .* 0 is not granted 1000: 1 too much"}},
		{"reserved by one", func() { a.add(reservedAt, 8, -1) }, want{store.UnbalancedAccount, tenant, "980 .* 19 .*: 1 too little"}},
		{"committed by one", func() { a.add(committedAt, 8, 1) }, want{store.UnbalancedAccount, tenant, "committed 1 is not granted 1000: 1 too much"}},
		{"a negative term", func() { a.add(committedAt, 8, -1) }, want{store.UnbalancedAccount, tenant, "committed -1"}},
		{"an enormous term", func() { a.add(committedAt, 8, 1<<62+1) }, want{store.UnbalancedAccount, tenant, "is not granted 1000$"}},
		{"reserved and remaining", func() {
			a.add(reservedAt, 8, 1)
			b := s.account("acme/search")
			b.add(remainingAt, 8, -1)
		}, want{store.WrongSum, tenant, "reserved is 21, but its open holds sum up to 20: 1 too much; it counts 2 open holds, and there are 2"}},
		{"the count", func() { a.add(countAt, 4, 1) }, want{store.WrongSum, tenant, "sum up to 20; it counts 3 open holds, and there are 2"}},
		{"cut short", func() { a.set(a.was[:64]) }, want{store.DamagedAccount, tenant, "account of 64 bytes, want 65"}},
		{"empty", func() { a.set("") }, want{store.DamagedAccount, tenant, "account of 0 bytes"}},
		{"serial beyond the last", func() { a.add(serialAt, 6, 1<<40) }, want{store.DamagedAccount, tenant, "serial 10995116277.., but the partition's last one is"}},
		{"no deadline", func() { a.add(youngAt, 6, -int64(fieldDeadline(a.was))) }, want{store.WrongDeadline, tenant, `a hold is due at \d+, but the account says that none is before 0`}},
		{"a later deadline", func() { a.add(youngAt, 6, 1) }, want{store.WrongDeadline, tenant, "a hold is due at"}},
		{"a later turn", func() { a.add(turnAt, 6, 1) }, want{store.WrongDeadline, tenant, `a hold is due at \d+, but the account says that none is before 0`}},
		{"the count of older holds", func() { a.add(olderAt, 4, 1) }, want{store.WrongDeadline, tenant, `it counts 2 open holds up to sequence \d+, and there are 1`}},
		{"another's serial", func() {
			a.set(a.was[:serialAt] + s.account("acme/spare").was[serialAt:serialAt+6] + a.was[serialAt+6:])
		},
			want{store.SharedSerial, "(" + tenant + "|" + spare + ")", `is also that of tenant "acme/`}},
	} {
		c.damage()
		r := verify(t, s.client)
		i := slices.IndexFunc(r.Damages, c.want.is)
		switch {
		case i < 0:
			t.Errorf("%s: nothing is %+v in %+v", c.name, c.want, r.Damages)
		case r.Damages[i].Tenant.Root() != "acme" || r.Damages[i].Partition != s.index:
			t.Errorf("%s: %+v", c.name, r.Damages[i])
		case c.want.kind == store.UnbalancedAccount && (r.Damages[i].Figures == nil || len(r.Damages) != 1 || r.Tenants != 23):
			t.Errorf("%s: %+v", c.name, r)
		}
		for _, d := range r.Damages {
			if tenantsOf := d.Tenant; tenantsOf != "acme/search" && tenantsOf != "acme/spare" && tenantsOf != "" {
				t.Errorf("%s: another tenant seems to be damaged: %s", c.name, d)
			}
		}
		a.restore()
	}
	s.finds("restored")
	a.remove()
	s.finds("an account is gone",
		want{store.OrphanedHold, "reservation acme~2fsearch.*", `it holds 10 microcents, but tenant "acme/search" has no account`},
		want{store.OrphanedHold, "reservation acme~2fsearch.*", `it holds 10 microcents, but tenant "acme/search" has no account`})
	a.restore()

	stranger := budget.TenantID("t0")
	for i := 1; store.PartitionOf(stranger, 4) == s.index; i++ {
		stranger = budget.TenantID(fmt.Sprintf("t%d", i))
	}
	there := fieldOf(t, s.client, s.engine.Keys(stranger).Ledger, store.AccountField(stranger))
	here := s.account(stranger)
	record := []byte(there.was)
	copy(record[reservedAt:], make([]byte, 8))
	copy(record[countAt:], make([]byte, 4))
	copy(record[remainingAt:], record[grantedAt:grantedAt+8])
	copy(record[serialAt:], "\x00\x00\x00\x00\x00\x01")
	here.set(string(record))
	r := verify(t, s.client)
	if !slices.ContainsFunc(r.Damages, want{store.MisplacedAccount, fmt.Sprintf("tenant %q", stranger), "but the tenant belongs to partition"}.is) {
		t.Errorf("an account in another partition: %+v", r)
	}
	here.restore()
	bad := s.account("a//b")
	bad.set(string(record))
	s.finds("of no possible tenant", want{store.DamagedAccount, `tenant "a//b"`, "a level is empty"})
	bad.restore()
	s.finds("restored")
}

func fieldDeadline(record string) (n uint64) {
	for i := range 6 {
		n = n<<8 | uint64(record[youngAt+i])
	}
	return n
}

func TestVerifyFindsEachDamagedHold(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	h, tombstone := s.held(s.hold), s.held(s.ended)
	sums := want{store.WrongSum, `tenant "acme/search"`, "reserved is 20"}
	ours, raw := "reservation "+regexp.QuoteMeta(s.hold.String()), "reservation "+store.NameField(h.name, "")[len("reservation "):]
	for _, c := range []struct {
		name   string
		damage func()
		wants  []want
	}{
		{"by one microcent", func() { h.add(heldAt, 8, 1) }, []want{{store.WrongSum, `tenant "acme/search"`, "reserved is 20, but its open holds sum up to 21: 1 too little; it counts 2 open holds, and there are 2"}}},
		{"it holds nothing", func() { h.add(heldAt, 8, -10) }, []want{{store.DamagedHold, ours, "it holds nothing"}, sums}},
		{"a negative amount", func() { h.add(heldAt, 8, -11) }, []want{{store.DamagedHold, raw, "negative"}, sums}},
		{"an enormous amount", func() { h.add(heldAt, 8, 1<<62) }, []want{sums}},
		{"cut short", func() { h.set(h.was[:30]) }, []want{{store.DamagedHold, raw, "hold of 30 bytes"}, sums}},
		{"without a tenant", func() { h.set(h.was[:34]) }, []want{{store.DamagedHold, raw, "hold of 34 bytes"}, sums}},
		{"empty", func() { h.set("") }, []want{{store.DamagedHold, raw, "hold of 0 bytes"}, sums}},
		{"of an unknown state", func() { h.set("q" + h.was[1:] + strings.Repeat("x", 20)) }, []want{{store.DamagedHold, raw, "hold of unknown state 'q'"}, sums}},
		{"of an unknown state and as long as it was", func() { h.set("q" + h.was[1:]) }, []want{{store.DamagedHold, raw, "hold of 45 bytes|unknown state"}, sums}},
		{"of another tenant", func() { h.set(h.was[:34] + "acme/spare") }, []want{
			{store.OrphanedHold, "reservation acme~2fspare.*", `serial \d+, but tenant "acme/spare" now has serial`}, sums}},
		{"of no tenant", func() { h.set(h.was[:34] + "acme/ghost") }, []want{{store.OrphanedHold, "reservation acme~2fghost.*", `tenant "acme/ghost" has no account`}, sums}},
		{"of no possible tenant", func() { h.set(h.was[:34] + "a//b") }, []want{{store.DamagedHold, raw, "a level is empty"}, sums}},
		{"of an earlier account", func() { h.add(holdSerialAt, 6, -1) }, []want{{store.OrphanedHold, ours, `of an account with serial \d+, but tenant "acme/search" now has serial`}, sums}},
		{"from the future", func() { h.add(holdSequenceAt, 6, 1<<40) }, []want{{store.DamagedHold, ours, `made at sequence \d+ and ended at 0, but the partition is at \d+`}, sums}},
		{"gone", func() { h.remove() }, []want{{store.WrongSum, `tenant "acme/search"`, "reserved is 20, but its open holds sum up to 10: 10 too much; it counts 2 open holds, and there are 1"}}},
		{"ended behind its account", func() { h.set(tombstone.was[:48] + "acme/search") }, []want{sums}},
		{"a tombstone cut short", func() { tombstone.set(tombstone.was[:40]) }, []want{{store.DamagedHold, "reservation [0-9a-f]{32}", "hold of 40 bytes"}}},
		{"a tombstone of an unknown state", func() { tombstone.set("z" + tombstone.was[1:]) }, []want{{store.DamagedHold, "reservation [0-9a-f]{32}", "unknown state 'z'"}}},
		{"a tombstone from the future", func() { tombstone.add(endedSequenceAt, 6, 1<<40) }, []want{{store.DamagedHold, "reservation acme.*", "ended at"}}},
		{"an open hold of no node's making", func() { s.field("h0123456789abcdef").set(h.was[:34] + "acme/search") }, []want{
			{store.WrongSum, `tenant "acme/search"`, "sum up to 30: 10 too little; it counts 2 open holds, and there are 3"},
			{store.UntimedHold, "reservation acme~2fsearch.30313233343536373839616263646566", `its deadline is \d+, but it has no timer`}}},
		{"a short field", func() { s.field("h0").set(h.was) }, []want{{store.DamagedHold, `field "h0"`, "field of 2 bytes, want 17"}}},
	} {
		c.damage()
		r := verify(t, s.client)
		if c.name == "a short field" { // it is its timer that is missing, too
			r.Damages = slices.DeleteFunc(r.Damages, func(d audit.Damage) bool { return d.Kind == store.UntimedHold })
		}
		if len(r.Damages) != len(c.wants) || len(r.Unsettled) > 0 {
			t.Errorf("%s: %d damages, want %d: %+v", c.name, len(r.Damages), len(c.wants), r)
		}
		for _, w := range c.wants {
			if !slices.ContainsFunc(r.Damages, w.is) {
				t.Errorf("%s: nothing is %+v in %+v", c.name, w, r.Damages)
			}
		}
		h.restore()
		tombstone.restore()
		s.client.HDel(t.Context(), s.keys.Ledger, "h0123456789abcdef", "h0")
	}
	s.finds("restored")
}

func TestVerifyFindsEachOtherDamage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	node := store.HexID(s.engine.Node.ID())
	session, reply := s.field(store.SessionField(s.engine.Node.ID())), s.field(store.ReplyField(s.engine.Node.ID()))
	ring, timed := s.anyField(luascripts.FieldRing), s.anyField(luascripts.FieldEndings)
	header, control := s.field("f"), s.field("c")
	for _, c := range []struct {
		name   string
		damage *field
		record string
		wants  []want
	}{
		{"session cut short", session, session.was[:22], []want{{store.DamagedSession, "session of node " + node, "session of 22 bytes, want at least 23, or 31 in a repair"}}},
		{"session of an unknown state", session, "q" + session.was[1:], []want{{store.DamagedSession, "session of node " + node, "unknown state 'q'"}}},
		{"session in a repair cut short", session, "r" + session.was[1:23], []want{{store.DamagedSession, "session of node " + node, "23 bytes, want at least 23, or 31 in a repair"}}},
		{"reply cut short", reply, "A", []want{{store.DamagedReply, "stored reply of node " + node, "1 bytes"}}},
		{"reply of another", reply, strings.Repeat("z", 20), []want{{store.DamagedReply, "stored reply of node " + node, "begin with"}}},
		{"ring record cut short", ring, ring.was[:len(ring.was)-1], []want{{store.DamagedEndings, `record \d+ of settled holds`, "22 bytes, want 6 and 17 for each hold"}}},
		{"empty ring record", ring, "", []want{{store.DamagedEndings, `record \d+ of settled holds`, "0 bytes"}}},
		{"timed record cut short", timed, timed.was[:3], []want{{store.DamagedEndings, `record \d+ of expired holds`, "3 bytes"}}},
		{"an unknown field", s.field("zoo"), "x", []want{{store.UnknownField, `field "zoo"`, "its record has 1 bytes"}}},
		{"a session of no node", s.field("s1"), "x", []want{{store.UnknownField, `field "s1"`, ""}}},
		{"header cut short", header, header.was[:9], []want{{store.DamagedHeader, "header", "damaged record"}}},
		{"header of another number", header, "4 8 " + header.was[4:], []want{{store.DamagedHeader, "header", `is the key of partition \d of 4, but its header is of partition \d of 8`}}},
		{"header of another partition", header, fmt.Sprintf("4 4 %d %s", (s.index+1)%4, header.was[6:]), []want{{store.DamagedHeader, "header", `but its header is of partition \d of 4`}}},
		{"of another layout", header, "9 and what it likes", []want{{store.UnknownLayout, "header", "layout 9, and this program reads 4"}}},
		{"control cut short", control, control.was[:45], []want{{store.DamagedControl, "control record", "45 bytes, want 46"}}},
		{"control empty", control, "", []want{{store.DamagedControl, "control record", "it is missing or empty"}}},
		{"due too late", control, control.was[:6] + "\xff\xff\xff\xff\xff\xff" + control.was[12:], []want{{store.WrongDue, "control record", "the first timer is due at"}}},
		{"due never", control, control.was[:6] + "\x00\x00\x00\x00\x00\x00" + control.was[12:], []want{{store.WrongDue, "control record", "none before 0"}}},
	} {
		c.damage.set(c.record)
		s.finds(c.name, c.wants...)
		c.damage.restore()
	}
	header.remove()
	s.finds("no header", want{store.DamagedHeader, "header", "it is missing"})
	header.restore()
	control.remove()
	s.finds("no control", want{store.DamagedControl, "control record", "missing"})
	// A frozen partition is verified all the same.
	h := s.held(s.hold)
	h.add(heldAt, 8, 1)
	s.finds("no control and a hold", want{store.DamagedControl, "control record", "missing"}, want{store.WrongSum, `tenant "acme/search"`, "1 too little"})
	h.restore()
	control.restore()
	s.finds("restored")
}

func TestVerifyFindsLostKeys(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ctx := t.Context()
	member := store.HoldField(s.hold)
	score := s.client.ZScore(ctx, s.keys.Timers, member).Val()
	s.client.ZRem(ctx, s.keys.Timers, member)
	s.finds("a timer is gone", want{store.UntimedHold, "reservation " + regexp.QuoteMeta(s.hold.String()), "it has no timer"})
	s.client.ZAdd(ctx, s.keys.Timers, redis.Z{Score: score, Member: member})
	s.client.ZRem(ctx, s.keys.Timers, luascripts.Sentinel)
	s.finds("the sentinel is gone", want{store.IncompleteTimers, "timers", "missing, or not rebuilt yet"})
	s.client.Rename(ctx, s.keys.Timers, "bursar:aside")
	s.finds("no timers", want{store.IncompleteTimers, "timers", "missing, or not rebuilt yet"})
	s.client.Set(ctx, s.keys.Timers, "theirs", 0)
	s.finds("timers of another type", want{store.WrongType, "timers", "is not a sorted set"})
	s.client.Rename(ctx, "bursar:aside", s.keys.Timers)
	do(t, s.engine, luascripts.KindRemaining, "acme", 0, budget.ReservationID{}) // it notices
	for s.client.ZScore(ctx, s.keys.Timers, luascripts.Sentinel).Err() != nil {
		do(t, s.engine, luascripts.KindRemaining, "acme", 0, budget.ReservationID{})
	}
	s.finds("rebuilt")
	s.client.Rename(ctx, s.keys.Ledger, "bursar:aside")
	s.finds("no ledger", want{store.LostLedger, "ledger", "is missing, although its timers are there"})
	s.client.Set(ctx, s.keys.Ledger, "theirs", 0)
	s.finds("a ledger of another type", want{store.WrongType, "ledger", "is not a hash"})
	s.client.Del(ctx, s.keys.Timers)
	s.finds("and no timers", want{store.WrongType, "ledger", "is not a hash"})
	if _, err := audit.Read(ctx, s.client, store.DefaultPrefix); !errors.Is(err, audit.ErrUnreadable) {
		t.Errorf("Read: %v", err)
	}
	if err := audit.EachAccount(ctx, s.client, store.DefaultPrefix, func(budget.TenantID, budget.Balance) error { return nil }); !errors.Is(err, audit.ErrUnreadable) {
		t.Errorf("EachAccount: %v", err)
	}
}

// A damaged hold is found at each of its levels.
func TestVerifyFindsAHoldAtItsLevels(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	id := reserve(t, s.engine, "acme/search", time.Hour)
	s.finds("sound")
	h := s.held(id)
	h.add(heldAt, 8, 1)
	s.finds("by one microcent", want{store.WrongSum, `tenant "acme/search"`, "1 too little"}, want{store.WrongSum, `tenant "acme"`, "1 too little"})
	h.set(h.was[:33] + "\x05" + h.was[34:])
	s.finds("of a level above the root",
		want{store.DamagedHold, "reservation .*", "impossible levels 00000101"},
		want{store.WrongSum, `tenant "acme/search"`, "10 too much"}, want{store.WrongSum, `tenant "acme"`, "10 too much"})
	h.restore()
	s.account("acme").remove()
	s.finds("without its root", want{store.OrphanedHold, "reservation .*", `tenant "acme" has no account`},
		want{store.OrphanedHold, "reservation .*", `tenant "acme" has no account`}, want{store.OrphanedHold, "reservation .*", `tenant "acme" has no account`})
}

// One damage does not hide another, and other tenants are not concerned.
func TestVerifyFindsAllAtOnce(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.account("acme").set("junk")
	s.account("acme/search").add(remainingAt, 8, 1)
	s.held(s.hold).add(heldAt, 8, 1)
	s.account("acme/spare").add(countAt, 4, 1)
	s.field("c").add(6, 6, 1<<40)
	s.field("zoo").set("")
	s.client.ZRem(t.Context(), s.keys.Timers, store.HoldField(s.hold))
	s.finds("all",
		want{store.DamagedAccount, `tenant "acme"`, ""}, want{store.UnbalancedAccount, `tenant "acme/search"`, ""},
		want{store.WrongSum, `tenant "acme/spare"`, ""}, want{store.WrongDue, "control record", ""},
		want{store.UnknownField, `field "zoo"`, ""}, want{store.UntimedHold, "reservation .*", ""})
	for root, damages := range map[budget.TenantID]int{"acme": 6, "ghost": 0} {
		for i := 0; root == "ghost" && store.PartitionOf(root, 4) == s.index; i++ {
			root = budget.TenantID(fmt.Sprintf("ghost%d", i))
		}
		r, err := audit.Verify(t.Context(), s.client, store.DefaultPrefix, audit.Options{Root: root})
		if err != nil || len(r.Damages) != damages || r.Partitions > 1 || root == "acme" && r.Tenants != 2 {
			t.Errorf("%s alone: %+v, %v", root, r, err)
		}
	}
}

func TestVerifyBoundsItsReport(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	e := enginetest.Start(t, client, enginetest.Config{})
	fill(t, e, "acme")
	do(t, e, luascripts.KindGrant, "acme", 1_000_000, budget.ReservationID{})
	const holds = 2500
	for range holds {
		reserve(t, e, "acme", 0)
	}
	keys := e.Keys("acme")
	all := client.HGetAll(t.Context(), keys.Ledger).Val()
	for name, record := range all {
		if name[0] == luascripts.FieldHold {
			client.HSet(t.Context(), keys.Ledger, name, record[:20])
		}
	}
	r := verify(t, client)
	if len(r.Damages) != store.MaxNamed+1 || r.Unnamed != holds+2-store.MaxNamed || r.Holds != 0 || r.Tenants != 1 {
		t.Errorf("%d damages and %d more, %d holds, %d tenants", len(r.Damages), r.Unnamed, r.Holds, r.Tenants)
	}
}

// A change by hand in the middle of the run is found: of an account whenever it is made,
// of a hold before it is read.
func TestVerifyFindsChangesDuringTheRun(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	e := enginetest.Start(t, client, enginetest.Config{})
	hold := fill(t, e, names("t%d", 700)...)
	do(t, e, luascripts.KindGrant, "t0", 1_000_000, budget.ReservationID{})
	do(t, e, luascripts.KindGrant, "t1", 1_000_000, budget.ReservationID{})
	for range 2000 {
		reserve(t, e, "t0", 0)
		reserve(t, e, "t1", time.Hour)
	}
	keys := e.Keys("t0")
	pages := func(at int64, do func()) (audit.Report, int64) {
		hooked := server.Client()
		hook := &before{name: "evalsha", at: at, do: do}
		hooked.AddHook(hook)
		return verify(t, hooked), hook.seen
	}
	sound, n := pages(-1, nil)
	if len(sound.Damages) > 0 || n < 10 {
		t.Fatalf("%d pages: %+v", n, sound)
	}
	holds := int64(0)
	for at := range n {
		offset := []int{grantedAt, remainingAt, reservedAt, committedAt}[at%4]
		account := fieldOf(t, client, keys.Ledger, store.AccountField("t500"))
		r, _ := pages(at, func() { account.add(offset, 8, 1) })
		// The last pages read the accounts once more, each once.
		if found := slices.ContainsFunc(r.Damages, want{store.UnbalancedAccount, `tenant "t500"`, ""}.is); !found && at < n-2 {
			t.Errorf("offset %d at page %d of %d: %+v", offset, at, n, r)
		}
		account.restore()
		f := fieldOf(t, client, keys.Ledger, store.HoldField(hold))
		r, _ = pages(at, func() { f.add(heldAt, 8, 1) })
		if found := slices.ContainsFunc(r.Damages, want{store.WrongSum, `tenant "t699"`, ": 1 too little"}.is); found {
			holds++
		} else if at < n/3 {
			t.Errorf("a hold at page %d of %d: %+v", at, n, r)
		}
		f.restore()
	}
	t.Logf("the hold was found at %d of %d pages", holds, n)
}

// A hold of a tenant that was deleted and created again reaches no money of the new
// account, and is named.
func TestVerifyFindsAHoldOfADeletedTenant(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	old := s.held(s.hold)
	holds := s.client.HGetAll(t.Context(), s.keys.Ledger).Val()
	for name, record := range holds {
		if name[0] == luascripts.FieldHold && record[0] == luascripts.HoldOpen && strings.HasSuffix(record, "acme/search") {
			id, err := store.ReservationOf("acme/search", name)
			if err != nil {
				t.Fatal(err)
			}
			do(t, s.engine, luascripts.KindRelease, "acme/search", 0, id)
		}
	}
	do(t, s.engine, luascripts.KindDelete, "acme/search", 0, budget.ReservationID{})
	do(t, s.engine, luascripts.KindEnsure, "acme/search", 500, budget.ReservationID{})
	reserve(t, s.engine, "acme/search", 0)
	s.finds("created again")
	old.restore()
	s.finds("with a hold from before", want{store.OrphanedHold, "reservation " + regexp.QuoteMeta(s.hold.String()), `of an account with serial \d+, but tenant "acme/search" now has serial \d+`},
		want{store.UntimedHold, "reservation " + regexp.QuoteMeta(s.hold.String()), "it has no timer"})
	do(t, s.engine, luascripts.KindCommit, "acme/search", 10, s.hold)
	account, _, err := store.ParseAccount(s.account("acme/search").was)
	if err != nil || account.Granted != 500 || account.Reserved != 10 || account.Committed != 0 {
		t.Errorf("the old hold reached the new account: %+v, %v", account, err)
	}
}
