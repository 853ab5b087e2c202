package lane

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// A queue holds calls by root tenant. Tenants take turns: each pop takes a call of the
// next tenant, so a tenant with thousands of calls delays another by one call. A tenant's
// calls keep their order of arrival.
type queue struct {
	tenants map[budget.TenantID]*tenantQueue
	// The tenants with calls, in the order of their turns.
	first, last *tenantQueue
	length      int
	spare       *tenantQueue // free list
}

// tenantQueue holds the calls of one root tenant. It is never empty while it is queued.
type tenantQueue struct {
	root        budget.TenantID
	first, last *Call
	length      int
	next        *tenantQueue
	filtered    time.Time // last removal of abandoned calls, when it was full
}

func (q *queue) tenant(root budget.TenantID) *tenantQueue {
	t := q.tenants[root]
	if t != nil {
		return t
	}
	if q.tenants == nil {
		q.tenants = make(map[budget.TenantID]*tenantQueue)
	}
	if t = q.spare; t == nil {
		t = new(tenantQueue)
	} else {
		q.spare = t.next
	}
	*t = tenantQueue{root: root}
	q.tenants[root] = t
	q.pushTenant(t)
	return t
}

func (q *queue) pushTenant(t *tenantQueue) {
	t.next = nil
	if q.last == nil {
		q.first = t
	} else {
		q.last.next = t
	}
	q.last = t
}

// lengthOf returns the number of a root tenant's queued calls.
func (q *queue) lengthOf(root budget.TenantID) int {
	if t := q.tenants[root]; t != nil {
		return t.length
	}
	return 0
}

// push adds a call behind those of its tenant.
func (q *queue) push(c *Call) {
	t := q.tenant(c.tenant.Root())
	c.next = nil
	if t.last == nil {
		t.first = c
	} else {
		t.last.next = c
	}
	t.last = c
	t.length++
	q.length++
}

// pushFront adds a call before those of its tenant.
func (q *queue) pushFront(c *Call) {
	t := q.tenant(c.tenant.Root())
	if c.next = t.first; t.last == nil {
		t.last = c
	}
	t.first = c
	t.length++
	q.length++
}

// peek returns the next call, or nil.
func (q *queue) peek() *Call {
	if q.first == nil {
		return nil
	}
	return q.first.first
}

// pop removes the call that peek returns.
func (q *queue) pop() *Call {
	t := q.first
	c := t.first
	t.first, c.next = c.next, nil
	t.length--
	q.length--
	if q.first = t.next; q.first == nil {
		q.last = nil
	}
	if t.first == nil {
		delete(q.tenants, t.root)
		*t = tenantQueue{next: q.spare}
		q.spare = t
		if q.length == 0 {
			q.shrink()
		}
	} else {
		q.pushTenant(t)
	}
	return c
}

// spareTenants bounds the free list of an empty queue.
const spareTenants = 256

// shrink frees the memory that a burst of tenants has left.
func (q *queue) shrink() {
	n := 0
	for t := q.spare; t != nil; t = t.next {
		if n++; n == spareTenants {
			t.next = nil
			q.tenants = nil
		}
	}
}

// filter removes a root tenant's calls for which keep returns false.
func (q *queue) filter(root budget.TenantID, keep func(*Call) bool) {
	t := q.tenants[root]
	if t == nil {
		return
	}
	var first, last *Call
	length := 0
	for c := t.first; c != nil; {
		next := c.next
		c.next = nil
		if keep(c) {
			if last == nil {
				first = c
			} else {
				last.next = c
			}
			last = c
			length++
		}
		c = next
	}
	q.length -= t.length - length
	t.first, t.last, t.length = first, last, length
	if length == 0 {
		q.removeTenant(t)
	}
}

func (q *queue) removeTenant(t *tenantQueue) {
	delete(q.tenants, t.root)
	var before *tenantQueue
	for other := q.first; other != t; other = other.next {
		before = other
	}
	if before == nil {
		q.first = t.next
	} else {
		before.next = t.next
	}
	if q.last == t {
		q.last = before
	}
}

// each calls do with every call, by tenant, and removes those for which it returns true.
func (q *queue) each(do func(*Call) (remove bool)) {
	var roots []budget.TenantID
	for t := q.first; t != nil; t = t.next {
		roots = append(roots, t.root)
	}
	for _, root := range roots {
		q.filter(root, func(c *Call) bool { return !do(c) })
	}
}
