package exit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

func TestCode(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	usage := exit.With(exit.Usage, plain)
	for _, c := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, exit.Done},
		{"nil with a code", exit.With(exit.Usage, nil), exit.Done},
		{"no code", plain, exit.Refused},
		{"a code", usage, exit.Usage},
		{"a wrapped code", fmt.Errorf("flag: %w", usage), exit.Usage},
		{"a joined code", errors.Join(plain, usage), exit.Usage},
		{"the first code stays", exit.With(exit.Unavailable, fmt.Errorf("flag: %w", usage)), exit.Usage},
	} {
		if got := exit.Code(c.err); got != c.want {
			t.Errorf("%s: code %d, want %d", c.name, got, c.want)
		}
	}
	if !errors.Is(usage, plain) || usage.Error() != "plain" {
		t.Errorf("%q does not stand for its cause", usage)
	}
}

func TestOrInterrupted(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	ctx, cancel := context.WithCancel(t.Context())
	if err := exit.OrInterrupted(ctx, plain); !errors.Is(err, plain) {
		t.Errorf("before the end: %v", err)
	}
	cancel()
	if err := exit.OrInterrupted(ctx, plain); !errors.Is(err, exit.ErrInterrupted) {
		t.Errorf("after it: %v", err)
	}
	if err := exit.OrInterrupted(ctx, nil); err != nil {
		t.Errorf("without an error: %v", err)
	}
}
