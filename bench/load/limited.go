package load

import (
	"sync/atomic"
	"time"
)

// limited is a workload that ends after so many requests of all callers, unless it
// ends by itself before.
type limited struct {
	Workload
	requests int64
}

// Part has its share of the count.
func (l limited) Part(round, rounds int) Part {
	p := &limitedPart{Part: l.Workload.Part(round, rounds), count: shareOf(l.requests, round, rounds)}
	p.left.Store(p.count)
	return p
}

type limitedPart struct {
	Part
	count int64
	left  atomic.Int64
}

// Source ends with the part's count, whichever caller used it up.
func (p *limitedPart) Source(caller int) Source {
	return &limitedSource{p.Part.Source(caller), &p.left}
}

// Offset is false beyond the count.
func (p *limitedPart) Offset(number int) (time.Duration, bool) {
	offset, exists := p.Part.Offset(number)
	return offset, exists && int64(number) < p.count
}

type limitedSource struct {
	Source
	left *atomic.Int64
}

// Next counts, and ends with the count.
func (s *limitedSource) Next(number uint64, r *Request) bool {
	return s.left.Add(-1) >= 0 && s.Source.Next(number, r)
}
