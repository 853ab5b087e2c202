package bench

import (
	"sync/atomic"
	"time"
)

// limited is a workload that ends after so many requests of all callers, unless it
// ends by itself before.
type limited struct {
	workload
	requests int64
}

func (l limited) part(round, rounds int) part {
	p := &limitedPart{part: l.workload.part(round, rounds), count: shareOf(l.requests, round, rounds)}
	p.left.Store(p.count)
	return p
}

type limitedPart struct {
	part
	count int64
	left  atomic.Int64
}

func (p *limitedPart) source(caller int) source {
	return &limitedSource{p.part.source(caller), &p.left}
}

type limitedSource struct {
	source
	left *atomic.Int64
}

func (p *limitedPart) offset(number int) (time.Duration, bool) {
	offset, exists := p.part.offset(number)
	return offset, exists && int64(number) < p.count
}

func (s *limitedSource) next(number uint64, r *request) bool {
	return s.left.Add(-1) >= 0 && s.source.next(number, r)
}
