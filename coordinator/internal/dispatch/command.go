package dispatch

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// command is a command that go-redis does not repeat: the lane decides about repeats, and
// gets every error at once.
type command struct {
	redis.Cmd
	keys keyCount
}

// keyCount is the argument of a script call with the number of keys. go-redis asks it for
// its bytes when it writes the command, which shows whether writing has begun.
type keyCount struct {
	text    string
	written atomic.Bool
}

// MarshalBinary returns the bytes that go-redis writes.
func (k *keyCount) MarshalBinary() ([]byte, error) {
	k.written.Store(true)
	return []byte(k.text), nil
}

// MarshalText returns the text, for hooks that log as JSON.
func (k *keyCount) MarshalText() ([]byte, error) { return []byte(k.text), nil }

func (k *keyCount) String() string { return k.text }

// NoRetry makes go-redis send the command only once.
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

// reply returns the value and the error of the command, and nil for Redis' nil.
func (c *command) reply() (any, error) {
	value, err := c.Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it unwrapped
		return nil, nil //nolint:nilnil // nil is a valid value
	}
	if err != nil && c.keys.text != "" {
		err = &attemptError{err, c.keys.written.Load()}
	}
	return value, err
}

// stamp gives the error of a pipeline to those of its commands that have neither an error
// nor a value. go-redis does not do so if the first commands on a new connection fail,
// and a hook may return an error of its own.
func stamp(cmds []redis.Cmder, err error) {
	for _, cmd := range cmds {
		if c, ours := cmd.(*command); ours && c.Err() == nil && c.Val() == nil {
			c.SetErr(err)
		}
	}
}
