package load

import (
	"math"
	"sort"
	"time"
)

// Arrivals say when the requests of an open loop are due. The zero value is a closed
// loop: nothing is due.
type Arrivals struct {
	rate  float64       // requests a second at constant intervals; 0 with a speed
	speed float64       // of a trace's own times
	first time.Duration // when the first of a constant rate is due
}

// Arrivals of a Spec are those of all nodes together.
func (s Spec) Arrivals() Arrivals { return Arrivals{rate: s.Rate, speed: s.Speed} }

// Open is false of a closed loop, in which requests follow each other.
func (a Arrivals) Open() bool { return a.rate > 0 || a.speed > 0 }

// Share is the part of one node in a fleet of processes: every so many requests, from
// its own on.
func (a Arrivals) Share(node, nodes int) Arrivals {
	if a.rate > 0 {
		a.first = time.Duration(float64(node) / a.rate * float64(time.Second))
		a.rate /= float64(nodes)
	}
	return a
}

// Due is when a request is due, since the part began; false where there is none.
func (a Arrivals) Due(work Part, number int) (time.Duration, bool) {
	offset, exists := work.Offset(number)
	if a.rate > 0 {
		offset = a.first + time.Duration(float64(number)/a.rate*float64(time.Second))
	} else {
		offset = atSpeed(offset, a.speed)
	}
	return offset, exists
}

// atSpeed is at most the longest duration: at a low speed, centuries are more.
func atSpeed(offset time.Duration, speed float64) time.Duration {
	slowed := float64(offset) / speed
	if slowed >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(slowed)
}

// Until counts the requests that are due by then.
func (a Arrivals) Until(work Part, end time.Duration) int64 {
	most := math.MaxInt32 // rows of a trace
	if a.rate > 0 {
		most = int(min(end.Seconds()*a.rate, math.MaxInt-1)) + 1
	}
	return int64(sort.Search(most, func(i int) bool {
		offset, exists := a.Due(work, i)
		return !exists || offset > end
	}))
}
