// Package audit reads Bursar's state out of Redis as it is stored, without a node: for
// audits after a benchmark, for tests, and for operators who want a second opinion.
//
// [Verify] checks everything under a key prefix while nodes go on writing, and is exact
// for each account. [Inspect] shows raw records in words, damaged ones too. [Read],
// [EachAccount] and [EachHold] list accounts and holds, and [Partitions] what a prefix
// is made of. All of them read page by page, so that Redis answers others in between. A
// hold whose deadline has passed stays open until a batch ends it.
//
// What belongs here only reads. Keys and records belong to package store.
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
	// ErrLayout: what is stored is in a layout that this version cannot read.
	ErrLayout = errors.New("unreadable layout")
	// ErrUnreadable: what is stored is not what a node writes; Verify names the damages.
	ErrUnreadable = errors.New("damaged state")
)

// pageScript reads a page; package luascripts has its arguments.
var pageScript = redis.NewScript(luascripts.Compose(luascripts.Redis).Page.Source)

// readPages sends the pages of a snapshot until it is done.
func readPages(ctx context.Context, client redis.UniversalClient, keys store.Keys, s *store.Snapshot) error {
	for !s.Done() {
		reply, err := pageScript.Run(ctx, client, []string{keys.Ledger, keys.Timers}, s.Args()...).Slice()
		if err != nil {
			return reading(keys.Ledger, err)
		}
		if err := s.Add(reply); err != nil {
			return fmt.Errorf("reading %s: %w", keys.Ledger, err)
		}
	}
	return nil
}

// reading names the key in an error, if there is one.
func reading(key string, err error) error {
	switch {
	case err == nil:
		return nil
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return fmt.Errorf("%w: %s: %w", ErrUnreadable, key, err)
	default:
		return fmt.Errorf("reading %s: %w", key, err)
	}
}
