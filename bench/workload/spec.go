package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// Bounds of a Spec, so that a typing error does not fill the machine.
const (
	MaxTenants   = 1_000_000
	MaxRequests  = int64(1_000_000_000_000)
	MaxMaxOutput = 100_000_000
	MaxZipf      = 10
	MaxHoldTime  = 10 * time.Minute // the engine releases a hold after 15
	MaxOpenHolds = 100_000          // of an open loop with a hold time
	MaxRate      = 10_000_000
	MinSpeed     = 0.01
	MaxSpeed     = 1_000_000
)

// The workloads that are synthetic from a seed. A trace is another.
const (
	Uniform = "uniform" // equal tenants with very different budgets
	Hot     = "hot"     // one tenant
	Zipf    = "zipf"    // few tenants get most requests
	Storm   = "storm"   // budgets for a few requests, so that most are refused
)

// Spec describes a workload: which requests, for how many tenants, and when.
type Spec struct {
	Workload string // one of the constants, unless there is a Trace
	Seed     uint64
	Tenants  int
	Requests int64   // of all workers; 0 is unlimited
	Zipf     float64 // exponent of the workload Zipf
	Above    int     // of 1000 requests, those that commit more than their hold

	HoldTime time.Duration // between a reserve and its settlement
	Rate     float64       // requests per second of all nodes; 0 is a closed loop
	Speed    float64       // of a Trace: 1 is the original, 0 as fast as possible

	Trace       string            // CSV file with the columns of TraceHeader, or StandardInput; "" is synthetic
	Recording   *Recording        // of the Trace, set by Read
	InputPrice  budget.Microcents // per million context tokens
	OutputPrice budget.Microcents // per million generated tokens
	MaxOutput   int64             // generated tokens reserved per request
}

// Defaults returns the Spec of bench without flags.
func Defaults() Spec {
	return Spec{
		Workload: Uniform, Seed: 1, Tenants: 100, Zipf: 1.1, Above: 10,
		InputPrice: 250 * budget.Cent, OutputPrice: 10 * budget.Dollar, MaxOutput: 4096,
	}
}

// Validate returns every error of a Spec, with the names of the flags and exit code Usage.
func (s Spec) Validate() error {
	return exit.With(exit.Usage, errors.Join(
		Within("tenants", int64(s.Tenants), 1, MaxTenants),
		Within("requests", s.Requests, 0, MaxRequests),
		Within("max-output", s.MaxOutput, 1, MaxMaxOutput),
		Require(min(s.InputPrice, s.OutputPrice) >= 0 && max(s.InputPrice, s.OutputPrice) > 0,
			"prices of %s and %s: give at least one above $0.00, none below", s.InputPrice, s.OutputPrice),
		s.validateWorkload(), s.validateArrivals()))
}

// Require returns an error unless a condition holds.
func Require(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// Within returns an error if the value of a flag is out of bounds.
func Within(flag string, value, lowest, highest int64) error {
	return Require(value >= lowest && value <= highest, "--%s %d: give %d to %d", flag, value, lowest, highest)
}

func (s Spec) validateWorkload() error {
	known := []string{Uniform, Hot, Zipf, Storm}
	return errors.Join(
		Require(s.Workload != Hot || s.Tenants == 1,
			"--workload hot is one tenant: leave out --tenants %d, or give --workload uniform", s.Tenants),
		Require(slices.Contains(known, s.Workload), "--workload %q: give %s", s.Workload, strings.Join(known, ", ")),
		Require(s.Zipf > 0 && s.Zipf <= MaxZipf, "--zipf %g: give an exponent above 0, at most %d", s.Zipf, MaxZipf),
		Require(s.Above >= 0 && s.Above <= permille,
			"--overrun-permille %d: give 0 to %d requests of a thousand", s.Above, permille),
		Require(s.HoldTime >= 0 && s.HoldTime <= MaxHoldTime, "--hold-time %s: give 0s to %s", s.HoldTime, MaxHoldTime))
}

func (s Spec) validateArrivals() error {
	rated := s.Rate >= 0 && s.Rate <= MaxRate
	paced := s.Speed == 0 || s.Speed >= MinSpeed && s.Speed <= MaxSpeed
	return errors.Join(
		Require(rated, "--rate %g: give requests per second above 0, at most %d", s.Rate, MaxRate),
		Require(!rated || s.HoldTime <= 0 || s.Rate*s.HoldTime.Seconds() <= MaxOpenHolds,
			"--rate %g with --hold-time %s: give less, so that at most %d holds are open together", s.Rate, s.HoldTime, MaxOpenHolds),
		Require(paced, "--speed %g: give 0 (as fast as possible), or %g to %d", s.Speed, MinSpeed, MaxSpeed),
		Require(!paced || s.Speed == 0 || s.Trace != "",
			"--speed %g needs a trace: give --trace, or --rate for a constant rate", s.Speed),
		Require(!paced || s.Speed == 0 || s.Trace == "" || s.Rate <= 0,
			"--speed and --rate are two arrival rates: leave out one"))
}

// StandardInput is the Trace that is read from standard input.
const StandardInput = "-"

// TraceName returns the trace's name for people, or "".
func (s Spec) TraceName() string {
	if s.Trace == StandardInput {
		return "standard input"
	}
	return s.Trace
}

// Read reads the trace, if there is one, and returns the Spec with its Recording. A trace
// that is StandardInput comes from stdin, or from os.Stdin if that is nil. It is read only
// once, because it may come from a pipe. Read returns exit.ErrInterrupted when ctx ends,
// even while a read blocks; that read is then abandoned.
func (s Spec) Read(ctx context.Context, stdin io.Reader) (Spec, error) {
	if s.Trace == "" || s.Recording != nil {
		return s, nil
	}
	type outcome struct {
		read *Recording
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		read, err := s.readTrace(ctx, stdin)
		done <- outcome{read, err}
	}()
	select {
	case o := <-done:
		s.Recording = o.read
		return s, exit.OrInterrupted(ctx, o.err)
	case <-ctx.Done():
		return s, exit.ErrInterrupted
	}
}

func (s Spec) readTrace(ctx context.Context, stdin io.Reader) (*Recording, error) {
	if stdin == nil {
		stdin = os.Stdin
	}
	if s.Trace != StandardInput {
		file, err := os.Open(s.Trace)
		if err != nil {
			return nil, exit.With(exit.Usage, fmt.Errorf("--trace: %w", err))
		}
		defer file.Close()
		stdin = file
	}
	return parseTrace(s.TraceName(), whileIn{ctx, stdin}, s.tariff(), s.Speed > 0)
}

// whileIn is a reader that fails after the end of ctx.
type whileIn struct {
	ctx  context.Context
	from io.Reader
}

func (w whileIn) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.from.Read(p)
}

// ForNode returns the Spec of one of several node processes, counted from 0, with its share
// of the rows of a trace.
func (s Spec) ForNode(node, nodes int) Spec {
	if s.Recording != nil {
		s.Recording = s.Recording.share(node, nodes)
	}
	return s
}

// share returns every n-th row.
func (r *Recording) share(node, nodes int) *Recording {
	mine := &Recording{First: r.First + node*r.Every, Every: r.Every * nodes}
	for i := node; i < len(r.Rows); i += nodes {
		mine.Rows = append(mine.Rows, r.Rows[i])
		if r.At != nil {
			mine.At = append(mine.At, r.At[i])
		}
	}
	return mine
}
