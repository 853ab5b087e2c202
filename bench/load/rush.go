package load

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

// Rush is a workload of one part, in which all callers ask for the same tenant at once,
// then for the next. Costs are what was held, so that nothing comes back.
type Rush struct {
	Tenants  int
	Callers  int
	Requests int // at least so many are made of each tenant
	Hold     budget.Microcents
}

// Part is the only one, whichever is asked for.
func (r Rush) Part(int, int) Part { return r }

// Typical is what each request holds.
func (r Rush) Typical() budget.Microcents { return r.Hold }

// Which is the only turn.
func (r Rush) Which() Turn { return Turn{0, 1} }

// Source is the same for every caller.
func (r Rush) Source(int) Source { return &rushSource{Rush: r} }

// Offset is of an open loop, which a rush is not.
func (r Rush) Offset(int) (time.Duration, bool) { return 0, true }

type rushSource struct {
	Rush
	played int
}

// Next has everybody ask for the tenants in the same order.
func (s *rushSource) Next(_ uint64, r *Request) bool {
	each := (s.Requests + s.Callers - 1) / s.Callers
	tenant := s.played / each
	s.played++
	*r = Request{Tenant: tenant, Hold: s.Hold, Cost: s.Hold}
	return tenant < s.Tenants
}
