package simredis

import (
	"cmp"
	"maps"
	"slices"
)

// Store is the data of a server: hashes, sorted sets and strings by their keys. Only a
// Server changes it, apart from the methods for faults.
type Store struct {
	hashes map[string]map[string]string
	sets   map[string]*sortedSet
	texts  map[string]string
	// deleted has the last values of deleted fields, for checks. Redis keeps none.
	deleted map[string]map[string]string
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{
		hashes: make(map[string]map[string]string), sets: make(map[string]*sortedSet),
		texts: make(map[string]string), deleted: make(map[string]map[string]string),
	}
}

// Clone returns a copy of the store, such as a replica or a snapshot has.
func (s *Store) Clone() *Store {
	c := &Store{
		hashes:  make(map[string]map[string]string, len(s.hashes)),
		sets:    make(map[string]*sortedSet, len(s.sets)),
		texts:   maps.Clone(s.texts),
		deleted: make(map[string]map[string]string, len(s.deleted)),
	}
	for key, hash := range s.hashes {
		c.hashes[key] = maps.Clone(hash)
	}
	for key, hash := range s.deleted {
		c.deleted[key] = maps.Clone(hash)
	}
	for key, set := range s.sets {
		c.sets[key] = &sortedSet{members: slices.Clone(set.members)}
	}
	return c
}

// Hash returns the fields of a hash, which must not be changed.
func (s *Store) Hash(key string) map[string]string { return s.hashes[key] }

// Members returns the members of a sorted set with their scores, in order.
func (s *Store) Members(key string) (names []string, scores []float64) {
	set := s.sets[key]
	for i := range set.length() {
		names, scores = append(names, set.members[i].name), append(scores, set.members[i].score)
	}
	return names, scores
}

// Deleted returns the deleted fields of a hash with their last values.
func (s *Store) Deleted(key string) map[string]string { return s.deleted[key] }

// Keys returns the keys of all hashes, in order.
func (s *Store) Keys() []string { return slices.Sorted(maps.Keys(s.hashes)) }

// Set writes a field of a hash, as an operator or a fault would.
func (s *Store) Set(key, field, value string) { s.hash(key)[field] = value }

// Delete removes fields of a hash.
func (s *Store) Delete(key string, fields ...string) int64 {
	removed := int64(0)
	for _, field := range fields {
		if value, there := s.hashes[key][field]; there {
			delete(s.hashes[key], field)
			if s.deleted[key] == nil {
				s.deleted[key] = make(map[string]string)
			}
			s.deleted[key][field] = value
			removed++
		}
	}
	if len(s.hashes[key]) == 0 {
		delete(s.hashes, key)
	}
	return removed
}

// DeleteKey removes a key, as DEL and evictions do.
func (s *Store) DeleteKey(key string) {
	delete(s.hashes, key)
	delete(s.sets, key)
	delete(s.texts, key)
}

func (s *Store) hash(key string) map[string]string {
	hash, ok := s.hashes[key]
	if !ok {
		hash = make(map[string]string)
		s.hashes[key] = hash
	}
	return hash
}

func (s *Store) set(key string) *sortedSet {
	set, ok := s.sets[key]
	if !ok {
		set = &sortedSet{}
		s.sets[key] = set
	}
	return set
}

// sortedSet keeps its members in Redis' order: by score, then by name.
type sortedSet struct{ members []member }

type member struct {
	name  string
	score float64
}

func compareMembers(a, b member) int {
	return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.name, b.name))
}

func (z *sortedSet) length() int {
	if z == nil {
		return 0
	}
	return len(z.members)
}

func (z *sortedSet) find(name string) int {
	return slices.IndexFunc(z.members, func(m member) bool { return m.name == name })
}

// add inserts a member, and reports whether it is new.
func (z *sortedSet) add(name string, score float64, onlyNew bool) bool {
	at := z.find(name)
	if at >= 0 {
		if onlyNew {
			return false
		}
		z.members = slices.Delete(z.members, at, at+1)
	}
	m := member{name, score}
	place, _ := slices.BinarySearchFunc(z.members, m, compareMembers)
	z.members = slices.Insert(z.members, place, m)
	return at < 0
}

func (z *sortedSet) remove(name string) bool {
	at := z.find(name)
	if at < 0 {
		return false
	}
	z.members = slices.Delete(z.members, at, at+1)
	return true
}
