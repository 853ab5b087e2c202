package dispatch

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// command is a command that go-redis does not repeat: a lane decides that, and sees
// every error at once.
type command struct {
	redis.Cmd
	keys keyCount
}

// keyCount is the argument of a script call that says how many keys follow. go-redis asks
// it for its bytes when it writes the command, so it knows whether that was begun.
type keyCount struct {
	text    string
	written atomic.Bool
}

// MarshalBinary returns what go-redis writes.
func (k *keyCount) MarshalBinary() ([]byte, error) {
	k.written.Store(true)
	return []byte(k.text), nil
}

// MarshalText returns the text, for hooks that log as JSON.
func (k *keyCount) MarshalText() ([]byte, error) { return []byte(k.text), nil }

func (k *keyCount) String() string { return k.text }

// NoRetry makes go-redis send the command once.
func (*command) NoRetry() bool { return true }

func newCommand(ctx context.Context, args []any) *command {
	cmd := new(command)
	position := int8(0)
	switch args[0] {
	case "eval", "evalsha":
		if count, ok := args[2].(string); ok {
			cmd.keys.text, args[2] = count, &cmd.keys
		}
		position = 3
	default:
		position = 1
	}
	cmd.Cmd = *redis.NewCmd(ctx, args...)
	if len(args) > int(position) {
		cmd.SetFirstKeyPos(position)
	}
	return cmd
}

// reply returns nil for Redis' nil.
func (c *command) reply() (any, error) {
	value, err := c.Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it as it is
		return nil, nil //nolint:nilnil // nil is a value here
	}
	if err != nil && c.keys.text != "" {
		err = &attemptError{err, c.keys.written.Load()}
	}
	return value, err
}

// stamp gives the error of a pipeline to those of its commands that have neither an error
// nor a value. go-redis does not, if a new connection's first commands are answered by an
// error, and a hook may return one of its own.
func stamp(cmds []redis.Cmder, err error) {
	for _, cmd := range cmds {
		if c, ours := cmd.(*command); ours && c.Err() == nil && c.Val() == nil {
			c.SetErr(err)
		}
	}
}
