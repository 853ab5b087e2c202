// Package connect finds the Redis that an operator's command is to use, by the flags
// and variables that all of them share: one server, Sentinel or a Cluster, with TLS
// or without.
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
	"github.com/calybris/bursar/coordinator/layout"
)

// Connection is a client for the operator's Redis.
type Connection struct {
	Client redis.UniversalClient
	Name   string // the address without secrets, for people
	Prefix string // of the keys

	target Target
}

// Open reads the command's flags. It asks Redis nothing: see Ping. The client waits for
// each answer for the timeout, and asks once. Errors carry exit.Usage, and name the
// flag or the variable.
func Open(cc *cli.Context, timeout time.Duration) (*Connection, error) {
	connection, err := open(cc, timeout)
	return connection, exit.With(exit.Usage, err)
}

func open(cc *cli.Context, timeout time.Duration) (*Connection, error) {
	prefix := cc.String(prefixFlag)
	if err := layout.ValidatePrefix(prefix); err != nil {
		return nil, fmt.Errorf("--%s: %w", prefixFlag, err)
	}
	address := cc.String(redisFlag)
	if address == "" {
		return nil, fmt.Errorf("no Redis is given: give --%s URL or set %s, for example redis://localhost:6379", redisFlag, redisVariable)
	}
	secrets, err := secretsOf(cc)
	if err != nil {
		return nil, err
	}
	target, err := Parse(address, secrets)
	if err != nil {
		return nil, err
	}
	target.wait(timeout)
	return &Connection{Client: target.Client(), Name: target.Name, Prefix: prefix, target: target}, nil
}

// Ping asks once, with short patience: an address that nobody answers at is mostly a
// typing error. The error carries exit.Unavailable.
func (c *Connection) Ping(ctx context.Context) error { return c.target.Ping(ctx) }

// Close closes the client.
func (c *Connection) Close() error { return c.Client.Close() }
