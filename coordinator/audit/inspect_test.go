package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/enginetest"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// text returns the human-readable form of an inspection, and checks its JSON.
func text(t *testing.T, i audit.Inspection, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var parsed map[string]any
	encoded, err := json.Marshal(i)
	if err == nil {
		err = json.Unmarshal(encoded, &parsed)
	}
	if err != nil || parsed["subject"] != i.Subject || len(parsed["facts"].(map[string]any)) != len(i.Facts) {
		t.Errorf("%s became %s, %v", i.Subject, encoded, err)
	}
	var b strings.Builder
	if err := i.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// hasLines checks that a text has a whole line for each of these expressions.
func hasLines(t *testing.T, name, text string, expressions ...string) {
	t.Helper()
	for _, e := range expressions {
		if !regexp.MustCompile("(?m)^" + e + "$").MatchString(text) {
			t.Errorf("%s: no line is %s in\n%s", name, e, text)
		}
	}
}

func TestInspectSoundRecords(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ctx := t.Context()
	const moment = `20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \(\d{13}\)`

	i, err := audit.Inspect(ctx, s.client, "bursar")
	hasLines(t, "prefix", text(t, i, err), "prefix bursar", "  partitions +4", "  in use +4",
		fmt.Sprintf(`  partition %d +%s  \d+ fields, \d+ timers, sequence \d+, last batch %s`, s.index, regexp.QuoteMeta(s.keys.Ledger), moment))

	i, err = audit.InspectTenant(ctx, s.client, "bursar", "acme/search")
	hasLines(t, "tenant", text(t, i, err), `tenant "acme/search"`, fmt.Sprintf("  partition +%d of 4", s.index), `  granted +\$0\.00001 \(1000 microcents\)`,
		`  reserved +.*\(20 microcents\)`, "  open holds counted +2", `  serial +\d+`, "  no older hold due before +none", "  no younger hold due before +"+moment, "  older holds counted +1", `  last sequence of older holds +\d+`, "  flags +00000000", "  open holds +2",
		"  sum of holds +20", `  field +"aacme/search"`, "  raw +65 bytes: [0-9a-f]{130}")
	if i.Records[0].Values.Get("remaining") != budget.Microcents(980) || i.Records[0].Values.Get("nothing") != nil || len(i.Damages) > 0 {
		t.Errorf("%+v", i)
	}

	i, err = audit.InspectReservation(ctx, s.client, "bursar", s.hold)
	hasLines(t, "open", text(t, i, err), "reservation "+regexp.QuoteMeta(s.hold.String()), "  made by node +"+store.HexID(s.engine.Node.ID()), `  in its batch +\d+`,
		`  state +open \(o\)`, `  held +.* \(10 microcents\)`, "  made +"+moment, "  deadline +"+moment, "  timer +"+moment, `  levels +"acme/search"`, `  tenant +"acme/search"`)
	i, err = audit.InspectReservation(ctx, s.client, "bursar", s.ended)
	hasLines(t, "ended", text(t, i, err), `  state +committed \(c\)`, "  ended +"+moment, `  committed +.* \(7 microcents\)`, `  sequence of its end +\d+`, "  timer +none")
	if len(i.Damages) > 0 {
		t.Errorf("%+v", i.Damages)
	}

	i, err = audit.InspectPartition(ctx, s.client, "bursar", s.index)
	hasLines(t, "partition", text(t, i, err), fmt.Sprintf("partition %d of 4", s.index), "  accounts +[0-9]+", "  open holds +[0-9]+", "  committed holds +1", "  expired holds +1", "  released holds +0",
		"  sessions +1", "  stored replies +1", "  records of settled holds +1", "  records of expired holds +1", "  other fields +2", "header", "  layout +4", "  incarnation +[0-9a-f]{16}",
		"control record", "  sequence +[0-9]+", "session of node [0-9a-f]{16}", `  state +applied \(a\)`, "  timer 1 +"+moment+"  .*", `  timers in all +\d+`)
	if len(i.Damages) > 0 {
		t.Errorf("%+v", i.Damages)
	}

	i, err = audit.InspectNode(ctx, s.client, "bursar", s.engine.Node.ID())
	hasLines(t, "node", text(t, i, err), "node [0-9a-f]{16}", fmt.Sprintf("partition %d, session of node [0-9a-f]{16}", s.index), `  last batch +\d+`, "  digest +[0-9a-f]{16}",
		fmt.Sprintf("partition %d, stored reply of node [0-9a-f]{16}", s.index), "  codes +remaining", "  flags +none")
	if len(i.Records) != 8 || len(i.Damages) > 0 {
		t.Errorf("%d records, %+v", len(i.Records), i.Damages)
	}

	id := reserve(t, s.engine, "acme/search", 0)
	i, err = audit.InspectReservation(ctx, s.client, "bursar", id)
	hasLines(t, "of two levels", text(t, i, err), `  account serial +\d{1,3} \(the largest of its levels and limits\)`, `  levels +"acme/search", "acme"`)
	for _, kind := range []byte{luascripts.KindCommit, luascripts.KindRelease} {
		code := map[byte]string{luascripts.KindCommit: "overrun", luascripts.KindRelease: "released"}[kind]
		do(t, s.engine, kind, "acme/search", 10_000, id)
		i, err = audit.InspectNode(ctx, s.client, "bursar", s.engine.Node.ID())
		hasLines(t, "node", text(t, i, err), fmt.Sprintf("partition %d, stored reply of node [0-9a-f]{16}", s.index), "  codes +"+code)
		if len(i.Damages) > 0 {
			t.Errorf("%s: %+v", code, i.Damages)
		}
	}
}

func TestInspectAbsentRecords(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	ctx := t.Context()
	never := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, audit.ErrAbsent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := audit.Inspect(ctx, client, "bursar")
	never("no prefix", err)
	e := enginetest.Start(t, client, enginetest.Config{Partitions: 4})
	hold := fill(t, e, "acme")
	_, err = audit.InspectTenant(ctx, client, "bursar", "acme/ghost")
	never("no tenant", err)
	_, err = audit.InspectNode(ctx, client, "bursar", 1)
	never("no node", err)
	for _, index := range []int{-1, 4, (store.PartitionOf("acme", 4) + 1) % 4} {
		_, err = audit.InspectPartition(ctx, client, "bursar", index)
		never(fmt.Sprintf("partition %d", index), err)
	}
	node, number := store.MakerOf(hold)
	for name, c := range map[string]struct {
		id   budget.ReservationID
		want string
	}{
		"beyond":   {store.NewID("acme", node, number+100, 0), fmt.Sprintf(`  record +none: batch %d was never applied here; the last one of its node is \d+`, number+100)},
		"before":   {store.NewID("acme", node, number, 500), fmt.Sprintf(`  record +none: batch %d was applied, so the hold has ended and is forgotten, or was refused`, number)},
		"stranger": {store.NewID("acme", node+1, 1, 0), "  record +none: it has ended and is forgotten, or was never made; the session of its node is gone"},
	} {
		i, err := audit.InspectReservation(ctx, client, "bursar", c.id)
		hasLines(t, name, text(t, i, err), c.want)
	}
}

func TestInspectDamagedRecords(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	ctx, node := t.Context(), s.engine.Node.ID()
	tenant := func() (audit.Inspection, error) { return audit.InspectTenant(ctx, s.client, "bursar", "acme/search") }
	hold := func() (audit.Inspection, error) { return audit.InspectReservation(ctx, s.client, "bursar", s.hold) }
	partition := func() (audit.Inspection, error) { return audit.InspectPartition(ctx, s.client, "bursar", s.index) }
	sessions := func() (audit.Inspection, error) { return audit.InspectNode(ctx, s.client, "bursar", node) }
	a, h, session, reply := s.account("acme/search"), s.held(s.hold), s.field(store.SessionField(node)), s.field(store.ReplyField(node))
	control, header := s.field("c"), s.field("f")
	// All flags; an overdraft of 5, caps of 6, 7 and 8. The thresholds follow.
	settings := "\x07\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x08"
	for _, c := range []struct {
		name    string
		damage  func()
		field   *field
		inspect func() (audit.Inspection, error)
		kind    audit.Kind
		lines   []string
	}{
		{"account cut short", func() { a.set(a.was[:20]) }, a, tenant, store.DamagedAccount, []string{`  remaining +.*980 microcents\)`, "  reserved +cut off", "  flags +cut off", "  raw +20 bytes: .*"}},
		{"account out of balance", func() { a.add(remainingAt, 8, 1) }, a, tenant, store.UnbalancedAccount, []string{`  remaining +.*981 microcents\)`}},
		{"account with settings", func() { a.set(a.was[:64] + settings + "\x02\x00\x32\x03\xe8") }, a, tenant, "", []string{
			"  flags +00000111 frozen, closed, settings", `  overdraft +.* \(5 microcents\)`, `  cap of a hold +.* \(6 microcents\)`,
			`  cap of the reserved amount +.* \(7 microcents\)`, "  cap of open holds +8", "  number of thresholds +2", "  thresholds +50,1000 %"}},
		{"settings cut short", func() { a.set(a.was[:64] + settings) }, a, tenant, store.DamagedAccount, []string{"  cap of open holds +8", "  number of thresholds +cut off"}},
		{"thresholds cut short", func() { a.set(a.was[:64] + settings + "\x02\x00\x32") }, a, tenant, store.DamagedAccount, []string{"  number of thresholds +2"}},
		{"unsorted thresholds", func() { a.set(a.was[:64] + settings + "\x02\x00\x32\x00\x32") }, a, tenant, store.DamagedAccount, []string{"  number of thresholds +2"}},
		{"unknown flags", func() { a.set(a.was[:64] + "\x20") }, a, tenant, store.DamagedAccount, []string{"  flags +00100000"}},
		{"a window without settings", func() { a.set(a.was[:64] + "\x08") }, a, tenant, store.DamagedAccount, []string{"  flags +00001000 window"}},
		{"account with a tail", func() { a.set(a.was + "\x01\x02") }, a, tenant, store.DamagedAccount, []string{"  overdraft +cut off"}},
		{"account of a deleted tenant", func() { a.set("-") }, a, tenant, "", []string{"  state +deleted; .*"}},
		{"account off its holds", func() { h.add(heldAt, 8, 1) }, h, tenant, store.WrongSum, []string{"  sum of holds +21", `  partition \d: tenant "acme/search": reserved is 20, but its open holds sum up to 21: 1 too little; .*`}},
		{"tenant without control", func() { control.remove() }, control, tenant, store.DamagedControl, []string{"  sum of holds +20"}},
		{"tenant without header", func() { header.remove() }, header, tenant, store.DamagedHeader, []string{"  sum of holds +20"}},
		{"hold cut short", func() { h.set(h.was[:12]) }, h, hold, store.DamagedHold, []string{`  held +.*10 microcents\)`, "  made +cut off"}},
		{"empty hold", func() { h.set("") }, h, hold, store.DamagedHold, []string{"  state +cut off"}},
		{"hold of an unknown state", func() { h.set("\xff" + h.was[1:] + strings.Repeat("x", 20)) }, h, hold, store.DamagedHold, []string{`  state +unknown \('\\u00ff'|'ÿ'\).*|  state +unknown .*`}},
		{"hold of an earlier account", func() { h.add(holdSerialAt, 6, -1) }, h, hold, store.OrphanedHold, []string{`  account serial +\d+`}},
		{"hold of no account", func() { h.set(h.was[:34] + "acme/ghost") }, h, hold, store.OrphanedHold, []string{`  tenant +"acme/ghost"`}},
		{"session cut short", func() { session.set(session.was[:9]) }, session, sessions, store.DamagedSession, []string{`  last batch +\d+`, "  digest +cut off"}},
		{"session in a repair", func() { session.set("r" + session.was[1:23] + "\x00\x00\x00\x00\x00\x00\x00\x07m") }, session, sessions, "", []string{`  state +more of a repair follows \(r\)`, "  last batch before the repair +7", "  codes +merged"}},
		{"session of an unknown state", func() { session.set("?" + session.was[1:]) }, session, sessions, store.DamagedSession, []string{`  state +unknown \('\?'\)`}},
		{"reply cut short", func() { reply.set("A\x00") }, reply, sessions, store.DamagedReply, []string{"  time +cut off"}},
		{"reply with flags", func() { reply.set(reply.was[:7] + "\x1f" + reply.was[8:]) }, reply, sessions, "", []string{
			"  flags +more is due, the timers are not whole, damage was found, thresholds were crossed, windows"}},
		{"control cut short", func() { control.set(control.was[:15]) }, control, partition, store.DamagedControl, []string{"  sequence +cut off", "  time +20.*"}},
		{"header", func() { header.set("gar\x00bage") }, header, partition, store.DamagedHeader, []string{`  text +"gar\\x00bage"`}},
		{"a hold in the partition", func() { h.set(h.was[:12]) }, h, partition, store.DamagedHold, []string{"damages", `  partition \d: reservation [0-9a-f]{32}: damaged record: hold of 12 bytes.*`}},
	} {
		c.damage()
		i, err := c.inspect()
		hasLines(t, c.name, text(t, i, err), c.lines...)
		found := c.kind == ""
		for _, d := range i.Damages {
			found = found || d.Kind == c.kind
			if c.kind == "" || d.Partition != s.index || d.Remedy == "" {
				t.Errorf("%s: damage %+v", c.name, d)
			}
		}
		if !found {
			t.Errorf("%s: no damage %s in %+v", c.name, c.kind, i.Damages)
		}
		c.field.restore()
	}
	s.client.ZRem(ctx, s.keys.Timers, h.name)
	if i, err := hold(); err != nil || len(i.Damages) != 1 || i.Damages[0].Kind != store.UntimedHold {
		t.Errorf("a hold without a timer: %+v, %v", i.Damages, err)
	}
	s.client.Rename(ctx, s.keys.Timers, "bursar:aside")
	s.client.Set(ctx, s.keys.Timers, "theirs", 0)
	for name, inspect := range map[string]func() (audit.Inspection, error){"hold": hold, "partition": partition} {
		i, err := inspect()
		if text(t, i, err); len(i.Damages) != 1 || i.Damages[0].Kind != store.WrongType {
			t.Errorf("timers of another type, %s: %+v", name, i.Damages)
		}
	}
	s.client.Set(ctx, s.keys.Ledger, "theirs", 0)
	for name, inspect := range map[string]func() (audit.Inspection, error){"partition": partition, "node": sessions, "hold": hold, "tenant": tenant} {
		i, err := inspect()
		if found := text(t, i, err); !strings.Contains(found, "is not a hash") || len(i.Damages) != 2 {
			t.Errorf("a ledger of another type, %s: %s", name, found)
		}
	}
	i, err := audit.Inspect(ctx, s.client, "bursar")
	hasLines(t, "a ledger of another type", text(t, i, err), fmt.Sprintf("  partition %d +.*WRONGTYPE.*", s.index))
	s.client.Del(ctx, s.keys.Ledger, s.keys.Timers)
	s.client.ZAdd(ctx, s.keys.Timers, redis.Z{Score: 1, Member: session.name})
	for name, inspect := range map[string]func() (audit.Inspection, error){"partition": partition, "hold": hold, "tenant": tenant} {
		if i, err := inspect(); err != nil || !slices.ContainsFunc(i.Damages, want{store.LostLedger, "ledger", "missing"}.is) {
			t.Errorf("a lost ledger, %s: %+v, %v", name, i.Damages, err)
		}
	}
	if _, _, err := s.engine.Do(ctx, luascripts.KindRemaining, "acme", 0, budget.ReservationID{}); err == nil {
		t.Error("the node did not notice")
	}
}
