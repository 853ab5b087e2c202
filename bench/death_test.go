package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/contender"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A Redis that dies ends the run long before a call gives up by itself (10 s), whoever
// plays; what the callers say of it is not repeated.
func TestRunOnARedisThatDies(t *testing.T) {
	t.Parallel()
	for _, against := range [][]string{nil, {contender.Local, contender.Check}} {
		t.Run(fmt.Sprint(against), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			c := brief()
			c.Redis, c.Against, c.Duration, c.Rounds = server.URL(), against, 100*time.Second, 1000
			if against == nil {
				c.Rounds = 1
			}
			watching, ended := context.WithCancel(t.Context())
			killed := make(chan time.Time, 1)
			go func() {
				for meter := contender.NewMeter(watching, server.Client()); ; {
					if used, err := meter.Read(watching); err != nil || used.Commands > 10_000 {
						break
					}
				}
				server.Kill()
				killed <- time.Now()
			}()
			result, err := Run(t.Context(), c)
			ended()
			if took := time.Since(<-killed); took > 12*time.Second {
				t.Errorf("it took %s after the death", took)
			}
			said := fmt.Sprint(err)
			if exit.Code(err) != exit.Unavailable || !strings.HasPrefix(said, server.URL()+" is gone in the middle of the run") ||
				!strings.Contains(said, "the books could not be checked") {
				t.Errorf("code %d, %s", exit.Code(err), said)
			}
			if result.Audited || result.Conserved {
				t.Errorf("%+v", result)
			}
		})
	}
}
