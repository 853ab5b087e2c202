package budgettest

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

// TestMain configures rapid for cases that fail on purpose: it must not shrink them for
// long or write them to testdata. The naive engine reports its events before it answers.
func TestMain(m *testing.M) {
	crossingTimeout = 10 * time.Millisecond
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "200ms"} {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}
