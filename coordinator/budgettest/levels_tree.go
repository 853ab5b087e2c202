package budgettest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/calybris/bursar/coordinator/budget"
)

// treeOf expects the accounts of a tenant's tree, at one instant, with their balances.
func (x *fixture) treeOf(tenant budget.TenantID, want ...budget.TenantID) {
	x.t.Helper()
	tree, err := x.engine.(levelled).Tree(x.ctx, tenant)
	if err != nil || tree.Outcome != budget.Found || !tree.Instant || len(tree.Accounts) != len(want) {
		x.t.Fatalf("the tree of %q is %+v, %v; want %q at one instant", tenant, tree, err, want)
	}
	for i, a := range tree.Accounts {
		if b, err := x.engine.Balance(x.ctx, want[i]); err != nil || a.Tenant != want[i] || a.Balance != b {
			x.t.Errorf("account %d of the tree of %q is %+v; want %q with %+v, %v", i, tenant, a, want[i], b, err)
		}
	}
}

func levelsTree(x *fixture) {
	none := func(tenant budget.TenantID) {
		x.t.Helper()
		tree, err := x.engine.(levelled).Tree(x.ctx, tenant)
		if err != nil || tree.Outcome != budget.MissingTenant || len(tree.Accounts) > 0 {
			x.t.Errorf("the tree of %q, which has no accounts: %+v, %v", tenant, tree, err)
		}
	}
	none(root)
	x.open("acme-2", 1)
	none(root)
	x.open(leaf, 100)
	x.treeOf(root, leaf) // although the tenant itself has no account
	x.treeOf(leaf, leaf)
	none(twin)
	none(leaf + "/deeper")
	x.open(root, 100)
	x.open(middle, 50)
	x.open("acme/search-2", 20)
	x.open(aside, 30)
	x.open(`acme/search/*[^a]\?`, 5)
	x.holdAt(leaf, 10, 40, middle)
	x.holdAt(aside, 5, 25, aside)
	x.treeOf(root, root, aside, middle, `acme/search/*[^a]\?`, leaf, "acme/search-2")
	x.treeOf(middle, middle, `acme/search/*[^a]\?`, leaf)
	x.treeOf(`acme/search/*[^a]\?`, `acme/search/*[^a]\?`)
	x.clock.advance(holdTTL) // the holds of every account end with those of the tenant
	x.treeOf(root, root, aside, middle, `acme/search/*[^a]\?`, leaf, "acme/search-2")
	b, err := x.delete(aside)
	if err != nil || b.Outcome != budget.Deleted {
		x.t.Errorf("delete: %+v, %v", b, err)
	}
	x.treeOf(root, root, middle, `acme/search/*[^a]\?`, leaf, "acme/search-2")
	if tree, err := x.engine.(levelled).Tree(x.ctx, "acme//a"); !errors.Is(err, budget.ErrInvalidTenant) {
		x.t.Errorf("the tree of no tenant: %+v, %v", tree, err)
	}
}

// levelsTreeInstant reads trees while holds are made and settled at all levels, and accounts
// are created and deleted aside: what the root has reserved is always what its two groups
// have, and so on downwards.
func levelsTreeInstant(x *fixture) {
	const each = 40
	groups := []budget.TenantID{middle, aside}
	x.open(root, 1000)
	var leaves []budget.TenantID
	for _, group := range groups {
		x.open(group, 1000)
		for i := range 4 {
			leaves = append(leaves, budget.TenantID(fmt.Sprintf("%s/key-%d", group, i)))
			x.open(leaves[len(leaves)-1], 1000)
		}
	}
	stop := make(chan struct{})
	var observer sync.WaitGroup
	instants := 0
	observer.Go(func() {
		for done := false; !done; {
			select {
			case <-stop:
				done = true
			default:
			}
			tree, err := x.engine.(levelled).Tree(x.ctx, root)
			if x.failed("tree", err) {
				return
			}
			if tree.Instant {
				instants++
				x.sameBelow(tree)
			}
		}
	})
	atOnce(len(leaves), func(caller int) {
		for i := range each {
			res, err := x.engine.TryReserve(x.ctx, leaves[caller], 2)
			if x.failed("reserve", err) || res.Outcome != budget.Reserved {
				return
			}
			if i%2 == 0 {
				_, err = x.engine.Commit(x.ctx, res.ID, 1)
			} else {
				_, err = x.engine.Release(x.ctx, res.ID)
			}
			x.failed("settle", err)
			if i%8 == caller {
				other := budget.TenantID(fmt.Sprintf("%s/other-%d", root, caller))
				_, err = x.engine.EnsureTenant(x.ctx, other, 1)
				x.failed("ensure", err)
				_, err = x.engine.(levelled).DeleteTenant(x.ctx, other)
				x.failed("delete", err)
			}
		}
	})
	close(stop)
	observer.Wait()
	if instants == 0 {
		x.t.Error("no tree was of one instant")
	}
}

// sameBelow expects each account above others to have reserved and committed as much as
// those together: all holds are made below.
func (x *fixture) sameBelow(tree budget.Tree) {
	below := make(map[budget.TenantID]budget.Balance)
	for _, a := range tree.Accounts {
		sum := below[a.Tenant.Parent()]
		sum.Reserved += a.Balance.Reserved
		sum.Committed += a.Balance.Committed
		below[a.Tenant.Parent()] = sum
	}
	for _, a := range tree.Accounts {
		if sum, above := below[a.Tenant]; above && (sum.Reserved != a.Balance.Reserved || sum.Committed != a.Balance.Committed) {
			x.t.Errorf("%q has %+v, and the accounts below it %+v", a.Tenant, a.Balance, sum)
		}
	}
}
