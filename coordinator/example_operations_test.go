package coordinator_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/budgettest"
	"github.com/calybris/bursar/coordinator/redistest"
)

// rightsInManual returns the rules of the user that OPERATIONS.md gives to a node.
func rightsInManual(t *testing.T) []string {
	t.Helper()
	manual, err := os.ReadFile("OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(manual)) {
		if rules, found := strings.CutPrefix(line, "user bursar on >SECRET "); found {
			return strings.Fields(rules)
		}
	}
	t.Fatal("OPERATIONS.md has no line that begins with user bursar on >SECRET")
	return nil
}

// useAllFeatures uses every feature of a node, so that the node sends each of its commands.
func useAllFeatures(t *testing.T, client redis.UniversalClient, tenant budget.TenantID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	node, err := coordinator.New(ctx, client, coordinator.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	must := func(what string, want, got budget.Outcome, err error) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", what, got, err, want)
		}
	}
	e, err := node.EnsureTenant(ctx, tenant, budget.Dollar)
	must("EnsureTenant", budget.Created, e.Outcome, err)
	due, err := node.TryReserve(ctx, tenant, budget.Cent, budget.WithHoldTTL(time.Millisecond))
	must("TryReserve", budget.Reserved, due.Outcome, err)
	time.Sleep(5 * time.Millisecond) // past its deadline, by Redis' clock
	fate, err := node.Lookup(ctx, due.ID)
	must("Lookup", budget.Expired, fate.Outcome, err)
	s, err := node.Do(ctx, tenant, budget.Cent, func(context.Context) (budget.Microcents, error) { return 1, nil })
	must("Do", budget.Committed, s.Outcome, err)
	h, err := node.Holds(ctx, tenant)
	must("Holds", budget.Found, h.Outcome, err)
	d, err := node.DeleteTenant(ctx, tenant)
	must("DeleteTenant", budget.Deleted, d.Outcome, err)
	if err := node.Close(ctx); err != nil {
		t.Error(err)
	}
}

// The user of OPERATIONS.md has every right that a node needs.
func TestRightsInTheManualAreEnough(t *testing.T) {
	t.Parallel()
	rules := rightsInManual(t)
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.WithUser("bursar", "secret", rules...))
		useAllFeatures(t, asBursar(t, server), "acme")
		nothingRefused(t, server)
	})
	t.Run("every option of a connection", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, redistest.WithUser("bursar", "secret", rules...))
		opts := server.Options()
		opts.Username, opts.Password, opts.DB, opts.ClientName, opts.IdentitySuffix = "bursar", "secret", 3, "node-1", "bursar"
		for _, protocol := range []int{2, 3} {
			opts.Protocol = protocol
			client := redis.NewClient(opts)
			t.Cleanup(func() { client.Close() })
			useAllFeatures(t, client, budget.TenantID(fmt.Sprintf("acme-%d", protocol)))
		}
		nothingRefused(t, server)
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		rules := append(slices.Clone(rules), "+cluster|slots")
		cluster := redistest.StartCluster(t, redistest.WithUser("bursar", "secret", rules...))
		opts := cluster.Options()
		opts.Username, opts.Password = "bursar", "secret"
		client := redis.NewClusterClient(opts)
		t.Cleanup(func() { client.Close() })
		for _, tenant := range []budget.TenantID{"acme", "globex", "initech"} {
			useAllFeatures(t, client, tenant)
		}
		nothingRefused(t, cluster.Masters()...)
	})
	t.Run("suite", func(t *testing.T) {
		t.Parallel()
		rules := append(slices.Clone(rules), "~suite-*", "+hlen", "+zcard", "+exists") // the suite reads as bursar verify does
		server := redistest.Start(t, redistest.WithUser("bursar", "secret", rules...))
		budgettest.Run(t, on(asBursar(t, server)))
	})
}

// nothingRefused checks that the servers' ACL logs are empty.
func nothingRefused(t *testing.T, servers ...*redistest.Server) {
	t.Helper()
	for _, server := range servers {
		refused, err := server.Client().Do(t.Context(), "ACL", "LOG").Slice()
		if err != nil || len(refused) > 0 {
			t.Errorf("Redis refused commands: %v, %v", refused, err)
		}
	}
}

func asBursar(t *testing.T, server *redistest.Server) *redis.Client {
	t.Helper()
	opts := server.Options()
	opts.Username, opts.Password = "bursar", "secret"
	client := redis.NewClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}
