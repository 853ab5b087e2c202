package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/calybris/bursar/bench/fleet"
	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// takePlace finds the arena's place among the keys of its Redis: a prefix that nobody
// else has, or the user's. Others may begin to use the user's at any time, so there
// each tenant's name, and with it each key, has a mark that tells it from theirs.
func (a *arena) takePlace(ctx context.Context, c Config) error {
	if c.Prefix == "" {
		a.prefix = a.space.Prefix("bench")
		return nil
	}
	if !c.SharePrefix {
		switch key, err := a.space.KeyUnder(ctx, c.Prefix); {
		case err != nil:
			return err
		case key != "":
			return exit.With(exit.Usage, fmt.Errorf("--prefix %s holds keys already, %q for one: give another, or --share-prefix to leave them alone and use tenants of its own", c.Prefix, key))
		}
	}
	a.prefix, a.mark = c.Prefix, a.space.Mark(c.Prefix)
	return nil
}

func tenantNames(count int, mark string) []budget.TenantID {
	if mark != "" {
		mark = "-" + mark
	}
	names := make([]budget.TenantID, count)
	width := len(fmt.Sprint(count - 1))
	for i := range names {
		digits := fmt.Sprint(i)
		names[i] = budget.TenantID("tenant-" + strings.Repeat("0", width-len(digits)) + digits + mark)
	}
	return names
}

// readRedis returns all accounts under a prefix of our own, and of a prefix that
// others may use those of our tenants. It asks Redis itself, over a connection of
// its own.
func (a *arena) readRedis(ctx context.Context, f field) (map[budget.TenantID]budget.HoldList, error) {
	client := a.space.Client()
	if a.mark == "" {
		return books.Read(ctx, client, f.prefix)
	}
	var mu sync.Mutex
	all := make(map[budget.TenantID]budget.HoldList, len(f.tenants))
	err := fleet.ForEach(ctx, len(f.tenants), func(i int) error {
		family, err := books.ReadFamily(ctx, client, f.prefix, f.tenants[i])
		mu.Lock()
		defer mu.Unlock()
		for tenant, account := range family {
			all[tenant] = account
		}
		return err
	})
	return all, err
}
