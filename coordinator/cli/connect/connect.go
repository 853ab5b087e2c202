// Package connect finds the Redis that a command is to use, by the flags and variables
// that all of them share: one server, Sentinel or a Cluster, with TLS or without.
//
// What belongs here is the address, the secrets that go with it, and the client that
// they make. Nothing that this package prints or returns as an error has a password
// in it. What a command does with the client is its own matter.
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
	Name   string // the address without secrets, for people
	Prefix string // of the keys

	target Target
	hangUp context.CancelFunc
}

// Open reads the command's flags. It asks Redis nothing: see Ping. The client waits for
// each answer for the timeout, and asks once; when the command is interrupted, its
// connections end after [Grace]. Errors carry exit.Usage, and name the flag or the
// variable.
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

// Grace is how long an interrupted command may go on to speak with Redis, so that what it
// holds is released if Redis answers at all.
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

// Ping asks once, with short patience: an address that nobody answers at is mostly a
// typing error. The error carries exit.Unavailable.
func (c *Connection) Ping(ctx context.Context) error { return c.target.Ping(ctx) }

// Diagnose is that of the connection's [Target].
func (c *Connection) Diagnose(ctx context.Context, found string) (better, remedy string) {
	return c.target.Diagnose(ctx, found)
}

// Close closes the client.
func (c *Connection) Close() error {
	defer c.hangUp()
	return c.Client.Close()
}
