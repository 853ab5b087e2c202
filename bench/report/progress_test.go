package report

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestProgressFitsTheTerminal(t *testing.T) {
	t.Parallel()
	p := Progress{
		Phase: "round 2 of 5: incr", Elapsed: 3 * time.Second, Left: 7400 * time.Millisecond,
		Rate: 78_895.4, P99: 2_312, Decisions: 200_000, Refused: 1_234,
	}
	if got, want := progressText(p, 120), "7s left, round 2 of 5: incr, 78,895/s, p99 2.31 ms, 1234 refused"; got != want {
		t.Errorf("got %q", got)
	}
	if got, want := progressText(p, 30), "7s left, round 2 of 5: incr"; got != want {
		t.Errorf("30 columns: got %q", got)
	}
	if got := progressText(p, 5); got != "" {
		t.Errorf("5 columns: got %q", got)
	}
	p.Left, p.P99 = 0, 0
	if got, want := progressText(p, 120), "round 2 of 5: incr, 78,895/s, 1234 refused"; got != want {
		t.Errorf("without an end: got %q", got)
	}
}

// Bar, text and the echo of Ctrl-C never wrap.
func TestProgressNeverWraps(t *testing.T) {
	t.Parallel()
	p := Progress{Phase: "round 2 of 5: script", Elapsed: time.Second, Left: 1e9 * time.Second, Rate: 1e9, P99: 1e7, Refused: 1e12}
	for columns := range 200 {
		var screen bytes.Buffer
		bar := newBar(&screen, barWidth(columns), true)
		bar.Describe(progressText(p, columns-reserved-barWidth(columns)))
		line := strings.TrimSuffix(strings.TrimPrefix(screen.String(), "\r"), "\033[0K")
		if width := utf8.RuneCountInString(line) + len("^C"); width > max(columns, reserved) {
			t.Errorf("%d columns: %d taken: %q", columns, width, line)
		}
	}
}

// clear empties the line of a terminal and returns to its beginning.
const clear = "\033[2K\r"

// Nothing follows the last clear.
func TestProgressLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]time.Duration{"bar": 9 * time.Second, "spinner": 0} {
		var screen bytes.Buffer
		view := &ProgressBar{to: &screen, shown: true, detach: func() bool { return true }}
		show := view.Watch()
		show(Progress{Phase: "warm-up", Elapsed: time.Second, Left: left, Rate: 5})
		if got := screen.String(); !strings.Contains(got, "warm-up, 5/s") || strings.Contains(got, "\n") {
			t.Errorf("%s: got %q", name, got)
		}
		screen.Reset()
		if _, err := view.Write([]byte("level=WARN\n")); err != nil || screen.String() != clear+"level=WARN\n" {
			t.Errorf("%s: a warning: got %q, %v", name, screen.String(), err)
		}
		show(Progress{Phase: "round 1", Elapsed: 10 * time.Second, Left: left})
		view.Close()
		if got := screen.String(); !strings.HasSuffix(got, clear) {
			t.Errorf("%s: the end is %q", name, got)
		}
		screen.Reset()
		show(Progress{Phase: "late"})
		view.Close()
		if screen.Len() > 0 {
			t.Errorf("%s: after the end: %q", name, screen.String())
		}
	}
}

func TestProgressEndsOnInterrupt(t *testing.T) {
	t.Parallel()
	var screen bytes.Buffer
	view := &ProgressBar{to: &screen, shown: true}
	show := view.Watch()
	show(Progress{Phase: "warm-up", Left: time.Second})
	screen.Reset()
	view.interrupt()
	show(Progress{Phase: "late", Left: time.Second})
	if got := screen.String(); !strings.HasPrefix(got, clear+"interrupted: ") || strings.Contains(got, "late") {
		t.Errorf("got %q", got)
	}
}

func TestNoProgressWithoutATerminal(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	view := OpenProgress(ctx, &file)
	if view.Watch() != nil {
		t.Error("it is drawn into a file")
	}
	cancel()
	view.Close()
	if file.Len() > 0 {
		t.Errorf("got %q", file.String())
	}
}
