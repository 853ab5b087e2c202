// Package scratch gives a command a private place on a Redis for a while: an
// embedded one, a redis-server of its own, or keys on the user's under random
// prefixes. Whatever it was, nothing is left of it after Close.
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
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// What an address can be, beside a URL.
const (
	Embedded = "embedded" // miniredis, inside this process
	Spawn    = "spawn"    // a private redis-server, on a free loopback port
)

// IsOwn reports whether an address is a server of the space's own, for which there are
// no secrets.
func IsOwn(address string) bool { return address == Embedded || address == Spawn }

// closeTimeout bounds the clean-up, which a cancelled context does not stop;
// comebackTimeout how long it waits for a Redis that has gone, and may be started
// again; scanTimeout the search for other people's keys; and answerTimeout how long
// Redis has, after the command was interrupted, to show that it answers at all.
const (
	closeTimeout    = 2 * time.Minute
	comebackTimeout = 5 * time.Second
	comebackEvery   = 200 * time.Millisecond
	scanTimeout     = 30 * time.Second
	answerTimeout   = 2 * time.Second
)

// Space is the place. Its methods are safe for concurrent use.
type Space struct {
	// Name says what it is, for people; it holds no password.
	Name string

	address  string          // what Open takes for the same Redis from another process
	secrets  connect.Secrets // beside the address
	target   connect.Target
	lifetime context.Context
	giveUp   context.CancelFunc
	unwatch  func() bool // of the context of Open
	server   io.Closer   // nil if Redis is the user's

	mu       sync.Mutex
	clients  []redis.UniversalClient
	patterns []string // of the keys that Close deletes
}

// Open takes an address: [Embedded], [Spawn], or the URL of the user's Redis with its
// secrets, as package connect reads it. It returns when Redis has answered a PING.
// Errors carry an exit code: Usage for an address that cannot be one, Unavailable for a
// Redis that does not answer.
//
// When ctx ends and Redis does not answer within 2 s, the space gives it up: see
// Lifetime.
func Open(ctx context.Context, address string, secrets connect.Secrets) (*Space, error) {
	space, err := open(ctx, address, secrets)
	if err != nil {
		return nil, err
	}
	space.lifetime, space.giveUp = context.WithCancel(context.WithoutCancel(ctx))
	space.target = space.target.Until(space.lifetime)
	// Once, with short patience: an address that nobody answers at is mostly a typing error.
	if err := space.target.Ping(ctx); err != nil {
		return nil, errors.Join(err, space.Close(ctx))
	}
	if address != Embedded { // which always answers, though late on a busy machine
		space.unwatch = context.AfterFunc(ctx, space.check)
	}
	return space, nil
}

func open(ctx context.Context, address string, secrets connect.Secrets) (*Space, error) {
	switch address {
	case Embedded:
		server := miniredis.NewMiniRedis()
		if err := server.Start(); err != nil {
			return nil, fmt.Errorf("starting the embedded Redis: %w", err)
		}
		return own("embedded Redis", "redis://"+server.Addr(), embedded{server})
	case Spawn:
		server, err := redistest.Spawn(ctx)
		if err != nil {
			return nil, exit.With(exit.Unavailable, err)
		}
		return own("private redis-server", server.URL(), server)
	default:
		target, err := connect.Parse(address, secrets)
		if err != nil {
			return nil, exit.With(exit.Usage, fmt.Errorf("%w; or give %s for a private redis-server", err, Spawn))
		}
		return &Space{Name: target.Name, address: address, secrets: secrets, target: target}, nil
	}
}

func own(name, address string, server io.Closer) (*Space, error) {
	target, err := connect.Parse(address, connect.Secrets{})
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	target.Name = name
	return &Space{Name: name, address: address, target: target, server: server}, nil
}

// embedded is miniredis as an io.Closer.
type embedded struct{ *miniredis.Miniredis }

// Close ends the server; there is nothing that can go wrong.
func (e embedded) Close() error {
	e.Miniredis.Close()
	return nil
}

