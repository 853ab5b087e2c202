package load

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// StandardInput is the Trace that is read from standard input.
const StandardInput = "-"

// TraceName is the trace's name for people; "" is none.
func (s Spec) TraceName() string {
	if s.Trace == StandardInput {
		return "standard input"
	}
	return s.Trace
}

// Read reads the trace, if there is one, and returns the Spec with its Recording. It is
// read once: pipes cannot be read again, and other processes have another standard
// input. Read returns exit.ErrInterrupted when ctx ends, even if the trace's writer has
// not written all of it; a read that waits for the writer is then left behind.
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

// whileIn is a reader whose reads fail once ctx has ended.
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

// ForNode is the Spec of one node, counted from 0, of so many that are processes: with
// its share of the rows of a trace, and whole in all else.
func (s Spec) ForNode(node, nodes int) Spec {
	if s.Recording != nil {
		s.Recording = s.Recording.share(node, nodes)
	}
	return s
}

// share is every so many rows, from one on.
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
