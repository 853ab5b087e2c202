package load

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// Bounds of a Spec. They keep a typing error from filling the machine.
const (
	MaxTenants   = 1_000_000
	MaxRequests  = int64(1_000_000_000_000) // more than an int of 32 bits holds
	MaxMaxOutput = 100_000_000
	MaxZipf      = 10
	MaxHoldTime  = 10 * time.Minute // the engine releases a hold after 15
	MaxOpenHolds = 100_000          // of an open loop with a hold time
	MaxRate      = 10_000_000
	MinSpeed     = 0.01
	MaxSpeed     = 1_000_000
)

// The workloads that are drawn from a seed. A trace is another.
const (
	Uniform = "uniform" // all tenants alike, with very different budgets
	Hot     = "hot"     // one tenant
	Zipf    = "zipf"    // some tenants much hotter than others
	Storm   = "storm"   // budgets for a few requests each, so that most are refused
)

// Spec says what is played: which requests, for how many tenants, and when.
type Spec struct {
	Workload string // one of the constants; a Trace stands for it
	Seed     uint64
	Tenants  int
	Requests int64   // of all callers, after which it ends; 0 is no bound
	Zipf     float64 // exponent of the workload Zipf
	Above    int     // requests of a thousand that commit above their hold

	HoldTime time.Duration // between a reserve and its settlement
	Rate     float64       // requests a second of all nodes at constant intervals; 0 is a closed loop
	Speed    float64       // of a Trace: 1 is its own pace, 0 as fast as possible

	Trace       string            // CSV file with the columns of TraceHeader, or StandardInput; "" draws requests from the seed
	Recording   *Recording        // what Read has read of Trace
	InputPrice  budget.Microcents // a million context tokens
	OutputPrice budget.Microcents // a million generated tokens
	MaxOutput   int64             // generated tokens that a request reserves
}

// Defaults is what is played where nothing else is asked for.
func Defaults() Spec {
	return Spec{
		Workload: Uniform, Seed: 1, Tenants: 100, Zipf: 1.1, Above: 10,
		InputPrice: 250 * budget.Cent, OutputPrice: 10 * budget.Dollar, MaxOutput: 4096,
	}
}

// Validate returns all that is wrong with a Spec, by the names of the bench's flags,
// with the exit code Usage.
func (s Spec) Validate() error {
	errs := []error{
		Within("tenants", int64(s.Tenants), 1, MaxTenants),
		Within("requests", s.Requests, 0, MaxRequests),
		Within("max-output", s.MaxOutput, 1, MaxMaxOutput),
	}
	if s.InputPrice < 0 || s.OutputPrice < 0 || s.InputPrice == 0 && s.OutputPrice == 0 {
		errs = append(errs, fmt.Errorf("prices of %s and %s: give at least one above $0.00, none below", s.InputPrice, s.OutputPrice))
	}
	errs = append(errs, s.validateWorkload(), s.validateArrivals())
	return exit.With(exit.Usage, errors.Join(errs...))
}

// Within says what is wrong with the value of a flag, if it is out of bounds.
func Within(flag string, value, lowest, highest int64) error {
	if value < lowest || value > highest {
		return fmt.Errorf("--%s %d: give %d to %d", flag, value, lowest, highest)
	}
	return nil
}

func (s Spec) validateWorkload() error {
	var errs []error
	if s.Workload == Hot && s.Tenants != 1 {
		errs = append(errs, fmt.Errorf("--workload hot is one tenant: leave out --tenants %d, or give --workload uniform", s.Tenants))
	}
	known := []string{Uniform, Hot, Zipf, Storm}
	if !slices.Contains(known, s.Workload) {
		errs = append(errs, fmt.Errorf("--workload %q: give %s", s.Workload, strings.Join(known, ", ")))
	}
	if !(s.Zipf > 0 && s.Zipf <= MaxZipf) {
		errs = append(errs, fmt.Errorf("--zipf %g: give an exponent above 0, at most %d", s.Zipf, MaxZipf))
	}
	if s.Above < 0 || s.Above > allParts {
		errs = append(errs, fmt.Errorf("--above %d: give 0 to %d requests of a thousand", s.Above, allParts))
	}
	if s.HoldTime < 0 || s.HoldTime > MaxHoldTime {
		errs = append(errs, fmt.Errorf("--hold-time %s: give 0s to %s", s.HoldTime, MaxHoldTime))
	}
	return errors.Join(errs...)
}

func (s Spec) validateArrivals() error {
	var errs []error
	if !(s.Rate >= 0 && s.Rate <= MaxRate) {
		errs = append(errs, fmt.Errorf("--rate %g: give requests a second above 0, at most %d", s.Rate, MaxRate))
	} else if s.HoldTime > 0 && s.Rate*s.HoldTime.Seconds() > MaxOpenHolds {
		errs = append(errs, fmt.Errorf("--rate %g with --hold-time %s: give less, so that at most %d holds are open together", s.Rate, s.HoldTime, MaxOpenHolds))
	}
	switch {
	case s.Speed != 0 && !(s.Speed >= MinSpeed && s.Speed <= MaxSpeed):
		errs = append(errs, fmt.Errorf("--speed %g: give 0 (as fast as possible), or %g to %d", s.Speed, MinSpeed, MaxSpeed))
	case s.Speed > 0 && s.Trace == "":
		errs = append(errs, fmt.Errorf("--speed %g is of a trace: give --trace, or --rate for a constant rate", s.Speed))
	case s.Speed > 0 && s.Rate > 0:
		errs = append(errs, errors.New("--speed and --rate are two arrival rates: leave out one"))
	}
	return errors.Join(errs...)
}
