package dispatch

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// command is a command that go-redis does not repeat: a lane decides that, and sees
// every error at once.
type command struct{ redis.Cmd }

// NoRetry makes go-redis send the command once.
func (*command) NoRetry() bool { return true }

func newCommand(ctx context.Context, args []any) *command {
	cmd := &command{*redis.NewCmd(ctx, args...)}
	if len(args) > 3 {
		cmd.SetFirstKeyPos(firstKey(args[0]))
	}
	return cmd
}

func firstKey(name any) int8 {
	if name == "eval" || name == "evalsha" {
		return 3
	}
	return 1
}

// reply returns nil for Redis' nil.
func (c *command) reply() (any, error) {
	value, err := c.Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it as it is
		return nil, nil //nolint:nilnil // nil is a value here
	}
	return value, err
}
