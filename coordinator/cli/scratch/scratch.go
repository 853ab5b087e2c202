// Package scratch provides a command with temporary space on a Redis: an embedded one, a
// redis-server of its own, or keys under random prefixes on the user's. Close removes the
// space completely.
//
// The package opens and removes spaces, and does not depend on their content.
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

// Addresses other than a URL.
const (
	Embedded = "embedded" // miniredis, inside this process
	Spawn    = "spawn"    // a private redis-server, on a free loopback port
)

// IsOwn reports whether an address stands for a server of the space's own, which has no
// secrets.
func IsOwn(address string) bool { return address == Embedded || address == Spawn }

// closeTimeout bounds the clean-up, which a cancelled context does not stop, and
// comebackTimeout its wait for a Redis that is down and may restart, with an attempt every
// retryEvery. scanTimeout bounds the search for other users' keys, and answerTimeout
// the time in which Redis must answer after the command was interrupted.
const (
	closeTimeout    = 2 * time.Minute
	comebackTimeout = 5 * time.Second
	retryEvery      = 200 * time.Millisecond
	scanTimeout     = 30 * time.Second
	answerTimeout   = 2 * time.Second
)

// Space is temporary space on a Redis. Its methods are safe for concurrent use.
type Space struct {
	// Name describes the space in messages. It contains no password.
	Name string

	address  string          // for Open in another process
	secrets  connect.Secrets // for address
	target   connect.Target
	lifetime context.Context
	giveUp   context.CancelFunc
	unwatch  func() bool // stops watching Open's context
	server   io.Closer   // nil on the user's Redis

	mu       sync.Mutex
	clients  []redis.UniversalClient
	patterns []string // of the keys that Close deletes
}

// Open opens a space at an address: [Embedded], [Spawn], or the URL of the user's Redis
// with its secrets, as [connect.Parse] accepts it. It returns after Redis has answered a
// PING. Errors carry an exit code: Usage for an invalid address, Unavailable for a Redis
// that does not answer.
//
// If ctx ends and Redis does not answer within 2 s, the space gives Redis up: see
// [Space.Lifetime].
func Open(ctx context.Context, address string, secrets connect.Secrets) (*Space, error) {
	space, err := open(ctx, address, secrets)
	if err != nil {
		return nil, err
	}
	space.lifetime, space.giveUp = context.WithCancel(context.WithoutCancel(ctx))
	space.target = space.target.Until(space.lifetime)
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

// Close stops the server. It always returns nil.
func (e embedded) Close() error {
	e.Miniredis.Close()
	return nil
}

// check ends the lifetime unless Redis answers within answerTimeout.
func (s *Space) check() {
	ctx, cancel := context.WithTimeout(s.lifetime, answerTimeout)
	defer cancel()
	if s.target.Ping(ctx) != nil {
		s.giveUp()
	}
}

// Lifetime returns a context that ends with Close, or if the command is interrupted and
// Redis does not answer. From then on no connection can be made and existing ones are
// closed, so that no call waits for a reply.
func (s *Space) Lifetime() context.Context { return s.lifetime }

// Client returns a new client with its own connections, closed with the space.
func (s *Space) Client() redis.UniversalClient { return s.ClientOf(0) }

// ClientOf is Client with a pool of poolSize connections, to each server of a Cluster. 0
// keeps the size of the address, or go-redis' default.
func (s *Space) ClientOf(poolSize int) redis.UniversalClient {
	client := s.target.Pool(poolSize).Client()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, client)
	return client
}

// Source returns the arguments with which another process can [Open] the same Redis. A
// server of the space's own still ends with this space. The address may contain a
// password.
func (s *Space) Source() (address string, secrets connect.Secrets) { return s.address, s.secrets }

// Prefix returns a unique key prefix: bursar, the name and 64 random bits. Close deletes
// all keys under it.
func (s *Space) Prefix(name string) string { return s.ownPrefix("bursar-" + name + "-") }

// PrefixUnder is Prefix below a prefix of the user's, which others may use too. It returns
// that prefix, a colon and 64 random bits.
func (s *Space) PrefixUnder(prefix string) string { return s.ownPrefix(prefix + ":") }

// ValidatePrefix returns an error for a prefix that PrefixUnder cannot use.
func ValidatePrefix(prefix string) error {
	if most := store.MaxPrefixBytes - len(":") - hex.EncodedLen(randomBytes); len(prefix) > most {
		return fmt.Errorf("key prefix %.80q: give 1 to %d bytes", prefix, most)
	}
	return store.ValidatePrefix(prefix)
}

const randomBytes = 8

func (s *Space) ownPrefix(begin string) string {
	var bits [randomBytes]byte
	_, _ = rand.Read(bits[:]) // never fails: it ends the process instead
	prefix := begin + hex.EncodeToString(bits[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patterns = append(s.patterns, store.QuotePattern(prefix)+":*")
	return prefix
}

// KeyUnder returns a key that begins with the prefix and a colon, or "" without one. It
// ignores colons at the end of the prefix, which a user may have written as the separator.
// It searches for at most 30 s. Errors carry exit.Unavailable.
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

// Close closes the space's clients, deletes the keys under its prefixes, and stops its
// server. If Redis does not answer, it takes a few seconds, at most 2 minutes. It cleans
// up even if ctx is cancelled, unless the lifetime has ended as well.
func (s *Space) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, client := range s.clients { // first: they may use all connections that the server allows
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
		if err := s.deleteWithRetries(ctx, pattern); err != nil {
			return exit.With(exit.Unavailable, fmt.Errorf(
				"keys were left on %s: %w; delete what matches %q once it answers", s.Name, err, s.patterns[i:]))
		}
	}
	return nil
}
