package local

import (
	"context"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// Tree returns the accounts of a tenant and of all tenants below it with their balances:
// MissingTenant if there are none; Found. Up to 1,000 accounts are read at one instant,
// while other operations on them wait; see [budget.Tree].
func (e *Engine) Tree(_ context.Context, tenant budget.TenantID) (budget.Tree, error) {
	a, err := e.account(tenant)
	if err != nil {
		return budget.Tree{}, err
	}
	if a == nil {
		return budget.Tree{Outcome: budget.MissingTenant}, nil
	}
	tree := a.tree()
	if len(tree.Accounts) == 0 {
		return budget.Tree{Outcome: budget.MissingTenant}, nil
	}
	tree.Outcome = budget.Found
	slices.SortFunc(tree.Accounts, func(a, b budget.Account) int { return a.Tenant.Compare(b.Tenant) })
	return tree, nil
}

// tree reads the account and those below it. While the root is locked, no account joins the
// family; the members are locked in the order of their places, in which each follows its
// ancestors. Once all are locked, none of them changes, and none is created or deleted.
func (a *account) tree() (tree budget.Tree) {
	root := a
	if a.parent != nil {
		root = a.family.root
	}
	add := func(m *account, remaining budget.Microcents) {
		if b := m.balance(remaining); b.Outcome == budget.Found {
			tree.Accounts = append(tree.Accounts, budget.Account{Tenant: m.tenant, Balance: b})
		}
	}
	atRoot := root.open()
	members := a.withMembersBelow()
	if len(members) > budget.MaxTreeInstant {
		root.close(atRoot)
		for _, m := range members {
			remaining := m.openCurrent()
			add(m, remaining)
			m.close(remaining)
		}
		return tree
	}
	remaining := make([]budget.Microcents, len(members))
	for i, m := range members {
		if m == root {
			atRoot = root.roll(atRoot, root.time())
			remaining[i] = atRoot
		} else {
			remaining[i] = m.openCurrent()
		}
	}
	tree.Instant = true
	for i, m := range members {
		add(m, remaining[i])
		if m != root {
			m.close(remaining[i])
		}
	}
	root.close(atRoot)
	return tree
}

// withMembersBelow returns the account and all members of its family below it, each after
// its ancestors. The root must be locked.
func (a *account) withMembersBelow() []*account {
	members := []*account{a}
	if a.family == nil {
		return members
	}
	for _, m := range *a.family.members.Load() {
		if m.below(a) > 0 {
			members = append(members, m)
		}
	}
	return members
}
