package live

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/calybris/bursar/bench/report"
)

// Line is a line on a terminal that says how a run goes, until the run ends; what
// else is written there is written through it, and comes above. It shows nothing
// where nobody watches.
type Line struct {
	to io.Writer

	mu      sync.Mutex
	watched bool // and not over yet
	bar     *progressbar.ProgressBar
	columns int         // that the terminal had when the bar was made
	drop    func() bool // what listens for the end of ctx
}

// Open draws on a terminal only, and when ctx ends it says what is still to
// come. It must be closed.
func Open(ctx context.Context, to io.Writer) *Line {
	l := &Line{to: to, watched: isTerminal(to) && os.Getenv("TERM") != "dumb"}
	l.drop = context.AfterFunc(ctx, l.interrupt)
	return l
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Watch is what draws a Progress; nil where nobody watches.
func (l *Line) Watch() func(Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.watched {
		return nil
	}
	return l.show
}

func (l *Line) show(p Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.watched {
		return
	}
	if columns := columnsOf(l.to); l.bar == nil || columns != l.columns { // people resize their windows
		l.wipe()
		l.columns, l.bar = columns, newBar(l.to, barWidth(columns), p.Left > 0)
	}
	l.bar.Describe(said(p, l.columns-beside-barWidth(l.columns)))
	if p.Left > 0 {
		l.bar.ChangeMax64(int64(p.Elapsed + p.Left))
		_ = l.bar.Set64(int64(p.Elapsed)) // a line that cannot be drawn is not the run's failure
	}
}

func columnsOf(w io.Writer) int {
	const usual = 80
	if file, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return usual
}

// beside is what the line has apart from the bar and what is said: the percentage,
// spaces, and room for the ^C that a terminal echoes, which would otherwise break
// the line so that it could not be wiped.
const beside = len("  100%    ^C")

// barWidth leaves the figures as much as they usually take.
func barWidth(columns int) int {
	const figures, widest = 68, 20
	return min(max(columns-beside-figures, 0), widest)
}

// newBar is a bar, or without a known end a spinner; neither has a clock of its own.
func newBar(to io.Writer, width int, bounded bool) *progressbar.ProgressBar {
	longest := int64(1)
	if !bounded {
		longest, width = -1, 1 // a spinner without any is not drawn
	}
	return progressbar.NewOptions64(longest,
		progressbar.OptionSetWriter(struct{ io.Writer }{to}), // a file it would fill to its last column
		progressbar.OptionUseANSICodes(true), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetWidth(width), progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}),
		progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionSetSpinnerChangeInterval(0),
		progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false))
}

// said is what the line says, as far as there is room.
func said(p Progress, room int) string {
	line := ""
	for _, part := range []struct {
		known bool
		text  string
	}{
		{p.Left > 0, p.Left.Round(time.Second).String() + " left"},
		{true, p.Phase},
		{true, report.Count(p.Rate) + "/s"},
		{p.P99 > 0, "p99 " + report.Micros(p.P99)},
		{true, report.Short(float64(p.Refused)) + " refused"},
	} {
		if line != "" {
			part.text = ", " + part.text
		}
		if part.known && utf8.RuneCountInString(line+part.text) <= room {
			line += part.text
		}
	}
	return line
}

// Write puts text above the line.
func (l *Line) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wipe()
	return l.to.Write(text)
}

func (l *Line) wipe() {
	if l.bar != nil {
		_ = l.bar.Clear() // as in show
	}
}

// interrupt ends the line: from here on it could only promise too much.
func (l *Line) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watched {
		l.wipe()
		l.watched = false
		fmt.Fprintln(l.to, "interrupted: the calls under way are finished and the books checked; Ctrl-C again ends at once")
	}
}

// Close leaves the terminal as if there had been no line.
func (l *Line) Close() {
	l.drop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watched {
		l.wipe()
		l.watched = false
	}
}
