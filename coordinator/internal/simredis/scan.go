package simredis

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// hash returns the position of a field in a scan.
func (s *Server) hash(name string) uint64 {
	d := xxhash.NewWithSeed(s.Seed)
	_, _ = d.WriteString(name)
	return d.Sum64()
}

// scan is HSCAN. Fields are returned in the order of their hashes, and a cursor is the
// hash of the last field that was returned, which is returned again: a field that exists
// throughout is returned at least once, as Redis promises, and may be returned twice.
func (s *Server) scan(words []string) (any, error) {
	cursor, err := strconv.ParseUint(words[2], 10, 64)
	pattern, count := "*", 10
	for i := 3; i+1 < len(words); i += 2 {
		switch strings.ToLower(words[i]) {
		case "match":
			pattern = words[i+1]
		case "count":
			var errCount error
			count, errCount = strconv.Atoi(words[i+1])
			err = errors.Join(err, errCount)
		default:
			return nil, errors.New("ERR syntax error")
		}
	}
	if err != nil || count < 1 {
		return nil, errors.New("ERR value is not an integer or out of range")
	}
	if s.ScanFields > 0 {
		count = s.ScanFields
	}
	hash := s.Store.hashes[words[1]]
	type entry struct {
		at   uint64
		name string
	}
	entries := make([]entry, 0, len(hash))
	for name := range hash {
		if at := max(s.hash(name), 1); at >= cursor {
			entries = append(entries, entry{at, name})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.name, b.name)) })
	next := "0"
	if n := max(count, 2); n < len(entries) {
		entries = entries[:n]
		if last := entries[n-1].at; last < math.MaxUint64 {
			next = strconv.FormatUint(last, 10)
		}
	}
	found := []any{}
	for _, e := range entries {
		matches, err := glob(pattern, e.name)
		if err != nil {
			return nil, err
		}
		if matches {
			found = append(found, e.name, hash[e.name])
		}
	}
	return []any{next, found}, nil
}
