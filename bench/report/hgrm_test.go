package report

import (
	"errors"
	"io"
	"testing"
)

func TestHgrm(t *testing.T) {
	t.Parallel()
	compareFile(t, "text/full.hgrm", written(t, fullReport().WriteHgrm))
}

func TestHgrmOfNothing(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Report{"no contender": {}, "no quantile": {Contenders: []Contender{{}}}} {
		if err := r.WriteHgrm(io.Discard); !errors.Is(err, ErrNoDistribution) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
