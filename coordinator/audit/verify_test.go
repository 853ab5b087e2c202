package books_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/redistest"
)

// largeHolds are more than are read at once.
const largeHolds = 6000

// largeFamily adds them to acme, of 1 microcent each, written as a node writes them,
// which can go on with the family.
func largeFamily(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	balance, err := layout.ParseAccount(client.HGet(t.Context(), key, "a").Val())
	if err != nil {
		t.Fatal(err)
	}
	fields := []any{"a", fmt.Sprintf("%d %d %d %d", balance.Granted+largeHolds, balance.Remaining, balance.Reserved+largeHolds, balance.Committed)}
	for i := range largeHolds {
		field := layout.AppendHoldField(nil, budget.NewReservationID("acme", 7, uint64(i)))
		fields = append(fields, string(field), "o1 1700000000000 0")
	}
	for chunk := range slices.Chunk(fields, 2000) {
		if err := client.HSet(t.Context(), key, chunk...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t *testing.T, client redis.UniversalClient, atOnce bool) books.Report {
	t.Helper()
	r, err := books.Verify(t.Context(), client, "bursar", "acme", atOnce)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// corruption is somebody's hand in one field, and what Verify says of it.
type corruption struct {
	name, field, text string
	tenant            budget.TenantID
	want              string
	differences       int
}

// corruptions of a family as fill makes it; hold is one of the two of acme/spare.
func corruptions(hold string) []corruption {
	ghost := string(layout.AppendHoldField(nil, budget.NewReservationID("acme/ghost", 1, 1)))
	return []corruption{
		{"a term", "a", "5 1 1 1", "acme", "the law is broken", 1},
		{"terms beyond an int64", "a", "5 9223372036854775807 9223372036854775807 9", "acme", "the law is broken", 1},
		{"reserved and remaining", "a/search", "1000 979 21 0", "acme/search", "sum up to 20, but reserved is 21", 1},
		{"an account's text", "a/search", "1000 980 20", "acme/search", "want granted", 1},
		{"a foreign text for a new account", "a/new", "junk", "acme/new", "want granted", 1},
		{"an account of another family", "axyz", "1 1 0 0", "acme", "no possible tenant", 1},
		{"a deleted account with holds", "a/search", "-", "acme/search", "does not exist", 2},
		{"a hold's amount", hold, "o11 1700000000000 0", "acme/spare", "sum up to 21", 1},
		{"a hold of nothing", hold, "o0 1700000000000 0", "acme/spare", "not a possible hold", 1},
		{"holds beyond an int64", hold, "o9223372036854775807 1700000000000 0", "acme/spare", "holds sum up to|not a possible hold", 1},
		{"a hold that ended behind the account", hold, "l10 1700000000000", "acme/spare", "sum up to 10, but reserved is 20", 1},
		{"a hold's text", hold, "o10 x 0", "acme", "invalid syntax", 2},
		{"a hold's state", hold, "q10 1700000000000", "acme", "neither open nor ended", 2},
		{"no text for a hold", hold, "", "acme", "neither open nor ended", 2},
		{"an ended hold's text", ghost, "c10", "acme", "neither open nor ended", 1},
		{"a hold without an account", ghost, "o1 1 0", "acme/ghost", "does not exist", 1},
		{"a hold of another family", "h" + strings.Repeat("0", 32) + "x", "o1 1 0", "acme", "no possible tenant", 1},
		{"the family's field", "f", "junk", "acme", "is no family", 1},
	}
}

func (c corruption) in(r books.Report) bool {
	want := regexp.MustCompile(c.want)
	return slices.ContainsFunc(r.Differences, func(d books.Difference) bool {
		return d.Tenant == c.tenant && want.MatchString(d.What.Error())
	})
}

// What somebody's hand in the books does is found, in families of both sizes.
func TestVerifyFindsEach(t *testing.T) {
	t.Parallel()
	for name, holds := range map[string]int{"small": 6, "large": largeHolds + 6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := redistest.Start(t).Client()
			fill(t, startNode(t, client), "acme", "acme/search", "acme/spare")
			if holds > largeHolds {
				largeFamily(t, client)
			}
			if r := verify(t, client, false); r.Tenants != 3 || r.Holds != holds || len(r.Differences) != 0 || r.Unsettled || r.Root != "acme" {
				t.Fatalf("a sound family: %+v", r)
			}
			hold := anyHold(client.HGetAll(t.Context(), key).Val())
			for _, c := range corruptions(hold) {
				was, err := client.HGet(t.Context(), key, c.field).Result()
				client.HSet(t.Context(), key, c.field, c.text)
				if r := verify(t, client, false); !c.in(r) || len(r.Differences) != c.differences || r.Unsettled {
					t.Errorf("%s: %+v, want %s: %s", c.name, r, c.tenant, c.want)
				}
				client.HDel(t.Context(), key, c.field)
				if err == nil {
					client.HSet(t.Context(), key, c.field, was)
				}
			}
			if r := verify(t, client, false); len(r.Differences) != 0 || r.Unsettled {
				t.Fatalf("restored: %+v", r)
			}
			client.HDel(t.Context(), key, hold)
			if r := verify(t, client, false); len(r.Differences) != 1 || r.Differences[0].Tenant != "acme/spare" {
				t.Errorf("a hold that is gone: %+v", r)
			}
			client.HDel(t.Context(), key, "f")
			if r := verify(t, client, false); r.Tenants != 3 || len(r.Differences) != 2 {
				t.Errorf("and the family's field: %+v", r)
			}
			client.HSet(t.Context(), key, "f", "9 0123456789abcdef")
			if _, err := books.Verify(t.Context(), client, "bursar", "acme", false); !errors.Is(err, books.ErrLayout) {
				t.Errorf("a newer layout: %v", err)
			}
		})
	}
}

// One fault does not hide another.
func TestVerifyFindsAllAtOnce(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	fill(t, startNode(t, client), "acme", "acme/search", "acme/spare")
	largeFamily(t, client)
	hold := anyHold(client.HGetAll(t.Context(), key).Val())
	client.HSet(t.Context(), key, "f", "junk", "a", "junk", "a/search", "1000 980 20 1", hold, "o11 1 0", "axyz", "junk", "a/spare", "1000 980 20 0")
	for _, atOnce := range []bool{false, true} {
		r := verify(t, client, atOnce)
		var tenants []budget.TenantID
		for _, d := range r.Differences {
			tenants = append(tenants, d.Tenant)
		}
		want := []budget.TenantID{"acme", "acme", "acme", "acme/search", "acme/spare"}
		if !slices.Equal(tenants, want) || r.Tenants != 3 || r.Holds != largeHolds+6 {
			t.Errorf("at once %t: %+v", atOnce, r)
		}
	}
}

func TestVerifyOfWhatIsNoFamily(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	for _, atOnce := range []bool{false, true} {
		r, err := books.Verify(t.Context(), client, "bursar", "ghost", atOnce)
		if err != nil || r.Root != "ghost" || r.Tenants != 0 || len(r.Differences) != 0 || r.Unsettled {
			t.Errorf("no family: %+v, %v", r, err)
		}
	}
	client.Set(t.Context(), key, "theirs", 0)
	if r := verify(t, client, false); len(r.Differences) != 1 || r.Differences[0].Tenant != "acme" {
		t.Errorf("a string: %+v", r)
	}
}

// anyHold is a field of a hold of acme/spare.
func anyHold(fields map[string]string) string {
	for field := range fields {
		if strings.HasPrefix(field, "h") && strings.HasSuffix(field, "/spare") {
			return field
		}
	}
	return ""
}

// A large family under load is settled or said to be unsettled, and never reported as
// broken; read at once it is settled.
func TestVerifyUnderLoad(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	node := startNode(t, client)
	fill(t, node, "acme")
	largeFamily(t, client)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				r, err := node.TryReserve(ctx, "acme", 3)
				if err == nil && r.Outcome == budget.Reserved {
					_, err = node.Commit(context.WithoutCancel(ctx), r.ID, 0)
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	unsettled := 0
	for range 20 {
		r := verify(t, client, false)
		if len(r.Differences) > 0 {
			t.Errorf("a moving family is said to be broken: %v", r.Differences)
		}
		if r.Unsettled {
			unsettled++
		}
	}
	for range 5 {
		if r := verify(t, client, true); r.Unsettled || len(r.Differences) > 0 || r.Holds < largeHolds {
			t.Errorf("at once: %+v", r)
		}
	}
	stop()
	wg.Wait()
	if unsettled == 0 {
		t.Error("the family was settled each time: there was no load")
	}
	if r := verify(t, client, false); r.Unsettled || len(r.Differences) > 0 {
		t.Errorf("after the load: %+v", r)
	}
}

// meanwhile does something to a family between two of a reading's commands.
func meanwhile(t *testing.T, client redis.UniversalClient, name string, at int64, do func() error) books.Report {
	t.Helper()
	hook := &before{name: name, at: at, do: func() error {
		if err := do(); err != nil {
			t.Error(err)
		}
		return nil
	}}
	client.AddHook(hook)
	r := verify(t, client, false)
	if hook.seen.Load() <= at {
		t.Fatalf("there were only %d %s", hook.seen.Load(), name)
	}
	return r
}

// Whatever happens once in the middle of a reading, the next one settles it.
func TestVerifyReadsAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	node := startNode(t, server.Client())
	fill(t, node, "acme", "acme/old")
	largeFamily(t, server.Client())
	ctx := t.Context()
	reserve := func(tenant budget.TenantID) (budget.ReservationID, error) {
		r, err := node.TryReserve(ctx, tenant, 1)
		return r.ID, errors.Join(err, r.Err())
	}
	ensure := func(tenant budget.TenantID) error {
		_, err := node.EnsureTenant(ctx, tenant, 10)
		return err
	}
	var open budget.ReservationID
	settle := func() error {
		_, err := node.Release(ctx, open)
		return err
	}
	for _, c := range []struct {
		name    string
		command string
		at      int64
		do      func() error
	}{
		{"a reserve", "hscan", 8, func() (err error) { open, err = reserve("acme"); return err }},
		{"a release", "hscan", 8, settle},
		{"both", "hscan", 8, func() (err error) {
			if open, err = reserve("acme"); err != nil {
				return err
			}
			return settle()
		}},
		{"a new tenant with a hold", "hmget", 0, func() error {
			if err := ensure("acme/new"); err != nil {
				return err
			}
			_, err := reserve("acme/new")
			return err
		}},
		{"another, later", "hscan", 8, func() error {
			if err := ensure("acme/newer"); err != nil {
				return err
			}
			_, err := reserve("acme/newer")
			return err
		}},
		{"a grant", "hmget", 1, func() error { _, err := node.Grant(ctx, "acme", 5); return err }},
	} {
		if r := meanwhile(t, server.Client(), c.command, c.at, c.do); len(r.Differences) != 0 || r.Unsettled {
			t.Errorf("%s meanwhile: %+v", c.name, r)
		}
	}
}

// A tenant that comes, reserves, settles and goes within a reading is no hold without
// an account.
func TestVerifyWhileATenantComesAndGoes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	node := startNode(t, server.Client())
	fill(t, node, "acme")
	largeFamily(t, server.Client())
	var open budget.ReservationID
	come := &before{name: "hscan", at: 7, do: func() error {
		if _, err := node.EnsureTenant(t.Context(), "acme/brief", 10); err != nil {
			t.Error(err)
		}
		r, err := node.TryReserve(t.Context(), "acme/brief", 1)
		open = r.ID
		if err != nil {
			t.Error(err)
		}
		return nil
	}}
	leave := func() error {
		if _, err := node.Release(t.Context(), open); err != nil {
			return err
		}
		_, err := node.DeleteTenant(t.Context(), "acme/brief")
		return err
	}
	pages := &before{name: "hscan", at: 1 << 30, do: gone}
	counted := server.Client()
	counted.AddHook(pages)
	verify(t, counted, false)
	perScan := pages.seen.Load() / 3
	for at := perScan + 1; at <= 3*perScan; at++ {
		client := server.Client()
		come.at = perScan // the holds' first page
		come.seen.Store(0)
		client.AddHook(come)
		if r := meanwhile(t, client, "hscan", at, leave); len(r.Differences) != 0 || r.Unsettled {
			t.Errorf("gone at page %d: %+v", at, r)
		}
	}
}