// check gives Redis up, unless it answers soon.
func (s *Space) check() {
	ctx, cancel := context.WithTimeout(s.lifetime, answerTimeout)
	defer cancel()
	if s.target.Ping(ctx) != nil {
		s.giveUp()
	}
}

// Lifetime ends with Close, or when Redis is given up, since it does not answer and the
// command was interrupted. From then on no connection can be made, and those that there
// were are closed, so that nothing waits for an answer any more.
func (s *Space) Lifetime() context.Context { return s.lifetime }

// Client returns a new client with its own connections, closed with the space.
func (s *Space) Client() redis.UniversalClient { return s.ClientOf(0) }

// ClientOf is Client with a pool of so many connections, of a Cluster to each server; 0
// is go-redis' default.
func (s *Space) ClientOf(poolSize int) redis.UniversalClient {
	client := s.target.Pool(poolSize).Client()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, client)
	return client
}

// Source returns what another process gives to [Open] for the same Redis, which ends
// with this space if it is its own. It may hold a password.
func (s *Space) Source() (address string, secrets connect.Secrets) { return s.address, s.secrets }

// Prefix returns a key prefix that nobody else has: the name and 64 random bits.
// What is stored under it is deleted by Close.
func (s *Space) Prefix(name string) string { return s.ownPrefix("bursar-" + name + "-") }

// PrefixUnder is Prefix for keys that begin with a prefix of the user's, which others
// may use: it returns that prefix, a colon and 64 random bits.
func (s *Space) PrefixUnder(prefix string) string { return s.ownPrefix(prefix + ":") }

// ValidatePrefix returns nil for an argument of PrefixUnder.
func ValidatePrefix(prefix string) error {
	if most := store.MaxPrefixBytes - len(":") - hex.EncodedLen(randomBytes); len(prefix) > most {
		return fmt.Errorf("key prefix %.80q: give 1 to %d bytes", prefix, most)
	}
	return store.ValidatePrefix(prefix)
}

const randomBytes = 8

func (s *Space) ownPrefix(begin string) string {
	var bits [randomBytes]byte
	_, _ = rand.Read(bits[:]) // it never fails: it ends the process instead
	prefix := begin + hex.EncodeToString(bits[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patterns = append(s.patterns, store.QuotePattern(prefix)+":*")
	return prefix
}

// KeyUnder returns one of the keys that begin with the prefix and a colon, or "": a
// prefix may end with the colon, though ours write another after it. It looks for at
// most 30 s; the error carries exit.Unavailable.
func (s *Space) KeyUnder(ctx context.Context, prefix string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	client := s.target.Client()
	defer client.Close()
	key, err := firstMatching(ctx, client, store.QuotePattern(strings.TrimRight(prefix, ":"))+":*")
	if err != nil {
		return "", exit.With(exit.Unavailable, fmt.Errorf("looking for keys under %q on %s: %w", prefix, s.Name, err))
	}
	return key, nil
}

// Close closes the space's clients, deletes what is stored under its prefixes,
// and ends its server. It takes a few seconds if Redis does not answer, at most 2
// minutes, and a cancelled context does not keep it from cleaning up, unless the
// lifetime has ended as well.
func (s *Space) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, client := range s.clients { // first: they may have all the connections that there can be
		if err := client.Close(); s.lifetime.Err() == nil {
			errs = append(errs, err)
		}
	}
	if s.server == nil && len(s.patterns) > 0 {
		errs = append(errs, s.wipe(ctx))
	}
	s.clients, s.patterns = nil, nil
	if s.unwatch != nil {
		s.unwatch()
	}
	s.giveUp()
	if s.server != nil {
		errs = append(errs, s.server.Close())
		s.server = nil
	}
	return errors.Join(errs...)
}

func (s *Space) wipe(ctx context.Context) error {
	for i, pattern := range s.patterns {
		if err := s.deletePatiently(ctx, pattern); err != nil {
			return exit.With(exit.Unavailable, fmt.Errorf(
				"keys were left on %s: %w; delete what matches %q once it answers", s.Name, err, s.patterns[i:]))
		}
	}
	return nil
}
