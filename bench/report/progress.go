package report

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

	"github.com/calybris/bursar/bench/metrics"
)

// Progress is the state of a run for a live view.
type Progress struct {
	Phase     string        // for people: "warm-up", "round 2 of 5: incr"
	Elapsed   time.Duration // of the whole run
	Left      time.Duration // of the whole run; 0 if unknown, as with a trace
	Rate      float64       // decisions per second, recently
	P99       float64       // µs, recently
	Decisions int64         // of the whole run, including refusals
	Refused   int64         // reserves refused, of the whole run
}

// Tracker turns the samples of a run into Progress.
type Tracker struct {
	report func(Progress)
	began  time.Time
	whole  time.Duration // expected; 0 is unknown
	phase  string

	last               time.Time
	recent             int64              // decisions since then
	latency            *metrics.Histogram // the same
	decisions, refused int64
}

// NewTracker returns the tracker of a run that begins now. whole is its expected length, or 0
// if unknown.
func NewTracker(report func(Progress), whole time.Duration) *Tracker {
	now := time.Now()
	return &Tracker{report: report, began: now, last: now, whole: whole}
}

// Announce names the next round. It does nothing on nil.
func (t *Tracker) Announce(round, rounds int, name string) {
	if t == nil {
		return
	}
	if t.phase = name; rounds > 1 {
		t.phase = fmt.Sprintf("round %d of %d: %s", round+1, rounds, name)
	}
}

const reportEvery = 250 * time.Millisecond

// Sampled adds a sample, and reports the progress if the last report is old enough.
func (t *Tracker) Sampled(s metrics.Sample) {
	t.decisions += s.Decisions
	t.refused += s.Refused
	t.recent += s.Decisions
	if t.latency == nil {
		t.latency = s.Latency.Clone() // a timeline may own the sample's
	} else {
		t.latency.Merge(s.Latency)
	}
	now := time.Now()
	took := now.Sub(t.last)
	if took < reportEvery*9/10 {
		return
	}
	p := Progress{
		Phase: t.phase, Elapsed: now.Sub(t.began), Rate: float64(t.recent) / took.Seconds(),
		P99: t.latency.Latency().P99, Decisions: t.decisions, Refused: t.refused,
	}
	if s.Warming {
		p.Phase += ", warm-up"
	}
	if t.whole > 0 {
		p.Left = max(0, t.whole-p.Elapsed)
	}
	t.last, t.recent, t.latency = now, 0, nil
	t.report(p)
}

// ProgressBar is a line on a terminal that shows the progress of a run and disappears at its
// end. Other output to that terminal has to go through its Write. Without a terminal it shows
// nothing.
type ProgressBar struct {
	to io.Writer

	mu      sync.Mutex
	shown   bool // on a terminal, and the run has not ended
	bar     *progressbar.ProgressBar
	columns int // of the terminal when the bar was made
	detach  func() bool
}

// OpenProgress returns a progress bar, which must be closed. When ctx ends, it is replaced by
// a line about what happens next.
func OpenProgress(ctx context.Context, to io.Writer) *ProgressBar {
	b := &ProgressBar{to: to, shown: isTerminal(to) && os.Getenv("TERM") != "dumb"}
	b.detach = context.AfterFunc(ctx, b.interrupt)
	return b
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Watch returns the function that shows a Progress, or nil without a terminal.
func (b *ProgressBar) Watch() func(Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.shown {
		return nil
	}
	return b.show
}

func (b *ProgressBar) show(p Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.shown {
		return
	}
	if columns := columnsOf(b.to); b.bar == nil || columns != b.columns { // the window may be resized
		b.wipe()
		b.columns, b.bar = columns, newBar(b.to, barWidth(columns), p.Left > 0)
	}
	b.bar.Describe(progressText(p, b.columns-reserved-barWidth(b.columns)))
	if p.Left > 0 {
		b.bar.ChangeMax64(int64(p.Elapsed + p.Left))
		_ = b.bar.Set64(int64(p.Elapsed)) // an unwritable terminal does not fail the run
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

// reserved is the width of the percentage, the spaces, and the ^C that a terminal echoes: a
// line that wraps could not be cleared.
const reserved = len("  100%    ^C")

// barWidth leaves room for the usual text.
func barWidth(columns int) int {
	const text, widest = 68, 20
	return min(max(columns-reserved-text, 0), widest)
}

// newBar returns a bar, or a spinner if the end is unknown.
func newBar(to io.Writer, width int, bounded bool) *progressbar.ProgressBar {
	longest := int64(1)
	if !bounded {
		longest, width = -1, 1 // a spinner of width 0 is not drawn
	}
	return progressbar.NewOptions64(longest,
		progressbar.OptionSetWriter(struct{ io.Writer }{to}), // it would fill a file to the last column
		progressbar.OptionUseANSICodes(true), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetWidth(width), progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}),
		progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionSetSpinnerChangeInterval(0),
		progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false))
}

// progressText returns as many parts of the text as fit.
func progressText(p Progress, room int) string {
	line := ""
	for _, part := range []struct {
		known bool
		text  string
	}{
		{p.Left > 0, p.Left.Round(time.Second).String() + " left"},
		{true, p.Phase},
		{true, Count(p.Rate) + "/s"},
		{p.P99 > 0, "p99 " + Micros(p.P99)},
		{true, Short(float64(p.Refused)) + " refused"},
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

// Write writes text above the bar.
func (b *ProgressBar) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wipe()
	return b.to.Write(text)
}

func (b *ProgressBar) wipe() {
	if b.bar != nil {
		_ = b.bar.Clear() // as in show
	}
}

func (b *ProgressBar) interrupt() {
	b.end("interrupted: finishing the calls in flight and checking the balances; Ctrl-C again ends at once\n")
}

// Close removes the bar.
func (b *ProgressBar) Close() {
	b.detach()
	b.end("")
}

func (b *ProgressBar) end(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown {
		b.wipe()
		b.shown = false
		fmt.Fprint(b.to, text)
	}
}
