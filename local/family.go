package local

import (
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// family is the state that a root and the accounts below it share. An account is locked
// after its ancestors. Tree also locks members that are not ancestors of each other, in the
// order of their places. Ancestors have lower places, so all goroutines lock in one order,
// and never wait for each other in a circle.
type family struct {
	root *account

	// shape is odd while an account of the family is being created or deleted, and changes
	// with each. An operation that finds it even and the same before and after it has locked
	// the existing levels of a tenant knows that no other level exists.
	shape atomic.Uint64

	// members has all accounts but the root, and changes only while the root is locked. One
	// joins before it makes a hold, so a goroutine that has locked an account finds all
	// members with holds that the account counts.
	members atomic.Pointer[[]*account]
	// earliest has each member's due, which is a lower bound of the deadlines in its slots.
	// The root's lock guards it.
	earliest bounds
}

// join makes the account a member of its parent's family. The caller holds the mutex of
// accounts.
func (a *account) join() {
	root := a.parent
	if root.parent != nil {
		root = root.family.root
	}
	remaining := root.open()
	if root.family == nil {
		root.family = &family{root: root}
		root.family.members.Store(new([]*account))
	}
	f := root.family
	members := *f.members.Load()
	a.family, a.place = f, uint32(len(members)) //nolint:gosec // at most the number of accounts
	members = append(members, a)
	f.members.Store(&members)
	f.earliest.add()
	root.close(remaining)
}

// reshape begins a change of shape and returns the function that ends it.
func (f *family) reshape() (done func()) {
	if f == nil {
		return func() {}
	}
	f.shape.Add(1)
	return func() { f.shape.Add(1) }
}

// expire ends the holds of the members that are due by now, and returns what then remains at
// the root, which must be locked.
func (f *family) expire(now int64, atRoot budget.Microcents) budget.Microcents {
	f.earliest.visit(now, func(i int) int64 {
		m := (*f.members.Load())[i]
		depth := m.depth()
		var p path
		p.open(m, setMask&^(1<<depth))
		p.levels[depth], p.remaining[depth], p.n = f.root, atRoot, depth+1
		p.expire(now)
		atRoot, p.n = p.remaining[depth], depth // the root stays locked
		m.due = m.holds.earliest.least()
		p.close()
		return m.due
	})
	return atRoot
}

// visitBelow calls visit for each account below, while it is locked, with a level set that has only
// the bit of this account. The account must be locked, so none of the holds that it counts changes
// meanwhile.
func (a *account) visitBelow(visit func(m *account, levels uint64)) {
	if a.family == nil {
		return
	}
	for _, m := range *a.family.members.Load() {
		if distance := m.below(a); distance > 0 {
			of := m.open()
			visit(m, 1<<distance)
			m.close(of)
		}
	}
}

// depth returns the number of the account's ancestors.
func (a *account) depth() (n int) {
	for ; a.parent != nil; a = a.parent {
		n++
	}
	return n
}

// below returns the distance from the account up to an ancestor of it, or 0.
func (a *account) below(ancestor *account) int {
	for k, l := 0, a; l != nil; k, l = k+1, l.parent {
		if l == ancestor {
			return k
		}
	}
	return 0
}
