package budgettest

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain keeps the cases that these tests make fail on purpose from being
// shrunk for long and from being written to testdata.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "200ms"} {
		if err := flag.Set(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}
