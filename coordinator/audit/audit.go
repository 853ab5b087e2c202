// Package audit reads Bursar's stored state from Redis without a node: for audits after a
// benchmark, for tests, and for operators who want a second opinion.
//
// [Verify] checks everything under a key prefix while nodes continue to write, and is
// exact for each account. [Inspect] shows raw records in words, even damaged ones.
// [Read], [EachAccount] and [EachHold] list accounts and holds, [Returns] the amounts that
// rolling windows give back, and [Partitions] the partitions of a prefix. All of them read
// page by page, so that Redis can serve others in between. A hold whose deadline has passed
// stays open until a batch ends it.
//
// The package only reads. Keys and records belong to package store.
package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

var (
	// ErrLayout is returned if this version cannot read the layout of the stored state.
	ErrLayout = errors.New("unreadable layout")
	// ErrUnreadable is returned for state that no node writes; Verify lists the damages.
	ErrUnreadable = errors.New("damaged state")
)

// pageScript returns the script that reads a page; package luascripts documents its arguments.
func pageScript(d luascripts.Dialect) *redis.Script {
	return redis.NewScript(luascripts.Compose(d).Page.Source)
}

// readPage sends a page. miniredis doesn't compile the scripts of Redis.
func readPage(ctx context.Context, client redis.UniversalClient, keys store.Keys, args []any) ([]any, error) {
	reply, err := pageScript(luascripts.Redis).Run(ctx, client, []string{keys.Ledger, keys.Timers}, args...).Slice()
	if redis.HasErrorPrefix(err, "Error compiling script") {
		reply, err = pageScript(luascripts.Miniredis).Run(ctx, client, []string{keys.Ledger, keys.Timers}, args...).Slice()
	}
	return reply, err
}

// readPages reads the pages of a snapshot until it is done.
func readPages(ctx context.Context, client redis.UniversalClient, keys store.Keys, s *store.Snapshot) error {
	for !s.Done() {
		reply, err := readPage(ctx, client, keys, s.Args())
		if err != nil {
			return reading(keys.Ledger, err)
		}
		if err := s.Add(reply); err != nil {
			return fmt.Errorf("reading %s: %w", keys.Ledger, err)
		}
	}
	return nil
}

func isWrongType(err error) bool { return redis.HasErrorPrefix(err, "WRONGTYPE") }

// reading adds the key to an error, if there is one.
func reading(key string, err error) error {
	switch {
	case err == nil:
		return nil
	case isWrongType(err):
		return fmt.Errorf("%w: %s: %w", ErrUnreadable, key, err)
	default:
		return fmt.Errorf("reading %s: %w", key, err)
	}
}
