package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// The parsers read the records that the scripts write.
func TestScriptsWriteWhatParsersRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 16384, 10*time.Minute)
	ctx, made := t.Context(), w.now.UnixMilli()
	const granted = budget.Microcents(1<<63 - 1)
	w.do(luascripts.KindEnsure, "acme/search", granted, budget.ReservationID{}) // sequence 1
	reserve := func(cost budget.Microcents, ttl time.Duration) budget.ReservationID {
		id, err := w.engine.Reserve(ctx, "acme/search", cost, ttl)
		if err != nil || id.IsZero() {
			t.Fatal(id, err)
		}
		return id
	}
	open, committed, released, expired := reserve(1<<62, 0), reserve(30, time.Hour), reserve(40, time.Hour), reserve(50, time.Second)
	w.now = w.now.Add(500 * time.Millisecond)
	w.do(luascripts.KindCommit, "acme/search", 35, committed) // 6
	w.do(luascripts.KindRelease, "acme/search", 0, released)
	w.now = w.now.Add(time.Second)
	w.do(luascripts.KindRemaining, "acme/search", 0, budget.ReservationID{}) // 8
	now := w.now.UnixMilli()
	fields := w.client.HGetAll(ctx, w.keys.Ledger).Val()

	account, ok, err := store.ParseAccount(fields[store.AccountField("acme/search")])
	wantAccount := store.Account{Granted: granted, Remaining: granted - 1<<62 - 35, Reserved: 1 << 62, Committed: 35, Holds: 1, Serial: 1, Young: account.Young, Older: 1, Turn: 2}
	if !ok || err != nil || !cmp.Equal(account, wantAccount) || !account.Balanced() {
		t.Errorf("account %+v, %v", account, err)
	}
	for _, c := range []struct {
		id   budget.ReservationID
		want store.Hold
	}{
		{open, store.Hold{State: luascripts.HoldOpen, Held: 1 << 62, Made: made, Sequence: 2}},
		{committed, store.Hold{State: luascripts.HoldCommitted, Held: 30, Made: made, Ended: made + 500, Sequence: 3, EndedSeq: 6, Actual: 35}},
		{released, store.Hold{State: luascripts.HoldReleased, Held: 40, Made: made, Ended: made + 500, Sequence: 4, EndedSeq: 7}},
		{expired, store.Hold{State: luascripts.HoldExpired, Held: 50, Made: made, Ended: now, Sequence: 5, EndedSeq: 8}},
	} {
		c.want.Serial, c.want.Levels, c.want.Tenant = 1, 1, "acme/search"
		field := store.HoldField(c.id)
		hold, err := store.ParseHold(fields[field])
		if err != nil || !cmp.Equal(hold, c.want) {
			t.Errorf("%s: %v\n%s", c.id, err, cmp.Diff(c.want, hold))
		}
		if id, err := store.ReservationOf(hold.Tenant, field); err != nil || id != c.id {
			t.Errorf("%s became %s, %v", c.id, id, err)
		}
		if node, number := store.MakerOf(c.id); node != w.engine.Node.ID() || number == 0 {
			t.Errorf("%s is of node %x and batch %d", c.id, node, number)
		}
		delete(fields, field)
	}

	control, err := store.ParseControl(fields[store.ControlField])
	if want := (store.Control{Time: now, Sequence: 8, LastSerial: 1, RingHead: 2, RingCount: 2, Endings: 1, Due: control.Due}); err != nil || control != want {
		t.Errorf("control %+v, %v", control, err)
	}
	first := w.client.ZRangeWithScores(ctx, w.keys.Timers, 0, 0).Val()[0]
	if control.Due == 0 || float64(control.Due) > first.Score {
		t.Errorf("due %d, and the first timer is at %.0f", control.Due, first.Score)
	}
	header, err := store.ParseHeader(fields[store.HeaderField])
	if err != nil || header.Layout != luascripts.Layout || header.Partitions != 1 || header.Index != 0 {
		t.Errorf("header %+v, %v", header, err)
	}
	checkSession(t, w, fields)
	for _, field := range []string{store.AccountField("acme/search"), store.ControlField, store.HeaderField, store.SessionField(w.engine.Node.ID()), store.ReplyField(w.engine.Node.ID())} {
		delete(fields, field)
	}
	for field, record := range fields {
		if kind := field[0]; kind != luascripts.FieldRing && kind != luascripts.FieldEndings || (len(record)-6)%store.HoldFieldBytes != 0 {
			t.Errorf("unexpected field %q with %d bytes", field, len(record))
		}
	}
	checkDeletion(t, w, open)
}

