package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/wording"
)

// Count writes an integer with commas between the thousands.
func Count[N int | int64 | float64](n N) string {
	digits := strconv.FormatInt(int64(math.Round(float64(n))), 10)
	var b strings.Builder
	for i, digit := range digits {
		if left := len(digits) - i; i > 0 && left%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// perSecondText writes a rate, below 100 with a fraction.
func perSecondText(rate float64) string {
	if rate < 99.5 {
		return significant(rate)
	}
	return Count(rate)
}

// significant writes up to three significant digits.
func significant(value float64) string { return rounded(value, 3) }

func rounded(value float64, digits int) string {
	if value == 0 {
		return "0"
	}
	decimals := max(digits-1-int(math.Floor(math.Log10(math.Abs(value)))), 0)
	text := strconv.FormatFloat(value, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// units of time in microseconds, the largest first.
var units = []struct {
	name   string
	micros float64
}{{"s", 1e6}, {"ms", 1e3}, {"µs", 1}, {"ns", 1e-3}}

// Micros writes a latency in microseconds with three digits and the unit that suits it.
func Micros(value float64) string {
	if value <= 0 {
		return "0"
	}
	for _, unit := range units {
		if value >= unit.micros*0.9995 { // what rounds up to one of the unit is one
			return significant(value/unit.micros) + " " + unit.name
		}
	}
	return significant(value*1e3) + " ns"
}

// Short writes a count with three digits: 20k, 1.5M.
func Short(value float64) string {
	switch {
	case math.Abs(value) >= 1e6:
		return significant(value/1e6) + "M"
	case math.Abs(value) >= 1e4:
		return significant(value/1e3) + "k"
	default:
		return significant(value)
	}
}

// String describes the workload in one line.
func (w Workload) String() string {
	parts := []string{w.Name}
	add := func(applies bool, format string, args ...any) {
		if applies {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(w.ZipfExponent > 0, "exponent %g", w.ZipfExponent)
	add(w.Arrivals == "closed", "closed loop")
	add(w.Arrivals == "open", "open loop of %s requests/s", perSecondText(w.Offered))
	add(w.Speed == 1, "at its original speed")
	add(w.Speed > 0 && w.Speed != 1, "at %g times its original speed", w.Speed)
	add(w.LatencyFrom == "intended start", "latencies from the time at which a call was due")
	add(w.AbovePermille > 0, "%s%% commit above their hold", significant(float64(w.AbovePermille)/10))
	add(w.HoldMillis > 0, "holds kept %s", time.Duration(w.HoldMillis*float64(time.Millisecond)))
	add(w.WarmupSeconds > 0, "warm-up %s", time.Duration(w.WarmupSeconds*float64(time.Second)))
	add(w.Unsent > 0, "%s %s due and not sent by the end", Count(w.Unsent), wording.Noun(w.Unsent, "request"))
	return strings.Join(parts, ", ")
}

// achieved is the number of answered reserves per second.
func (r Report) achieved() float64 {
	if r.Seconds == 0 {
		return 0
	}
	return float64(r.Outcomes[budget.Reserved.String()]+r.Outcomes[budget.Insufficient.String()]) / r.Seconds
}

// String describes the windows in one line.
func (w Windows) String() string {
	text := fmt.Sprintf("hours, by a clock that skips to the next one every %g s; all that remains passes on; epochs begun: %d", w.EverySeconds, w.Epochs)
	if w.Boundaries > 0 && w.Others > 0 {
		text += fmt.Sprintf("; median p99 of the seconds with a boundary (%d): %s (at most %s), of the others: %s",
			w.Boundaries, latency(w.P99), latency(w.Highest), latency(w.Others))
	}
	return text
}
