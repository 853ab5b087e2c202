// Package scratch gives a command a private place on a Redis for a while: an
// embedded one, a redis-server of its own, or keys on the user's: under random
// prefixes, or with a random mark under a prefix of the user's. Whatever it was,
// nothing is left of it after Close.
//
// What belongs here is getting such a place and giving it back. It knows nothing
// of what is stored there.
package scratch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/redistest"
)

// What an address can be, beside a URL.
const (
	Embedded = "embedded" // miniredis, inside this process
	Spawn    = "spawn"    // a private redis-server, on a free loopback port
)

// closeTimeout bounds the clean-up, which a cancelled context does not stop;
// comebackTimeout how long it waits for a Redis that has gone, and may be started
// again; scanTimeout the search for other people's keys.
const (
	closeTimeout    = 2 * time.Minute
	comebackTimeout = 5 * time.Second
	comebackEvery   = 200 * time.Millisecond
	scanTimeout     = 30 * time.Second
)

// Space is the place. Its methods are safe for concurrent use.
type Space struct {
	// Name says what it is, for people; it holds no password.
	Name string

	address string // what Open takes for the same Redis from another process
	options *redis.Options
	server  io.Closer // nil where Redis is the user's

	mu       sync.Mutex
	clients  []*redis.Client
	patterns []string // of the keys that Close deletes
}

// Open takes an address: [Embedded], [Spawn], or the URL of the user's Redis
// (redis:// or rediss://). It returns when Redis has answered a PING. Errors
// carry an exit code: Usage for an address that cannot be one, Unavailable for
// a Redis that does not answer.
func Open(ctx context.Context, address string) (*Space, error) {
	space, err := open(ctx, address)
	if err != nil {
		return nil, err
	}
	// Once, with short patience: an address that nobody answers at is mostly a typing error.
	if err := (connect.Target{Name: space.Name, Single: space.options}).Ping(ctx); err != nil {
		return nil, errors.Join(err, space.Close(ctx))
	}
	return space, nil
}

func open(ctx context.Context, address string) (*Space, error) {
	switch address {
	case Embedded:
		server := miniredis.NewMiniRedis()
		if err := server.Start(); err != nil {
			return nil, fmt.Errorf("starting the embedded Redis: %w", err)
		}
		return &Space{
			Name: "embedded Redis", address: "redis://" + server.Addr(),
			options: &redis.Options{Addr: server.Addr()}, server: embedded{server},
		}, nil
	case Spawn:
		server, err := redistest.Spawn(ctx)
		if err != nil {
			return nil, exit.With(exit.Unavailable, err)
		}
		return &Space{Name: "private redis-server", address: server.URL(), options: server.Options(), server: server}, nil
	default:
		options, name, err := parseURL(address)
		if err != nil {
			return nil, exit.With(exit.Usage, err)
		}
		return &Space{Name: name, address: address, options: options}, nil
	}
}

// embedded is miniredis as an io.Closer.
type embedded struct{ *miniredis.Miniredis }

// Close ends the server; there is nothing that can go wrong.
func (e embedded) Close() error {
	e.Miniredis.Close()
	return nil
}

// Client returns a new client with its own connections, closed with the space.
func (s *Space) Client() *redis.Client { return s.ClientOf(0) }

// ClientOf is Client with a pool of so many connections; 0 is go-redis' default.
func (s *Space) ClientOf(poolSize int) *redis.Client {
	options := *s.options
	if poolSize > 0 {
		options.PoolSize = poolSize
	}
	client := redis.NewClient(&options)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, client)
	return client
}

// Address is what another process gives to [Open] for the same Redis, which ends with
// this space where own is true. It may hold a password; of the user's Redis, that may
// be in the environment instead, which an own one must be opened without.
func (s *Space) Address() (address string, own bool) { return s.address, s.server != nil }

// Prefix returns a key prefix that nobody else has: the name and 64 random bits.
// What is stored under it is deleted by Close.
func (s *Space) Prefix(name string) string {
	prefix := "bursar-" + name + "-" + randomText()
	s.deleteLater(layout.QuotePattern(prefix) + ":*")
	return prefix
}

// Mark returns 16 characters that nobody else has, for a prefix that others may use.
// The keys under the prefix with the mark in their names are deleted by Close, and
// no others.
func (s *Space) Mark(prefix string) string {
	mark := randomText()
	s.deleteLater(layout.QuotePattern(prefix) + ":*" + mark + "*")
	return mark
}

func randomText() string {
	var bits [8]byte
	_, _ = rand.Read(bits[:]) // it never fails: it ends the process instead
	return hex.EncodeToString(bits[:])
}

func (s *Space) deleteLater(pattern string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patterns = append(s.patterns, pattern)
}

// KeyUnder returns one of the keys that begin with the prefix and a colon, or "": a
// prefix may end with the colon, though ours write another after it. It looks for up to 30 s; the error carries exit.Unavailable.
func (s *Space) KeyUnder(ctx context.Context, prefix string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	client := redis.NewClient(s.options)
	defer client.Close()
	key, err := firstMatching(ctx, client, layout.QuotePattern(strings.TrimRight(prefix, ":"))+":*")
	if err != nil {
		return "", exit.With(exit.Unavailable, fmt.Errorf("looking for keys under %q on %s: %w", prefix, s.Name, err))
	}
	return key, nil
}

// Close closes the space's clients, deletes what is stored under its prefixes and marks,
// and ends its server. It takes a few seconds where Redis does not answer, 2 minutes at the most, and a
// cancelled context does not keep it from cleaning up.
func (s *Space) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, client := range s.clients {
		errs = append(errs, client.Close()) // first: they may have all the connections that there can be
	}
	if s.server == nil && len(s.patterns) > 0 {
		errs = append(errs, s.wipe(ctx))
	}
	s.clients, s.patterns = nil, nil
	if s.server != nil {
		errs = append(errs, s.server.Close())
		s.server = nil
	}
	return errors.Join(errs...)
}

func (s *Space) wipe(ctx context.Context) error {
	for i, pattern := range s.patterns {
		if err := deletePatiently(ctx, s.impatient(), pattern); err != nil {
			return exit.With(exit.Unavailable, fmt.Errorf(
				"keys were left on %s: %w; delete what matches %q once it answers", s.Name, err, s.patterns[i:]))
		}
	}
	return nil
}

// impatient has a client ask once.
func (s *Space) impatient() *redis.Options {
	options := *s.options
	options.MaxRetries, options.DialerRetries = -1, 1
	return &options
}