// The parsers read the settings that the scripts write, and the scripts keep those that a
// change doesn't name.
func TestScriptsWriteSettingsThatParsersRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 16384, 10*time.Minute)
	w.do(luascripts.KindEnsure, "acme", 100, budget.ReservationID{})
	all := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, budget.MaxThreshold}
	var want budget.Settings
	apply := func(change budget.Change) {
		t.Helper()
		want = change.Apply(want)
		a, err := w.engine.Configure(t.Context(), "acme", &change)
		if err != nil || a.Outcome != budget.Configured || *a.Settings != want {
			t.Errorf("configured %+v, %v, want %+v", a, err, want)
		}
		w.do(luascripts.KindGrant, "acme", 1, budget.ReservationID{}) // another change keeps them
		record := w.client.HGet(t.Context(), w.keys.Ledger, store.AccountField("acme")).Val()
		if account, ok, err := store.ParseAccount(record); !ok || err != nil || account.Settings != want {
			t.Errorf("stored %q: %+v, %v, want %+v", record, account.Settings, err, want)
		}
		if bare := want.Overdraft|want.CapHold|want.CapReserved == 0 && want.CapHolds == 0 && want.Thresholds.IsZero(); bare != (len(record) == luascripts.AccountBytes) {
			t.Errorf("%+v takes %d bytes", want, len(record))
		}
	}
	configure := func(settings ...budget.Setting) {
		t.Helper()
		change, err := budget.NewChange(settings...)
		if err != nil {
			t.Fatal(err)
		}
		apply(change)
	}
	configure()
	configure(budget.AtThresholds(all...))
	configure(budget.Overdraft(1 << 62))
	configure(budget.CapHold(budget.MaxMicrocents), budget.AtThresholds(80))
	configure(budget.CapReserved(1<<33+1), budget.CapHolds(budget.MaxCapHolds))
	apply(budget.ChangeFrozen)
	configure(budget.Overdraft(0), budget.CapHolds(3))
	configure(budget.AtThresholds(), budget.CapHold(0), budget.CapReserved(0), budget.CapHolds(0))
	apply(budget.ChangeUnfrozen)
	configure(budget.CapHolds(1))
}

func checkSession(t *testing.T, w *world, fields map[string]string) {
	t.Helper()
	node, now := w.engine.Node.ID(), w.now.UnixMilli()
	session := store.Session(fields[store.SessionField(node)])
	if !session.Valid() || session.State() != luascripts.SessionApplied || session.Time() != now || session.Number() != session.Since() {
		t.Errorf("session %q", session)
	}
	if session != store.AppliedSession(session.Mark(), now, false, 0, string(rune(luascripts.CodeRemaining))) {
		t.Errorf("session %q is not what its node expects", session)
	}
	reply, err := store.ParseReply(fields[store.ReplyField(node)], 1, 1)
	if err != nil || reply.Time != now || reply.Codes != string(rune(luascripts.CodeRemaining)) {
		t.Errorf("stored reply %+v, %v", reply, err)
	}
	if got, ok := store.NodeOfField(store.SessionField(node)); !ok || got != node {
		t.Errorf("node %x became %x", node, got)
	}
}

// checkDeletion deletes the account: its field is gone, and a new one has another serial.
func checkDeletion(t *testing.T, w *world, open budget.ReservationID) {
	t.Helper()
	w.do(luascripts.KindRelease, "acme/search", 0, open)
	w.do(luascripts.KindDelete, "acme/search", 0, budget.ReservationID{})
	field := store.AccountField("acme/search")
	if w.client.HExists(t.Context(), w.keys.Ledger, field).Val() {
		t.Error("a deleted account still exists")
	}
	w.do(luascripts.KindEnsure, "acme/search", 5, budget.ReservationID{})
	account, ok, err := store.ParseAccount(w.client.HGet(t.Context(), w.keys.Ledger, field).Val())
	if !ok || err != nil || account.Serial != 2 || account.Granted != 5 {
		t.Errorf("created again: %+v, %v", account, err)
	}
	scripts := luascripts.Compose(luascripts.Redis)
	closed, err := w.client.Eval(t.Context(), scripts.Close.Source, []string{w.keys.Ledger, w.keys.Timers},
		store.SessionField(w.engine.Node.ID())[1:], store.Session(w.client.HGet(t.Context(), w.keys.Ledger, store.SessionField(w.engine.Node.ID())).Val()).Mark()[:8],
		w.client.HGet(t.Context(), w.keys.Ledger, store.HeaderField).Val(), "1900000000000").Text()
	session := store.Session(w.client.HGet(t.Context(), w.keys.Ledger, store.SessionField(w.engine.Node.ID())).Val())
	if err != nil || closed != store.WordClosed || !session.Valid() || session.State() != luascripts.SessionClosed || session.Time() != 1_900_000_000_000 {
		t.Errorf("closed: %s %v, session %q", closed, err, session)
	}
	if n := w.client.HExists(t.Context(), w.keys.Ledger, store.ReplyField(w.engine.Node.ID())).Val(); n || strings.Contains(closed, " ") {
		t.Error("a closed session's reply still exists")
	}
}
