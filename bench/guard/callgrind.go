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

	"github.com/calybris/bursar/coordinator/redistest"
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
	s, err := newStage(ctx, redistest.WithLauncher(callgrind("echoCommand")...), redistest.WithConfig("hz 1", "dynamic-hz no"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.measure(ctx, &instructionMeter{stage: s})
}

type instructionMeter struct {
	stage *stage
	marks int
}

func (m *instructionMeter) begin(ctx context.Context) error {
	m.marks++
	return m.stage.admin.Echo(ctx, "").Err()
}

func (m *instructionMeter) end(ctx context.Context, l load) ([]figure, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	count, err := instructions(m.stage.server.Dir(), m.marks)
	if err != nil {
		return nil, err
	}
	return []figure{newFigure(l.name+": instructions of redis-server", count/float64(l.decisions), redisInstr)}, nil
}
