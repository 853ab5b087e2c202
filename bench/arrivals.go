package bench

import (
	"math"
	"sort"
	"time"
)

// arrivals say when the requests of an open loop are due. The zero value is a closed
// loop: nothing is due.
type arrivals struct {
	rate  float64       // requests a second at constant intervals; 0 with a speed
	speed float64       // of a trace's own times
	first time.Duration // when the first of a constant rate is due
}

func (c Config) arrivals() arrivals { return arrivals{rate: c.Rate, speed: c.Speed} }

func (a arrivals) open() bool { return a.rate > 0 || a.speed > 0 }

// share is the part of one node in a fleet of processes: every so many requests, from
// its own on.
func (a arrivals) share(node, nodes int) arrivals {
	if a.rate > 0 {
		a.first = time.Duration(float64(node) / a.rate * float64(time.Second))
		a.rate /= float64(nodes)
	}
	return a
}

// due is when a request is due, since the part began; false where there is none.
func (a arrivals) due(work part, number int) (time.Duration, bool) {
	offset, exists := work.offset(number)
	if a.rate > 0 {
		offset = a.first + time.Duration(float64(number)/a.rate*float64(time.Second))
	} else {
		offset = time.Duration(float64(offset) / a.speed)
	}
	return offset, exists
}

// until counts the requests that are due by then.
func (a arrivals) until(work part, end time.Duration) int64 {
	most := math.MaxInt32 // rows of a trace
	if a.rate > 0 {
		most = int(end.Seconds()*a.rate) + 1
	}
	return int64(sort.Search(most, func(i int) bool {
		offset, exists := a.due(work, i)
		return !exists || offset > end
	}))
}

// ticket admits one request.
type ticket struct {
	number uint64
	at     time.Time
}

// shortestSleep keeps an alarm for each of very many requests a second from taking the
// callers' time: what is due meanwhile is handed out together.
const shortestSleep = 20 * time.Microsecond

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// admit hands out tickets as requests become due, to whoever is free. Nothing is
// dropped: where nobody is free the ticket waits, and so do those after it.
func (s *stint) admit(work part) {
	defer close(s.tickets)
	for number := 0; ; number++ {
		offset, exists := s.arrivals.due(work, number)
		if !exists {
			return
		}
		due := ticket{number: uint64(number), at: s.start.Add(offset)}
		if time.Until(due.at) > 0 && !s.arriving.sleepUntil(later(due.at, time.Now().Add(shortestSleep))) {
			return
		}
		select {
		case s.tickets <- due:
		case <-s.ended:
			return
		}
	}
}
