package coordinator

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/coordinator/simredis"
	"github.com/calybris/bursar/luascripts"
)

// realTwin is a real Redis that is told all that the simulated one is told, and has to
// answer and to keep the same.
type realTwin struct {
	client  *redis.Client
	sources map[string]string // of the scripts, by SHA
	store   *simredis.Store   // that it was loaded with
	full    bool
	met     map[string]int // words of replies, and codes of operations
	apart   string         // the first difference
}

func newRealTwin(t *testing.T) *realTwin {
	t.Helper()
	r := &realTwin{client: redistest.Start(t).Client(), sources: make(map[string]string), met: make(map[string]int)}
	set := simShared().scripts
	for _, script := range []luascripts.Script{set.Batch, set.BatchShortOfMemory, set.Merge, set.Sweep, set.Open, set.Close} {
		r.sources[script.SHA] = script.Source
	}
	return r
}

func (r *realTwin) do(s *simulation, args []string) (any, error) {
	r.follow(s.server)
	reply, err := s.server.Do(args)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		return reply, err // they are sent as texts
	}
	theirs, theirErr := r.run(args, s.server.Now)
	if ours := said(reply, err); ours != said(theirs, theirErr) {
		r.differ("%.3000q is answered %q, by Redis %q", args, ours, said(theirs, theirErr))
	}
	text, _ := reply.(string)
	word, rest, _ := strings.Cut(text, " ")
	r.met[word]++
	if word == luascripts.Applied {
		codes, _, _ := strings.Cut(rest, " ")
		for _, code := range codes {
			r.met[string(code)]++
		}
	}
	for _, root := range simFamilies {
		r.compare(s.server.Store, layout.KeysOf(layout.DefaultPrefix, root), args)
	}
	return reply, err
}

func (r *realTwin) differ(format string, args ...any) {
	if r.apart == "" {
		r.apart = fmt.Sprintf(format, args...)
	}
}

// said is a reply as a text; of an error its first word, since scripts have no names
// in the simulation.
func said(reply any, err error) string {
	if err != nil && !errors.Is(err, redis.Nil) {
		word, _, _ := strings.Cut(err.Error(), " ")
		return "error " + word
	}
	return fmt.Sprint(reply)
}

// run runs a command at the simulation's time. Redis has no other clock than its own,
// so the time is written into the script.
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

// follow takes over what happened to the simulated server beside commands.
func (r *realTwin) follow(server *simredis.Server) {
	ctx := context.Background()
	if r.full != server.Full {
		r.full = server.Full
		r.client.ConfigSet(ctx, "maxmemory", map[bool]string{true: "1", false: "0"}[r.full])
	}
	if r.store == server.Store {
		return
	}
	r.store = server.Store
	r.client.ConfigSet(ctx, "maxmemory", "0")
	r.client.FlushAll(ctx)
	for _, root := range simFamilies {
		keys := layout.KeysOf(layout.DefaultPrefix, root)
		for field, value := range server.Store.Hash(keys.Books) {
			r.client.HSet(ctx, keys.Books, field, value)
		}
		names, scores := server.Store.Members(keys.Timers)
		for i, name := range names {
			r.client.ZAdd(ctx, keys.Timers, redis.Z{Score: scores[i], Member: name})
		}
	}
	if r.full {
		r.client.ConfigSet(ctx, "maxmemory", "1")
	}
}

func (r *realTwin) compare(store *simredis.Store, keys layout.Keys, args []string) {
	ctx := context.Background()
	books := r.client.HGetAll(ctx, keys.Books).Val()
	if ours := store.Hash(keys.Books); len(ours)+len(books) > 0 && !reflect.DeepEqual(ours, books) {
		r.differ("after %.3000q the books are %v, Redis has %v", args, ours, books)
	}
	var names []string
	var scores []float64
	for _, z := range r.client.ZRangeWithScores(ctx, keys.Timers, 0, -1).Val() {
		names, scores = append(names, z.Member.(string)), append(scores, z.Score)
	}
	ours, ourScores := store.Members(keys.Timers)
	if fmt.Sprint(ours, ourScores) != fmt.Sprint(names, scores) {
		r.differ("after %.3000q the timers are %v %v, Redis has %v %v", args, ours, ourScores, names, scores)
	}
}

// The simulated Redis is held to a real one: it answers and keeps the same.
func TestSimulatedRedisIsLikeRedis(t *testing.T) {
	t.Parallel()
	twin, server := newRealTwin(t), simredis.NewServer()
	for seed := range uint64(60) {
		for _, mode := range []simMode{{}, {failovers: true}, {failovers: true, quick: true}} {
			s := newSimulation(server, seed, mode, nil)
			s.twin = twin
			wrong := s.run()
			if len(wrong) > 0 || twin.apart != "" {
				t.Fatalf("seed %d: %s %v", seed, twin.apart, wrong)
			}
		}
	}
	for _, word := range strings.Fields("OPEN NOFAMILY APPLIED GAP NOSESSION EXPIRED STALE R I C L E e G W B M n c l x y K k m u i") {
		if twin.met[word] == 0 {
			t.Errorf("no reply had %s: %v", word, twin.met)
		}
	}
}
