// Package connect connects a command to the operator's Redis, by the flags and variables
// that all commands share: one server, Sentinel or a Cluster, with or without TLS.
//
// It parses the address, reads its secrets and makes the client. Neither its output nor
// its errors contain a password.
package connect

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/internal/store"
)

// Connection is a client for the operator's Redis.
type Connection struct {
	Client redis.UniversalClient
	Name   string // the address without secrets, for messages
	Prefix string // key prefix

	target Target
	hangUp context.CancelFunc
}

// Open returns a connection according to the command's flags. It sends nothing to Redis:
// see Ping. The client waits up to timeout for each reply and does not retry, unless the
// address has other settings; a Cluster's client retries as often as it follows
// redirections. When the command is interrupted, the connections are closed after [Grace].
// Errors carry exit.Usage, and name the flag or the variable.
func Open(cc *cli.Context, timeout time.Duration) (*Connection, error) {
	connection, err := open(cc, timeout)
	return connection, exit.With(exit.Usage, err)
}

func open(cc *cli.Context, timeout time.Duration) (*Connection, error) {
	prefix := cc.String(prefixFlag)
	if err := store.ValidatePrefix(prefix); err != nil {
		return nil, fmt.Errorf("--%s: %w", prefixFlag, err)
	}
	address, _ := AddressOf(cc)
	if address == "" {
		return nil, errNoAddress
	}
	secrets, err := SecretsOf(cc)
	if err != nil {
		return nil, err
	}
	target, err := Parse(address, secrets)
	if err != nil {
		return nil, err
	}
	target.wait(timeout)
	ctx, hangUp := Linger(cc.Context)
	target = target.Until(ctx)
	return &Connection{Client: target.Client(), Name: target.Name, Prefix: prefix, target: target, hangUp: hangUp}, nil
}

// Grace is the time for which an interrupted command may still use Redis, to release its
// holds if Redis answers.
const Grace = 300 * time.Millisecond

// Linger returns a context that ends [Grace] after ctx.
func Linger(ctx context.Context) (context.Context, context.CancelFunc) {
	lingering, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		defer cancel()
		select {
		case <-time.After(Grace):
		case <-lingering.Done():
		}
	})
	return lingering, func() {
		stop()
		cancel()
	}
}

// Ping calls [Target.Ping].
func (c *Connection) Ping(ctx context.Context) error { return c.target.Ping(ctx) }

// Diagnose calls [Target.Diagnose].
func (c *Connection) Diagnose(ctx context.Context, found string) (better, remedy string) {
	return c.target.Diagnose(ctx, found)
}

// Close closes the client.
func (c *Connection) Close() error {
	defer c.hangUp()
	return c.Client.Close()
}
