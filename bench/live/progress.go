package live

import "time"

// Progress is what a live view shows of a run: how far it is, and what the last
// stretch of it came to.
type Progress struct {
	Phase     string        // for people: "warm-up", "round 2 of 5: incr"
	Elapsed   time.Duration // of the whole run
	Left      time.Duration // of the whole run; 0 where that is not known, as with a trace
	Rate      float64       // decisions a second, of the last stretch
	P99       float64       // µs, of the last stretch
	Decisions int64         // of the whole run, refusals included
	Refused   int64         // reserves refused, of the whole run
}
