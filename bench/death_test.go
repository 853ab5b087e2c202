package bench

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// A Redis that dies ends the run long before a call times out (10 s), with each candidate;
// the errors of the workers are not repeated.
func TestRunOnARedisThatDies(t *testing.T) {
	t.Parallel()
	for _, against := range [][]string{nil, {baseline.Local, baseline.Check}} {
		t.Run(fmt.Sprint(against), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			c := brief()
			c.Redis, c.Baselines, c.Duration, c.Rounds = server.URL(), against, 100*time.Second, 1000
			if against == nil {
				c.Rounds = 1
			}
			killed := make(chan time.Time, 1)
			kill := sync.OnceFunc(func() {
				server.Kill()
				killed <- time.Now()
			})
			c.Watch = func(p report.Progress) {
				if p.Decisions > 1000 {
					kill()
				}
			}
			result, err := Run(t.Context(), c)
			kill() // if the run ended before
			if took := time.Since(<-killed); took > 12*time.Second {
				t.Errorf("it took %s after the death", took)
			}
			said := fmt.Sprint(err)
			if exit.Code(err) != exit.Unavailable || !strings.HasPrefix(said, server.URL()+" is gone in the middle of the run") ||
				!strings.Contains(said, "the balances could not be checked") {
				t.Errorf("code %d, %s", exit.Code(err), said)
			}
			if result.Audited || result.Conserved {
				t.Errorf("%+v", result)
			}
		})
	}
}
