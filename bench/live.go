package bench

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

// live is a line on a terminal that says how a run goes, until the run ends; what
// else is written there is written through it, and comes above. It shows nothing
// where nobody watches.
type live struct {
	to io.Writer

	mu      sync.Mutex
	watched bool // and not over yet
	bar     *progressbar.ProgressBar
	drop    func() bool // what listens for the end of ctx
}

// openLive draws on a terminal only, and when ctx ends it says what is still to
// come. It must be closed.
func openLive(ctx context.Context, to io.Writer) *live {
	l := &live{to: to, watched: isTerminal(to) && os.Getenv("TERM") != "dumb"}
	l.drop = context.AfterFunc(ctx, l.interrupt)
	return l
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// watch is nil where nobody watches.
func (l *live) watch() func(Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.watched {
		return nil
	}
	return l.show
}

func (l *live) show(p Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.watched {
		return
	}
	if l.bar == nil {
		l.bar = newBar(l.to, p.Left > 0)
	}
	l.bar.Describe(said(p, widthOf(l.to)))
	if p.Left > 0 {
		l.bar.ChangeMax64(int64(p.Elapsed + p.Left))
		_ = l.bar.Set64(int64(p.Elapsed)) // a line that cannot be drawn is not the run's failure
	}
}

// widthOf is asked each time: people resize their windows.
func widthOf(w io.Writer) int {
	const usual = 80
	if file, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return usual
}

// newBar is a bar, or without a known end a spinner; neither has a clock of its own.
func newBar(to io.Writer, bounded bool) *progressbar.ProgressBar {
	const width = 20
	longest := int64(1)
	if !bounded {
		longest = -1
	}
	return progressbar.NewOptions64(longest,
		progressbar.OptionSetWriter(to), progressbar.OptionUseANSICodes(true), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetWidth(width), progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionSetSpinnerChangeInterval(0),
		progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false))
}

// said is the line beside the bar, of what the terminal has room for.
func said(p Progress, width int) string {
	const others = len("  100% ||  ") // what the bar shows beside itself
	line := ""
	for _, part := range []struct {
		known bool
		text  string
	}{
		{p.Left > 0, p.Left.Round(time.Second).String() + " left"},
		{true, p.Phase},
		{true, report.Count(p.Rate) + " decisions/s"},
		{p.P99 > 0, "p99 " + report.Micros(p.P99)},
		{true, report.Count(p.Refused) + " refused"},
	} {
		if line != "" {
			part.text = ", " + part.text
		}
		if part.known && utf8.RuneCountInString(line+part.text) <= width-others {
			line += part.text
		}
	}
	return line
}

// Write puts text above the line.
func (l *live) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wipe()
	return l.to.Write(text)
}

func (l *live) wipe() {
	if l.bar != nil {
		_ = l.bar.Clear() // as in show
	}
}

// interrupt ends the line: from here on it could only promise too much.
func (l *live) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watched {
		l.wipe()
		l.watched = false
		fmt.Fprintln(l.to, "interrupted: the calls under way are finished and the books checked; Ctrl-C again ends at once")
	}
}

// close leaves the terminal as if there had been no line.
func (l *live) close() {
	l.drop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watched {
		l.wipe()
		l.watched = false
	}
}
