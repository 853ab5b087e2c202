package bench

import "sync/atomic"

// limited is a workload that ends after so many requests of all callers, unless it
// ends by itself before.
type limited struct {
	workload
	requests int64
}

func (l limited) part(round, rounds int) part {
	of := int64(rounds)
	last := l.requests * int64(round+1) / of
	p := &limitedPart{part: l.workload.part(round, rounds)}
	p.left.Store(last - l.requests*int64(round)/of)
	return p
}

type limitedPart struct {
	part
	left atomic.Int64
}

func (p *limitedPart) source(caller int) source {
	return &limitedSource{p.part.source(caller), &p.left}
}

type limitedSource struct {
	source
	left *atomic.Int64
}

func (s *limitedSource) next(r *request) bool { return s.left.Add(-1) >= 0 && s.source.next(r) }
