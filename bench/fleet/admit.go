package fleet

import (
	"time"

	"github.com/calybris/bursar/bench/load"
)

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
func (s *stint) admit(work load.Part) {
	defer close(s.tickets)
	for number := 0; ; number++ {
		offset, exists := s.arrivals.Due(work, number)
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
