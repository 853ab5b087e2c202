package runner

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// The tests of processes start this program as a node.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{"bench", NodeCommand}) {
		if err := ServeNode(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// Without a server, go-redis dials once a second, and notices only then that its client
	// was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
