package audit_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/internal/enginetest"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

func partitions(t *testing.T, client redis.UniversalClient, prefix string) audit.Prefix {
	t.Helper()
	p, err := audit.Partitions(t.Context(), client, prefix)
	if err != nil {
		t.Fatalf("%s: %v", prefix, err)
	}
	return p
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	ctx := t.Context()
	if p := partitions(t, client, "bursar"); p.Partitions != 0 || len(p.Existing)+len(p.Damages) != 0 {
		t.Errorf("never used: %+v", p)
	}
	for partitionsOf := 1; partitionsOf <= store.MaxPartitions; partitionsOf *= 4 {
		prefix := fmt.Sprintf("p%d", partitionsOf)
		e := enginetest.Start(t, client, enginetest.Config{Prefix: prefix, Partitions: partitionsOf})
		fill(t, e, "acme", "b", "c")
		record := client.Get(ctx, store.RecordKey(prefix)).Val()
		p := partitions(t, client, prefix)
		if p.Partitions != partitionsOf || len(p.Damages) > 0 || !slices.Contains(p.Existing, store.PartitionOf("acme", partitionsOf)) || len(p.Existing) > 3 {
			t.Errorf("with a record: %+v", p)
		}
		existing := p.Existing
		for name, do := range map[string]func(){
			"missing":         func() { client.Del(ctx, store.RecordKey(prefix)) },
			"damaged":         func() { client.Set(ctx, store.RecordKey(prefix), "4 3", 0) },
			"of another type": func() { client.Del(ctx, store.RecordKey(prefix)); client.HSet(ctx, store.RecordKey(prefix), "a", "b") },
		} {
			do()
			p := partitions(t, client, prefix)
			if p.Partitions != partitionsOf || !slices.Equal(p.Existing, existing) || len(p.Damages) != 1 || p.Damages[0].Partition != audit.WholePrefix {
				t.Errorf("record %s: %+v", name, p)
			}
			if r, err := audit.Verify(ctx, client, prefix, audit.Options{}); err != nil || len(r.Damages) != 1 || r.Tenants != 3 {
				t.Errorf("record %s: %+v, %v", name, r, err)
			}
			client.Del(ctx, store.RecordKey(prefix))
			client.Set(ctx, store.RecordKey(prefix), record, 0)
		}
	}
	if keys := client.Info(ctx, "commandstats").Val(); strings.Contains(keys, "cmdstat_keys") {
		t.Error("KEYS was used")
	}
}

// Partitions under two numbers below one prefix are a damage if there is a record, and
// cannot be read otherwise.
func TestMixedPartitions(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	ctx := t.Context()
	fill(t, enginetest.Start(t, client, enginetest.Config{Partitions: 4}), names("t%d", 10)...)
	record := client.Get(ctx, store.RecordKey("bursar")).Val()
	stray := store.Header{Layout: 4, Partitions: 16, Index: 14, Incarnation: "0123456789abcdef"}
	client.HSet(ctx, store.KeysOf("bursar", 16, 14).Ledger, store.HeaderField, stray.String())
	p := partitions(t, client, "bursar")
	if p.Partitions != 4 || len(p.Damages) != 1 || p.Damages[0].Kind != store.MixedPartitions || p.Damages[0].What != "it has 4 partitions, but also some of 16" {
		t.Errorf("%+v", p)
	}
	client.Del(ctx, store.KeysOf("bursar", 16, 14).Ledger)
	for _, other := range []int{1, 2, 8, 1024} {
		client.Set(ctx, store.RecordKey("bursar"), store.Record{Layout: 4, Partitions: other}.String(), 0)
		want := fmt.Sprintf("it has %d partitions, but also some of 4", other)
		r := verify(t, client)
		if n := slices.IndexFunc(r.Damages, func(d audit.Damage) bool { return d.Kind == store.MixedPartitions }); n < 0 || r.Damages[n].What != want {
			t.Errorf("a record of %d: %+v", other, r)
		}
	}
	client.HSet(ctx, store.KeysOf("bursar", 16, 14).Ledger, store.HeaderField, stray.String())
	client.Del(ctx, store.RecordKey("bursar"))
	if _, err := audit.Partitions(ctx, client, "bursar"); !errors.Is(err, audit.ErrUnreadable) || !strings.Contains(err.Error(), "[4 16]") {
		t.Errorf("without a record: %v", err)
	}
	client.Set(ctx, store.RecordKey("bursar"), record, 0)

	// Without a readable header the number of partitions is unknown.
	client.Set(ctx, store.RecordKey("alone"), "junk", 0)
	if _, err := audit.Partitions(ctx, client, "alone"); !errors.Is(err, audit.ErrUnreadable) || !strings.Contains(err.Error(), "restore key alone:partitions") {
		t.Errorf("a damaged record and no partition: %v", err)
	}
	client.HSet(ctx, store.KeysOf("torn", 4, 2).Ledger, "f", "junk")
	if _, err := audit.Partitions(ctx, client, "torn"); !errors.Is(err, audit.ErrUnreadable) || !strings.Contains(err.Error(), store.KeysOf("torn", 4, 2).Ledger) {
		t.Errorf("no record and a damaged partition: %v", err)
	}
}

func TestAnotherLayoutIsNamedInOneSentence(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]redis.UniversalClient{"single": redistest.Start(t).Client(), "cluster": redistest.StartCluster(t).Client()} {
		ctx := t.Context()
		client.HSet(ctx, "old*:{acme}:books", "f", "1 0123456789abcdef")
		client.Set(ctx, store.RecordKey("new"), "9 whatever it likes", 0)
		for prefix, want := range map[string]string{"old*": `prefix "old*" is in layout 1, and this program reads 4`, "new": `prefix "new" is in layout 9, and this program reads 4`} {
			_, errRead := audit.Read(ctx, client, prefix)
			_, errVerify := audit.Verify(ctx, client, prefix, audit.Options{})
			for _, err := range []error{errRead, errVerify} {
				if !errors.Is(err, audit.ErrLayout) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: %v, want %s", name, err, want)
				}
			}
		}
		if p := partitions(t, client, "olds"); p.Partitions != 0 {
			t.Errorf("%s: the pattern matched another prefix: %+v", name, p)
		}
	}
}

// A node that is stopped while it creates a partition leaves no damage: the next
// EnsureTenant continues.
func TestInterruptedCreationIsNotAPartition(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	ctx := t.Context()
	e := enginetest.Start(t, client, enginetest.Config{})
	keys := e.Keys("acme")
	unfinished := func(err error) {
		t.Helper()
		if p := partitions(t, client, "bursar"); err != nil || len(p.Existing)+len(p.Damages) > 0 {
			t.Errorf("%v, %+v", err, p)
		}
	}
	unfinished(client.ZAdd(ctx, keys.Timers, redis.Z{Score: math.Inf(1), Member: luascripts.Sentinel}).Err())
	unfinished(client.HSet(ctx, keys.Ledger, store.ControlField, store.EmptyControl).Err())
	fill(t, e, "acme")
	if r := verify(t, client); len(r.Damages) > 0 || r.Partitions != 1 || r.Tenants != 1 {
		t.Errorf("afterwards: %+v", r)
	}
}
