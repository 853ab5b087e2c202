package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Prefix lists the partitions of a key prefix.
type Prefix struct {
	Name       string `json:"prefix"`
	Partitions int    `json:"partitions"` // 0 for a prefix that was never used
	// Existing lists the partitions that have a key in Redis. The others were never used, or
	// their creator stopped before it had written a key.
	Existing []int `json:"existing"`
	// Damages are those that concern the whole prefix.
	Damages []Damage `json:"damages"`
}

// Partitions returns the partitions of a key prefix: by its record or, if that is missing
// or damaged, by the partitions that exist. It returns ErrLayout for a prefix of another
// layout, and ErrUnreadable if there are partitions but their number can't be determined.
func Partitions(ctx context.Context, client redis.UniversalClient, prefix string) (Prefix, error) {
	return partitions(ctx, client, prefix, true)
}

// partitions implements Partitions. Unless it is thorough, it looks for partitions under
// another number than the recorded one only if the record is missing.
func partitions(ctx context.Context, client redis.UniversalClient, prefix string, thorough bool) (Prefix, error) {
	p := Prefix{Name: prefix, Existing: []int{}, Damages: []Damage{}}
	if err := p.readRecord(ctx, client); err != nil {
		return p, err
	}
	number := 0
	if !thorough {
		number = p.Partitions
	}
	found, err := findPartitions(ctx, client, prefix, number)
	if err != nil {
		return p, err
	}
	if p.Partitions == 0 && len(p.Damages) == 0 && len(found.keys) > 0 { // a node may have created it since
		if err := p.readRecord(ctx, client); err != nil {
			return p, err
		}
	}
	if p.Partitions == 0 {
		if err := p.restore(ctx, client, found); err != nil {
			return p, err
		}
	}
	for i := range p.Partitions {
		keys := store.KeysOf(prefix, p.Partitions, i)
		if found.keys[keys.Ledger] || found.keys[keys.Timers] {
			p.Existing = append(p.Existing, i)
		}
	}
	for _, other := range slices.Sorted(maps.Keys(found.sizes)) {
		if other != p.Partitions {
			p.damage(store.MixedPartitions, fmt.Sprintf("it has %d partitions, but also some of %d", p.Partitions, other))
		}
	}
	return p, nil
}

func (p *Prefix) damage(kind Kind, what string) {
	p.Damages = append(p.Damages, Damage{
		Partition: WholePrefix, Kind: kind, Subject: "prefix " + p.Name, What: what, Remedy: remedyOf(kind, store.RecordKey(p.Name)),
	})
}

// readRecord reads the number of partitions from the record, if it can be read.
func (p *Prefix) readRecord(ctx context.Context, client redis.UniversalClient) error {
	key := store.RecordKey(p.Name)
	text, err := client.Get(ctx, key).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil
	case isWrongType(err):
		p.damage(store.WrongType, "key "+key+" is not a string")
		return nil
	case err != nil:
		return reading(key, err)
	}
	record, err := store.ParseRecord(text)
	switch {
	case err != nil:
		p.damage(store.DamagedRecord, fmt.Sprintf("key %s: %v", key, err))
	case record.Layout != luascripts.Layout:
		return p.otherLayout(record.Layout)
	default:
		p.Partitions = record.Partitions
	}
	return nil
}

func (p *Prefix) otherLayout(layout int) error {
	return fmt.Errorf("%w: prefix %q is in layout %d, and this program reads %d: use the program that wrote it, or another prefix", ErrLayout, p.Name, layout, luascripts.Layout)
}

// restore determines the number of partitions without a record.
func (p *Prefix) restore(ctx context.Context, client redis.UniversalClient, found existing) error {
	record, sizes := store.RecordKey(p.Name), slices.Sorted(maps.Keys(found.sizes))
	switch {
	case len(sizes) == 1:
		p.Partitions = sizes[0]
		if len(p.Damages) == 0 {
			p.damage(store.DamagedRecord, fmt.Sprintf("key %s is missing; the partitions that exist are %d", record, p.Partitions))
		}
	case len(sizes) > 1:
		return fmt.Errorf("%w: prefix %q has partitions of different numbers (%v) and no record: restore key %s", ErrUnreadable, p.Name, sizes, record)
	case len(found.keys) > 0:
		return fmt.Errorf("%w: prefix %q has no record, and key %s exists, which does not say how many partitions there are: restore key %s",
			ErrUnreadable, p.Name, slices.Min(slices.Collect(maps.Keys(found.keys))), record)
	case len(p.Damages) > 0:
		return fmt.Errorf("%w: prefix %q: %s: restore key %s", ErrUnreadable, p.Name, p.Damages[0].What, record)
	default:
		if is, err := isLayout1(ctx, client, p.Name); err != nil || is {
			return errors.Join(err, p.otherLayout(1))
		}
	}
	return nil
}

