package budgettest

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain configures rapid for cases that fail on purpose: it must not shrink them for
// long or write them to testdata.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "200ms"} {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}
