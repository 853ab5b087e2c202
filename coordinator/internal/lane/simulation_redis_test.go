package lane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/internal/simredis"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// realTwin is a real Redis that gets every command that the simulated one gets, and must
// reply and store the same.
type realTwin struct {
	client  *redis.Client
	sources map[string]string // of the scripts, by SHA
	loaded  map[int]*simredis.Store
	full    bool
	seen    map[string]int // words of replies, and codes of operations
	apart   string         // the first difference
}

func newRealTwin(t *testing.T) *realTwin {
	t.Helper()
	// A small hash is returned by one HSCAN, as by the simulated Redis if it has a twin.
	server := redistest.Start(t)
	r := &realTwin{client: server.Client(), sources: make(map[string]string), loaded: make(map[int]*simredis.Store), seen: make(map[string]int)}
	for _, name := range []string{"entries", "value"} {
		if err := r.client.ConfigSet(t.Context(), "hash-max-listpack-"+name, "100000").Err(); err != nil {
			t.Fatal(err)
		}
	}
	shipped, small := simScripts()
	for _, s := range []luascripts.Scripts{shipped, small} {
		for _, script := range []luascripts.Script{s.Batch, s.BatchLowMemory, s.Merge, s.Open, s.Close, s.Rebuild, s.Page} {
			r.sources[script.SHA] = script.Source
		}
	}
	return r
}

func (r *realTwin) do(s *simulation, p *simPartition, args []string) (any, error) {
	r.follow(s, p)
	reply, err := s.server.Do(args)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return reply, err // the real Redis gets sources
	}
	theirs, theirErr := r.run(args, s.server.Now)
	if ours, theirs := replyText(reply, err), replyText(theirs, theirErr); ours != theirs {
		r.differ("%.3000q is answered %q, by Redis %q", args, ours, theirs)
	}
	if text, _ := reply.(string); text != "" && text[0] == store.WordApplied && s.isBatch(&message{args: args}) {
		for _, code := range text[8 : 8+len((&message{args: args}).argv()[6])] {
			r.seen[string(code)]++
		}
	} else {
		word, _ := store.CutWord(text)
		r.seen[word]++
	}
	r.compare(p, args)
	return reply, err
}

func (r *realTwin) differ(format string, args ...any) {
	if r.apart == "" {
		r.apart = fmt.Sprintf(format, args...)
	}
}

// replyText returns a reply as text: for an error its first word, since scripts have no
// names in the simulation; for a list its sorted words, since hashes have no order.
func replyText(reply any, err error) string {
	if err != nil && !errors.Is(err, redis.Nil) {
		word, _, _ := strings.Cut(err.Error(), " ")
		return "error " + word
	}
	if list, is := reply.([]any); is {
		words := make([]string, len(list))
		for i, word := range list {
			words[i] = replyText(word, nil)
		}
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	return fmt.Sprint(reply)
}

// run runs a command at the simulation's time. Redis has only its own clock, so the time
// is written into the script.
func (r *realTwin) run(args []string, now int64) (any, error) {
	words := make([]any, len(args))
	for i, arg := range args {
		words[i] = arg
	}
	if args[0] == "evalsha" {
		words[1] = r.sources[args[1]]
	}
	if source, is := words[1].(string); is && strings.HasPrefix(args[0], "eval") {
		at := fmt.Sprintf("{ '%d', '%d' }", now/1000, now%1000*1000)
		words[0], words[1] = "eval", strings.Replace(source, "call('TIME')", at, 1)
	}
	return r.client.Do(context.Background(), words...).Result()
}

func (r *realTwin) reset() {
	clear(r.loaded)
	r.client.ConfigSet(context.Background(), "maxmemory", "0")
	r.client.FlushAll(context.Background())
	r.full = false
}

// follow applies the changes to the simulated server that were made without commands.
func (r *realTwin) follow(s *simulation, p *simPartition) {
	ctx := context.Background()
	if r.full != s.server.Full {
		r.full = s.server.Full
		r.client.ConfigSet(ctx, "maxmemory", map[bool]string{true: "1", false: "0"}[r.full])
	}
	if r.loaded[p.index] == p.store {
		return
	}
	r.loaded[p.index] = p.store
	r.client.ConfigSet(ctx, "maxmemory", "0")
	r.client.Del(ctx, p.keys.Ledger, p.keys.Timers)
	for field, value := range p.store.Hash(p.keys.Ledger) {
		r.client.HSet(ctx, p.keys.Ledger, field, value)
	}
	names, scores := p.store.Members(p.keys.Timers)
	for i, name := range names {
		r.client.ZAdd(ctx, p.keys.Timers, redis.Z{Score: scores[i], Member: name})
	}
	if r.full {
		r.client.ConfigSet(ctx, "maxmemory", "1")
	}
}

func (r *realTwin) compare(p *simPartition, args []string) {
	ctx := context.Background()
	ledger := r.client.HGetAll(ctx, p.keys.Ledger).Val()
	if ours := p.store.Hash(p.keys.Ledger); !maps.Equal(ours, ledger) {
		r.differ("after %.3000q the ledger is %q, Redis has %q", args, ours, ledger)
	}
	var names []string
	var scores []float64
	for _, z := range r.client.ZRangeWithScores(ctx, p.keys.Timers, 0, -1).Val() {
		names, scores = append(names, z.Member.(string)), append(scores, z.Score)
	}
	ours, ourScores := p.store.Members(p.keys.Timers)
	if !slices.Equal(ours, names) || !slices.Equal(ourScores, scores) {
		r.differ("after %.3000q the timers are %q %v, Redis has %q %v", args, ours, ourScores, names, scores)
	}
}

// The simulated Redis must reply and store the same as a real one, in at least 30
// schedules of each mode, and until every word and code has occurred.
func TestSimulatedRedisIsLikeRedis(t *testing.T) {
	t.Parallel()
	twin, server := newRealTwin(t), simredis.NewServer()
	missing := strings.Fields("OPEN NOPARTITION GAP NOSESSION EXPIRED STALE CLONED CLOSED DONE R I C L O E e G W B Q M n c l x y K k m u i D F X T ! S z f p V N P j w U b Z g")
	for seed := uint64(0); seed < 30 || len(missing) > 0; seed++ {
		for _, mode := range simModes {
			s := newSimulation(server, seed, mode, nil)
			s.twin, server.ScanFields = twin, 1<<20
			twin.reset()
			wrong := s.run()
			if len(wrong) > 0 || twin.apart != "" {
				t.Fatalf("seed %d: %s %v", seed, twin.apart, wrong)
			}
		}
		missing = slices.DeleteFunc(missing, func(word string) bool { return twin.seen[word] > 0 })
		if seed == 300 {
			t.Fatalf("no reply had %s", missing)
		}
	}
}
