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

// Progress is what a live view shows of a run: how far it is, and what the last
// stretch of it came to.
type Progress struct {
	Phase     string        // for people: "warm-up", "round 2 of 5: incr"
	Elapsed   time.Duration // of the whole run
	Left      time.Duration // of the whole run; 0 where that is not known, as with a trace
	Rate      float64       // decisions a second, of the last stretch
	P99       float64       // µs, of the last stretch
	Decisions int64         // of the whole run, refusals included
	Refused   int64         // reserves refused, of the whole run
}

// Tracker turns samples into what a live view is told. It is told of one stint at a
// time.
type Tracker struct {
	tell  func(Progress)
	began time.Time
	whole time.Duration // that the run will take; 0 is not known
	phase string

	last               time.Time
	stretch            int64 // decisions since then
	latency            *metrics.Histogram
	decisions, refused int64
}

// NewTracker tells of a run that begins now; whole is how long it will take, 0 where
// that is not known.
func NewTracker(tell func(Progress), whole time.Duration) *Tracker {
	now := time.Now()
	return &Tracker{tell: tell, began: now, last: now, whole: whole}
}

// Announce says what is to be seen next; without a watcher, to nobody.
func (w *Tracker) Announce(turn, turns int, name string) {
	if w == nil {
		return
	}
	if w.phase = name; turns > 1 {
		w.phase = fmt.Sprintf("round %d of %d: %s", turn+1, turns, name)
	}
}

// tellEvery bounds how often a view is told, whatever the samples do.
const tellEvery = 250 * time.Millisecond

// Sampled is told each sample of the run.
func (w *Tracker) Sampled(s metrics.Sample) {
	w.decisions += s.Decisions
	w.refused += s.Refused
	w.stretch += s.Decisions
	if w.latency == nil {
		w.latency = s.Latency.Clone() // a timeline may keep the sample's own
	} else {
		w.latency.Merge(s.Latency)
	}
	now := time.Now()
	took := now.Sub(w.last)
	if took < tellEvery*9/10 {
		return
	}
	p := Progress{
		Phase: w.phase, Elapsed: now.Sub(w.began),
		Rate: float64(w.stretch) / took.Seconds(), P99: w.latency.Percentiles().P99,
		Decisions: w.decisions, Refused: w.refused,
	}
	if s.Warming {
		p.Phase += ", warm-up"
	}
	if w.whole > 0 {
		p.Left = max(0, w.whole-p.Elapsed)
	}
	w.last, w.stretch, w.latency = now, 0, nil
	w.tell(p)
}

// ProgressBar is a line on a terminal that says how a run goes, until the run ends; what
// else is written there is written through it, and comes above. It shows nothing
// where nobody watches.
type ProgressBar struct {
	to io.Writer

	mu      sync.Mutex
	watched bool // and not over yet
	bar     *progressbar.ProgressBar
	columns int         // that the terminal had when the bar was made
	drop    func() bool // what listens for the end of ctx
}

// OpenProgress draws on a terminal only, and when ctx ends it says what is still to
// come. It must be closed.
func OpenProgress(ctx context.Context, to io.Writer) *ProgressBar {
	l := &ProgressBar{to: to, watched: isTerminal(to) && os.Getenv("TERM") != "dumb"}
	l.drop = context.AfterFunc(ctx, l.interrupt)
	return l
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Watch is what draws a Progress; nil where nobody watches.
func (l *ProgressBar) Watch() func(Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.watched {
		return nil
	}
	return l.show
}

func (l *ProgressBar) show(p Progress) {
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

// Write puts text above the line.
func (l *ProgressBar) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wipe()
	return l.to.Write(text)
}

func (l *ProgressBar) wipe() {
	if l.bar != nil {
		_ = l.bar.Clear() // as in show
	}
}

// interrupt ends the line: from here on it could only promise too much.
func (l *ProgressBar) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watched {
		l.wipe()
		l.watched = false
		fmt.Fprintln(l.to, "interrupted: the calls under way are finished and the books checked; Ctrl-C again ends at once")
	}
}

// Close leaves the terminal as if there had been no line.
func (l *ProgressBar) Close() {
	l.drop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watched {
		l.wipe()
		l.watched = false
	}
}
