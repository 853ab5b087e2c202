package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// takePlace finds the arena's place among the keys of its Redis: a prefix that nobody
// else has. Others may begin to use the user's prefix at any time, and a partition's
// keys have no mark of whose tenants are in it; so under the user's prefix, too, the
// arena has a random one of its own.
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
			return exit.With(exit.Usage, fmt.Errorf("--prefix %s holds keys already, %q for one: give another, or --share-prefix to leave them alone and use keys of its own", c.Prefix, key))
		}
	}
	a.prefix = a.space.PrefixUnder(c.Prefix)
	return nil
}

func tenantNames(count int) []budget.TenantID {
	names := make([]budget.TenantID, count)
	width := len(fmt.Sprint(count - 1))
	for i := range names {
		digits := fmt.Sprint(i)
		names[i] = budget.TenantID("tenant-" + strings.Repeat("0", width-len(digits)) + digits)
	}
	return names
}
