package simredis

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// call runs one command on the store. A reply is a string, an int64, nil, or a
// list of them.
func (s *Server) call(words []string) (any, error) {
	if len(words) < 2 && words[0] != "time" {
		return nil, fmt.Errorf("ERR wrong number of arguments for '%s' command", words[0])
	}
	store := s.Store
	switch words[0] {
	case "time":
		return []any{strconv.FormatInt(s.Now/1000, 10), strconv.FormatInt(s.Now%1000*1000, 10)}, nil
	case "get":
		if value, there := store.texts[words[1]]; there {
			return value, nil
		}
		return nil, nil //nolint:nilnil // nil is a reply
	case "setnx":
		if _, there := store.texts[words[1]]; there {
			return int64(0), nil
		}
		store.texts[words[1]] = words[2]
		return int64(1), nil
	case "hget":
		return field(store.hashes[words[1]], words[2]), nil
	case "hmget":
		hash, values := store.hashes[words[1]], make([]any, len(words)-2)
		for i, name := range words[2:] {
			values[i] = field(hash, name)
		}
		return values, nil
	case "hscan":
		return s.scan(words)
	case "hset":
		return store.write(words[1], words[2:])
	case "hsetnx":
		if _, there := store.hashes[words[1]][words[2]]; there {
			return int64(0), nil
		}
		return store.write(words[1], words[2:])
	case "hdel":
		return store.Delete(words[1], words[2:]...), nil
	case "zscore":
		return store.score(words[1], words[2]), nil
	case "zmscore":
		scores := make([]any, len(words)-2)
		for i, name := range words[2:] {
			scores[i] = store.score(words[1], name)
		}
		return scores, nil
	case "zadd":
		return store.addMembers(words[1], words[2:])
	case "zrem":
		return store.removeMembers(words[1], words[2:]), nil
	case "zrange":
		if len(words) != 5 || words[2] != "0" || words[3] != "0" || !strings.EqualFold(words[4], "withscores") {
			return nil, errors.New("ERR syntax error")
		}
		return store.rangeByScore([]string{"", words[1], "-inf", "+inf", "withscores", "limit", "0", "1"})
	case "zrangebyscore":
		return store.rangeByScore(words)
	default:
		return nil, fmt.Errorf("ERR unknown command '%s'", words[0])
	}
}

func field(hash map[string]string, name string) any {
	if value, there := hash[name]; there {
		return value
	}
	return nil
}

func (s *Store) score(key, name string) any {
	if set := s.sets[key]; set != nil {
		if at := set.find(name); at >= 0 {
			return score(set.members[at].score)
		}
	}
	return nil
}

func (s *Store) write(key string, pairs []string) (any, error) {
	if len(pairs) == 0 || len(pairs)%2 != 0 {
		return nil, errors.New("ERR wrong number of arguments for 'hset' command")
	}
	hash, added := s.hash(key), int64(0)
	for i := 0; i < len(pairs); i += 2 {
		if _, there := hash[pairs[i]]; !there {
			added++
		}
		hash[pairs[i]] = pairs[i+1]
	}
	return added, nil
}

func (s *Store) addMembers(key string, pairs []string) (any, error) {
	onlyNew := strings.EqualFold(pairs[0], "nx")
	if onlyNew {
		pairs = pairs[1:]
	}
	if len(pairs) == 0 || len(pairs)%2 != 0 {
		return nil, errors.New("ERR syntax error")
	}
	added := int64(0)
	for i := 0; i < len(pairs); i += 2 {
		score, _, err := bound(pairs[i])
		if err != nil {
			return nil, err
		}
		if s.set(key).add(pairs[i+1], score, onlyNew) {
			added++
		}
	}
	return added, nil
}

func (s *Store) removeMembers(key string, names []string) int64 {
	removed := int64(0)
	for _, name := range names {
		if set := s.sets[key]; set != nil && set.remove(name) {
			removed++
		}
	}
	return removed
}

func (s *Store) rangeByScore(words []string) (any, error) {
	from, fromOpen, err1 := bound(words[2])
	to, toOpen, err2 := bound(words[3])
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	withScores, limit := false, math.MaxInt
	for i := 4; i < len(words); i++ {
		switch strings.ToLower(words[i]) {
		case "withscores":
			withScores = true
		case "limit":
			n, err := strconv.Atoi(words[i+2])
			if err != nil || words[i+1] != "0" {
				return nil, errors.New("ERR value is not an integer or out of range")
			}
			limit, i = n, i+2
		}
	}
	found := []any{}
	if set := s.sets[words[1]]; set != nil {
		first, _ := slices.BinarySearchFunc(set.members, from, func(m member, from float64) int {
			if m.score < from || fromOpen && m.score == from {
				return -1
			}
			return 1
		})
		for _, m := range set.members[first:] {
			if m.score > to || toOpen && m.score == to || limit == 0 {
				break
			}
			limit--
			found = append(found, m.name)
			if withScores {
				found = append(found, score(m.score))
			}
		}
	}
	return found, nil
}

// bound reads a score, or an open bound of a range: "(5".
func bound(text string) (value float64, open bool, err error) {
	text, open = strings.CutPrefix(text, "(")
	value, err = strconv.ParseFloat(strings.TrimPrefix(text, "+"), 64) //nolint:forbidigo // a time, as Redis keeps scores
	if err != nil {
		return 0, false, errors.New("ERR min or max is not a float")
	}
	return value, open, nil
}

func score(value float64) string {
	if math.IsInf(value, 1) {
		return "inf"
	}
	return strconv.FormatFloat(value, 'f', -1, 64)
}
