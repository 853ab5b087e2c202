package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/local"
)

// dumps is the name of callgrind's files, in the program's working directory.
const dumps = "callgrind"

// callgrind returns the command line before the program's own. Each call of the function
// marker ends a file with the instructions since the last.
func callgrind(marker string) []string {
	return []string{"valgrind", "-q", "--tool=callgrind", "--vgdb=no", "--callgrind-out-file=" + dumps, "--dump-before=" + marker}
}

func findValgrind() error {
	if _, err := exec.LookPath("valgrind"); err != nil {
		return fmt.Errorf("valgrind counts the instructions: %w; run make valgrind, or install Debian's package valgrind", err)
	}
	return nil
}

var summaryLine = regexp.MustCompile(`(?m)^(?:summary|totals): (\d+)$`)

// instructions returns the number of instructions before the n-th call of the marker, from 1.
func instructions(dir string, n int) (float64, error) {
	path := filepath.Join(dir, fmt.Sprintf("%s.%d", dumps, n))
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("callgrind did not find the marker, which needs the program's symbols: %w", err)
	}
	found := summaryLine.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s has no total", path)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// instructionsOfRedis counts the instructions of redis-server per decision.
func instructionsOfRedis(ctx context.Context) (all []metric, err error) {
	if err := findValgrind(); err != nil {
		return nil, err
	}
	// No script and no client uses ECHO, the marker. A low hz keeps the server's own work out.
	f, err := newFixture(ctx, redistest.WithLauncher(callgrind("echoCommand")...), redistest.WithConfig("hz 1", "dynamic-hz no"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	return f.measure(ctx, &instructionMeter{fixture: f})
}

type instructionMeter struct {
	fixture *fixture
	marks   int
}

func (m *instructionMeter) begin(ctx context.Context) error {
	m.marks++
	return m.fixture.admin.Echo(ctx, "").Err()
}

func (m *instructionMeter) end(ctx context.Context, l load) ([]metric, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	count, err := instructions(m.fixture.server.Dir(), m.marks)
	if err != nil {
		return nil, err
	}
	return []metric{newMetric(l.name+": instructions of redis-server", count/float64(l.decisions), redisInstr)}, nil
}

const (
	localWarmUp = 1_000
	localCycles = 30_000
)

// localLoads are the cycles whose instructions are counted, together with those of these
// functions: they do not share code, because a call would count.
var localLoads = []struct {
	name  string
	cycle func(ctx context.Context, e *local.Engine) error
}{
	{"local, reserve and commit", func(ctx context.Context, e *local.Engine) error {
		r, err := e.TryReserve(ctx, hot, cost)
		if err != nil || r.Outcome != budget.Reserved {
			return fmt.Errorf("reserve: %+v, %w", r, err)
		}
		settled, err := e.Commit(ctx, r.ID, actual)
		if err != nil || settled.Outcome != budget.Committed {
			return fmt.Errorf("commit: %+v, %w", settled, err)
		}
		return nil
	}},
	{"local, reserve and release", func(ctx context.Context, e *local.Engine) error {
		r, err := e.TryReserve(ctx, hot, cost)
		if err != nil || r.Outcome != budget.Reserved {
			return fmt.Errorf("reserve: %+v, %w", r, err)
		}
		settled, err := e.Release(ctx, r.ID)
		if err != nil || settled.Outcome != budget.Released {
			return fmt.Errorf("release: %+v, %w", settled, err)
		}
		return nil
	}},
	{"local, refused reserve", func(ctx context.Context, e *local.Engine) error {
		r, err := e.TryReserve(ctx, hot, beyond)
		if err != nil || r.Outcome != budget.Insufficient {
			return fmt.Errorf("reserve beyond the budget: %+v, %w", r, err)
		}
		return nil
	}},
}

// localMark is the marker before and after each load.
//
//go:noinline
func localMark() {}

// newLocal returns a local engine with the hot tenant.
func newLocal(ctx context.Context) (*local.Engine, error) {
	e, err := local.New()
	if err == nil {
		_, err = e.EnsureTenant(ctx, hot, wealth)
	}
	return e, err
}

// runLocal runs the loads of the local engine, under callgrind.
func runLocal(ctx context.Context) error {
	e, err := newLocal(ctx)
	if err != nil {
		return err
	}
	for _, l := range localLoads {
		for i := range localWarmUp + localCycles {
			if i == localWarmUp {
				localMark()
			}
			if err := l.cycle(ctx, e); err != nil {
				return err
			}
		}
		localMark()
	}
	return nil
}

// instructionsOfLocal builds this command again, because go run strips the symbols that
// callgrind needs, and runs it under callgrind.
func instructionsOfLocal(ctx context.Context) (all []metric, err error) {
	if err := findValgrind(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bursar-regress-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	self := filepath.Join(dir, "regress")
	compile := exec.CommandContext(ctx, "go", "build", "-o", self, "github.com/calybris/bursar/bench/regress") //nolint:gosec // it is this program
	if output, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building this command for callgrind: %w; output:\n%s", err, output)
	}
	command := append(callgrind("main.localMark"), self, localArgument)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // it is this program
	cmd.Dir = dir
	// One thread, and no garbage collector in the count. Go's preemption signals make
	// callgrind fail at times (threads.c, post_signal).
	cmd.Env = append(os.Environ(), "GOGC=off", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the local engine under valgrind: %w; output:\n%s", err, output)
	}
	for i, l := range localLoads {
		count, err := instructions(dir, 2*i+2)
		if err != nil {
			return nil, err
		}
		all = append(all, newMetric(l.name+": instructions", count/localCycles, localInstr))
	}
	return all, nil
}
