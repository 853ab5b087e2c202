package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
)

// String says in a line what was played, for people.
func (w Workload) String() string {
	parts := []string{w.Name}
	add := func(told bool, format string, args ...any) {
		if told {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(w.ZipfExponent > 0, "exponent %g", w.ZipfExponent)
	add(w.Arrivals == "closed", "closed loop")
	add(w.Arrivals == "open", "open loop of %s requests/s", perSecondText(w.Offered))
	add(w.Speed == 1, "as fast as it was recorded")
	add(w.Speed > 0 && w.Speed != 1, "%g times as fast as it was recorded", w.Speed)
	add(w.LatencyFrom == "intended start", "latencies from the intended start")
	add(w.AbovePermille > 0, "%d ‰ commit above their hold", w.AbovePermille)
	add(w.HoldMillis > 0, "holds kept %s", time.Duration(w.HoldMillis*float64(time.Millisecond)))
	add(w.WarmupSeconds > 0, "warm-up %s", time.Duration(w.WarmupSeconds*float64(time.Second)))
	add(w.Unsent > 0, "%s %s unsent when the end came", Count(w.Unsent), wording.Noun(w.Unsent, "request"))
	return strings.Join(parts, ", ")
}

// achieved is how many requests a second had an answer to their reserve. Of an open
// loop that keeps up it is what was offered.
func (r Report) achieved() float64 {
	if r.Seconds == 0 {
		return 0
	}
	return float64(r.Outcomes[budget.Reserved.String()]+r.Outcomes[budget.Insufficient.String()]) / r.Seconds
}
