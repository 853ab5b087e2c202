package audit_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/enginetest"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

const granted budget.Microcents = 1000

// fill creates tenants with a budget of 1,000 and reserves 10 for each, twice: once with
// a deadline. It returns the last reservation with a deadline.
func fill(t testing.TB, e *enginetest.Engine, tenants ...budget.TenantID) budget.ReservationID {
	t.Helper()
	var last budget.ReservationID
	for _, tenant := range tenants {
		do(t, e, luascripts.KindEnsure, tenant, granted, budget.ReservationID{})
		reserve(t, e, tenant, 0)
		last = reserve(t, e, tenant, time.Hour)
	}
	return last
}

func reserve(t testing.TB, e *enginetest.Engine, tenant budget.TenantID, ttl time.Duration) budget.ReservationID {
	t.Helper()
	id, err := e.Reserve(t.Context(), tenant, 10, ttl)
	if err != nil || id.IsZero() {
		t.Fatalf("reserve of %q: %s, %v", tenant, id, err)
	}
	return id
}

func do(t testing.TB, e *enginetest.Engine, kind byte, tenant budget.TenantID, amount budget.Microcents, id budget.ReservationID) {
	t.Helper()
	if _, _, err := e.Do(t.Context(), kind, tenant, amount, id); err != nil {
		t.Fatalf("%c of %q: %v", kind, tenant, err)
	}
}

func verify(t testing.TB, client redis.UniversalClient) audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), client, store.DefaultPrefix, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// field is a field of a ledger that a test can change and restore.
type field struct {
	t      testing.TB
	client redis.UniversalClient
	key    string
	name   string
	was    string
	absent bool
}

func fieldOf(t testing.TB, client redis.UniversalClient, key, name string) *field {
	t.Helper()
	was, err := client.HGet(t.Context(), key, name).Result()
	return &field{t, client, key, name, was, err == redis.Nil} //nolint:errorlint // go-redis returns it unwrapped
}

func (f *field) set(record string) {
	f.t.Helper()
	if err := f.client.HSet(f.t.Context(), f.key, f.name, record).Err(); err != nil {
		f.t.Fatal(err)
	}
}

// add adds n to a big-endian number in the record.
func (f *field) add(offset, bytes int, n int64) {
	f.t.Helper()
	record := []byte(f.was)
	var wide [8]byte
	copy(wide[8-bytes:], record[offset:offset+bytes])
	binary.BigEndian.PutUint64(wide[:], binary.BigEndian.Uint64(wide[:])+uint64(n))
	copy(record[offset:], wide[8-bytes:])
	f.set(string(record))
}

func (f *field) remove() {
	f.t.Helper()
	if err := f.client.HDel(f.t.Context(), f.key, f.name).Err(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *field) restore() {
	f.t.Helper()
	if f.absent {
		f.remove()
	} else {
		f.set(f.was)
	}
}

// before is a hook that calls do before the command number at, from 0, of this name.
type before struct {
	name string
	at   int64
	seen int64
	do   func()
}

func (h *before) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == h.name {
			if h.seen++; h.seen-1 == h.at {
				h.do()
			}
		}
		return next(ctx, cmd)
	}
}

func names(pattern string, n int) []budget.TenantID {
	all := make([]budget.TenantID, n)
	for i := range all {
		all[i] = budget.TenantID(fmt.Sprintf(pattern, i))
	}
	return all
}