// A cursor of HSCAN means nothing on another server: holds are passed over there, and
// nothing says so.
func TestVerifyWhileTheFamilyMoves(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	fill(t, startNode(t, cluster.Client()), "acme")
	largeFamily(t, cluster.Client())
	slot, err := cluster.Slot(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{3, 10, 17} {
		move := func() error {
			from, err := cluster.Owner(t.Context(), slot)
			if err != nil {
				return err
			}
			i := slices.Index(cluster.Masters(), from)
			return cluster.MigrateSlot(t.Context(), slot, cluster.Masters()[(i+1)%len(cluster.Masters())])
		}
		if r := meanwhile(t, cluster.Client(), "hscan", at, move); len(r.Differences) != 0 || r.Unsettled {
			t.Errorf("moved at page %d: %+v", at, r)
		}
	}
}

// A family that changes within each reading is unsettled, and not broken, although the
// accounts show the same texts before and after.
func TestVerifyOfWhatNeverHoldsStill(t *testing.T) {
	t.Parallel()
	reserve := func(node *coordinator.Coordinator, tenant budget.TenantID) budget.ReservationID {
		r, err := node.TryReserve(t.Context(), tenant, 1)
		if err != nil || r.Err() != nil {
			t.Error(r, err)
		}
		return r.ID
	}
	var open []budget.ReservationID
	tenants := 0
	for name, do := range map[string]func(node *coordinator.Coordinator, command string){
		"holds that end within it": func(node *coordinator.Coordinator, command string) {
			if command == "hscan" {
				open = append(open, reserve(node, "acme"))
			}
			for command == "hmget" && len(open) > 0 {
				if _, err := node.Release(t.Context(), open[0]); err != nil {
					t.Error(err)
				}
				open = open[1:]
			}
		},
		"tenants that come within it": func(node *coordinator.Coordinator, command string) {
			if command != "hscan" {
				return
			}
			tenants++
			tenant := budget.TenantID(fmt.Sprintf("acme/new-%d", tenants))
			if _, err := node.EnsureTenant(t.Context(), tenant, 10); err != nil {
				t.Error(err)
			}
			reserve(node, tenant)
		},
	} {
		server := redistest.Start(t)
		node := startNode(t, server.Client())
		fill(t, node, "acme")
		largeFamily(t, server.Client())
		client := server.Client()
		client.AddHook(&always{do: func(command string) { do(node, command) }})
		if r := verify(t, client, false); !r.Unsettled || len(r.Differences) != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What one field shows by itself is told of an unsettled family too.
func TestVerifyOfABrokenFamilyUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	node := startNode(t, server.Client())
	fill(t, node, "acme", "acme/search", "acme/spare")
	largeFamily(t, server.Client())
	server.Client().HSet(t.Context(), key, "a/search", "1000 980 20 1", "h"+strings.Repeat("0", 32), "o1 x 0", "a/spare", "1000 979 21 0")
	client := server.Client()
	client.AddHook(&always{do: func(command string) {
		if command != "hmget" {
			return
		}
		if r, err := node.TryReserve(t.Context(), "acme", 1); err != nil || r.Err() != nil {
			t.Error(r, err)
		}
	}})
	r := verify(t, client, false)
	if !r.Unsettled || len(r.Differences) != 2 || r.Tenants != 3 || r.Differences[0].Tenant != "acme" || r.Differences[1].Tenant != "acme/search" {
		t.Errorf("%+v", r)
	}
	if r := verify(t, server.Client(), true); r.Unsettled || len(r.Differences) != 3 {
		t.Errorf("at once: %+v", r)
	}
}

// always does something before each command.
type always struct {
	before
	do func(command string)
}

func (h *always) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.do(cmd.Name())
		return next(ctx, cmd)
	}
}