// existing are the existing keys of partitions, whatever their number.
type existing struct {
	keys  map[string]bool
	sizes map[int]bool // numbers of partitions according to headers
}

// pipelined is the number of partitions that one pipeline checks.
const pipelined = 256

// findPartitions looks for each partition that a prefix can have, or can have under one
// number if that is not 0. Partitions under different numbers may have the same keys; the
// header then decides which one it is.
func findPartitions(ctx context.Context, client redis.UniversalClient, prefix string, number int) (existing, error) {
	found := existing{keys: make(map[string]bool), sizes: make(map[int]bool)}
	possible := make(map[store.Keys]bool)
	for n := 1; n <= store.MaxPartitions; n *= 2 {
		if number != 0 && n != number {
			continue
		}
		for i := range n {
			possible[store.KeysOf(prefix, n, i)] = true
		}
	}
	for some := range slices.Chunk(slices.Collect(maps.Keys(possible)), pipelined) {
		if err := found.look(ctx, client, prefix, some); err != nil {
			return found, err
		}
	}
	return found, nil
}

func (f *existing) look(ctx context.Context, client redis.UniversalClient, prefix string, all []store.Keys) error {
	pipe := client.Pipeline()
	sizes, texts, firsts := make([]*redis.IntCmd, len(all)), make([]*redis.SliceCmd, len(all)), make([]*redis.StringSliceCmd, len(all))
	for i, keys := range all {
		sizes[i] = pipe.HLen(ctx, keys.Ledger)
		texts[i] = pipe.HMGet(ctx, keys.Ledger, store.HeaderField, store.ControlField)
		firsts[i] = pipe.ZRange(ctx, keys.Timers, 0, 1)
	}
	_, _ = pipe.Exec(ctx) // each command carries its own error
	for i, keys := range all {
		noHash, noSet := isWrongType(texts[i].Err()), isWrongType(firsts[i].Err())
		for _, err := range []error{sizes[i].Err(), texts[i].Err(), firsts[i].Err()} {
			if err != nil && !isWrongType(err) {
				return reading(keys.Ledger, err)
			}
		}
		var header, control string
		if texts := texts[i].Val(); len(texts) == 2 {
			header, _ = texts[0].(string)
			control, _ = texts[1].(string)
		}
		fields, first := sizes[i].Val(), firsts[i].Val()
		// A node that creates a partition writes the sentinel, the control record, then
		// the header. A partition that was used also has the timer of a session.
		empty := fields == 0 || fields == 1 && control == store.EmptyControl
		if empty && !noHash && slices.Equal(first, []string{luascripts.Sentinel}) {
			continue
		}
		if fields > 0 || noHash {
			f.keys[keys.Ledger] = true
		}
		if len(first) > 0 || noSet {
			f.keys[keys.Timers] = true
		}
		// A header in another partition than its own is a damage of that partition.
		if h, err := store.ParseHeader(header); err == nil && h.Partitions > 0 && store.KeysOf(prefix, h.Partitions, h.Index) == keys {
			f.sizes[h.Partitions] = true
		}
	}
	return nil
}

// layout1Pages limits the search for keys of layout 1, which have no fixed names, to
// about 100,000 keys of a server.
const layout1Pages = 100

// isLayout1 reports whether the search finds keys of layout 1 under a prefix.
func isLayout1(ctx context.Context, client redis.UniversalClient, prefix string) (bool, error) {
	var found atomic.Bool
	scan := func(ctx context.Context, node redis.Cmdable) error {
		cursor := uint64(0)
		for range layout1Pages {
			keys, next, err := node.Scan(ctx, cursor, store.QuotePattern(prefix)+":{*}:books", pageSize).Result()
			if err != nil {
				return fmt.Errorf("looking for keys of layout 1 under %q: %w", prefix, err)
			}
			if len(keys) > 0 {
				found.Store(true)
			}
			if cursor = next; cursor == 0 || found.Load() {
				break
			}
		}
		return nil
	}
	if cluster, ok := client.(*redis.ClusterClient); ok {
		err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return scan(ctx, node) })
		return found.Load(), err
	}
	err := scan(ctx, client)
	return found.Load(), err
}
