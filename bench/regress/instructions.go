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

// dumps is the name of callgrind's files, in the folder that the program runs in.
const dumps = "callgrind"

// callgrind is the command line before the program's own. Each call of the function
// marker ends a file with the instructions since the one before.
func callgrind(marker string) []string {
	return []string{"valgrind", "-q", "--tool=callgrind", "--vgdb=no", "--callgrind-out-file=" + dumps, "--dump-before=" + marker}
}

func findValgrind() error {
	if _, err := exec.LookPath("valgrind"); err != nil {
		return fmt.Errorf("instructions are counted by valgrind: %w; run make valgrind, or install Debian's package valgrind", err)
	}
	return nil
}

var summaryLine = regexp.MustCompile(`(?m)^(?:summary|totals): (\d+)$`)

// instructions reads how many there were before the call of that number, from 1.
func instructions(dir string, call int) (float64, error) {
	path := filepath.Join(dir, fmt.Sprintf("%s.%d", dumps, call))
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("callgrind did not notice the marker, which needs the program's symbols: %w", err)
	}
	found := summaryLine.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s has no total", path)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// instructionsOfRedis counts what a decision costs redis-server.
func instructionsOfRedis(ctx context.Context) (figures []figure, err error) {
	if err := findValgrind(); err != nil {
		return nil, err
	}
	// ECHO is what no script and no client asks for. The server's own clock is slow.
	s, err := newFixture(ctx, redistest.WithLauncher(callgrind("echoCommand")...), redistest.WithConfig("hz 1", "dynamic-hz no"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.measure(ctx, &instructionMeter{fixture: s})
}

type instructionMeter struct {
	fixture *fixture
	marks   int
}

func (m *instructionMeter) begin(ctx context.Context) error {
	m.marks++
	return m.fixture.admin.Echo(ctx, "").Err()
}

func (m *instructionMeter) end(ctx context.Context, l load) ([]figure, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	count, err := instructions(m.fixture.server.Dir(), m.marks)
	if err != nil {
		return nil, err
	}
	return []figure{newFigure(l.name+": instructions of redis-server", count/float64(l.decisions), redisInstr)}, nil
}

const (
	localWarm   = 1_000
	localCycles = 30_000
)

// localLoads are the cycles whose instructions are counted.
var localLoads = []struct {
	name string
	turn func(ctx context.Context, e *local.Engine) error
}{
	{"local, reserve and commit", func(ctx context.Context, e *local.Engine) error {
		r, err := e.TryReserve(ctx, hot, cost)
		if err != nil || r.Outcome != budget.Reserved {
			return fmt.Errorf("a reserve came to %+v, %w", r, err)
		}
		settled, err := e.Commit(ctx, r.ID, actual)
		if err != nil || settled.Outcome != budget.Committed {
			return fmt.Errorf("a commit came to %+v, %w", settled, err)
		}
		return nil
	}},
	{"local, reserve and release", func(ctx context.Context, e *local.Engine) error {
		r, err := e.TryReserve(ctx, hot, cost)
		if err != nil || r.Outcome != budget.Reserved {
			return fmt.Errorf("a reserve came to %+v, %w", r, err)
		}
		settled, err := e.Release(ctx, r.ID)
		if err != nil || settled.Outcome != budget.Released {
			return fmt.Errorf("a release came to %+v, %w", settled, err)
		}
		return nil
	}},
	{"local, refused reserve", func(ctx context.Context, e *local.Engine) error {
		r, err := e.TryReserve(ctx, hot, beyond)
		if err != nil || r.Outcome != budget.Insufficient {
			return fmt.Errorf("a reserve beyond the budget came to %+v, %w", r, err)
		}
		return nil
	}},
}

// localMark begins and ends what callgrind counts: it is called before and after
// each load.
//
//go:noinline
func localMark() {}

// playLocal is what runs under callgrind.
func playLocal(ctx context.Context) error {
	e, err := local.New()
	if err != nil {
		return err
	}
	if _, err := e.EnsureTenant(ctx, hot, wealth); err != nil {
		return err
	}
	for _, l := range localLoads {
		for i := range localWarm + localCycles {
			if i == localWarm {
				localMark()
			}
			if err := l.turn(ctx, e); err != nil {
				return err
			}
		}
		localMark()
	}
	return nil
}

// instructionsOfLocal builds this command again, since go run leaves out the symbols
// that callgrind finds the marks by, and runs it under callgrind.
func instructionsOfLocal(ctx context.Context) (figures []figure, err error) {
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
	if said, err := compile.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building what callgrind runs: %w; it said:\n%s", err, said)
	}
	command := append(callgrind("main.localMark"), self, localArgument)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // it is this program
	cmd.Dir = dir
	// One thread, and no collector in the count. The signals that Go interrupts its
	// goroutines with make callgrind fail at times (threads.c, post_signal).
	cmd.Env = append(os.Environ(), "GOGC=off", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the local engine under valgrind: %w; it said:\n%s", err, said)
	}
	for i, l := range localLoads {
		count, err := instructions(dir, 2*i+2)
		if err != nil {
			return nil, err
		}
		figures = append(figures, newFigure(l.name+": instructions", count/localCycles, localInstr))
	}
	return figures, nil
}
