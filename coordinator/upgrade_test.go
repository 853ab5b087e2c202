package coordinator

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// previous makes a node run the scripts that the commit before this one had, and
// speak to them as they expect: a hook puts their text in place of today's, and lays
// the arguments out as theirs.
type previous struct {
	sources map[string]string // by the SHA and by the text of today's script
	mu      sync.Mutex
	ran     map[string]int
}

func newPrevious(t *testing.T) *previous {
	t.Helper()
	p := &previous{sources: make(map[string]string), ran: make(map[string]int)}
	today := luascripts.Compose(luascripts.Redis, luascripts.Known)
	for name, script := range map[string]luascripts.Script{
		"batch": today.Batch, "batch-short": today.BatchShortOfMemory, "merge": today.Merge, "sweep": today.Sweep,
		"open": today.Open, "close": today.Close, "holds": today.Holds,
	} {
		text, err := os.ReadFile(filepath.Join("testdata", "layout-1", name+".lua"))
		if err != nil {
			t.Fatal(err)
		}
		if string(text) == script.Source && name == "batch" {
			t.Fatalf("%s is today's: nothing is tested", name)
		}
		p.sources[script.SHA], p.sources[script.Source] = string(text), string(text)
	}
	return p
}

func (p *previous) DialHook(next redis.DialHook) redis.DialHook { return next }

func (p *previous) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		sent := make([]redis.Cmder, len(cmds))
		for i, cmd := range cmds {
			sent[i] = p.translate(ctx, cmd)
		}
		err := next(ctx, sent)
		for i, cmd := range cmds {
			give(cmd, sent[i])
		}
		return err
	}
}

func (p *previous) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		sent := p.translate(ctx, cmd)
		err := next(ctx, sent)
		give(cmd, sent)
		return err
	}
}

// translate returns the command as the previous program would have sent it.
func (p *previous) translate(ctx context.Context, cmd redis.Cmder) redis.Cmder {
	ours, isOurs := cmd.(*command)
	if !isOurs {
		return cmd
	}
	var words []any
	for _, arg := range ours.Args() {
		if text, isText := arg.(*string); isText {
			arg = *text
		}
		words = append(words, arg)
	}
	body, _ := words[1].(string)
	source, isScript := p.sources[body]
	if !isScript {
		return cmd
	}
	words[0], words[1] = "eval", source
	if strings.Contains(source, "-- batch: applies") {
		p.mu.Lock()
		p.ran["batch"]++
		p.mu.Unlock()
		words = append(words[:commandPrefix:commandPrefix], previousBatch(words[commandPrefix:])...)
	}
	return newCommand(ctx, words)
}

// previousBatch lays out the arguments of one family's batch.
func previousBatch(arguments []any) []any {
	args := make([]any, len(arguments))
	for i, arg := range arguments {
		args[i] = fmt.Sprint(arg)
	}
	word := func(i int) string { return args[i].(string) }
	node, clock, ttl, retention, retained, most := args[0], args[1], args[2], args[3], args[4], args[5]
	since, behind := any(""), any("")
	own := args[6:]
	if strings.HasPrefix(word(7), "-") || !strings.Contains(word(7), " ") { // of a merge
		since, behind, own = args[6], args[7], args[8:]
	}
	family, session, until := own[1], own[2], own[4]
	number, digest, _ := strings.Cut(own[3].(string), " ")
	counts, _ := strconv.Atoi(own[5].(string))
	accounts, settles := counts>>countBits, counts&(1<<countBits-1)
	kinds := own[6].(string)
	of := strings.Repeat("0", len(kinds))
	if accounts > 1 {
		kinds, of = kinds[:len(kinds)/2], kinds[len(kinds)/2:]
	}
	all := []any{
		family, node, session, number, digest, clock, ttl, strconv.Itoa(accounts), strconv.Itoa(settles),
		kinds, of, retention, retained, until, most, since, behind,
	}
	all = append(all, own[7:]...)
	return slices.Insert(all, 0, any(strconv.Itoa(len(all))))
}

// give hands the answer to who waits for it.
func give(cmd, sent redis.Cmder) {
	if ours, isOurs := cmd.(*command); isOurs && cmd != sent {
		value, err := sent.(*command).Result()
		ours.SetVal(value)
		ours.SetErr(err)
	}
}

// oldNode is a node of the previous program.
func oldNode(t *testing.T, server *redistest.Server, opts ...Option) (*Coordinator, *previous) {
	t.Helper()
	client := server.Client()
	p := newPrevious(t)
	client.AddHook(p)
	c := node(t, client, opts...)
	c.sharedCalls = false // the translation knows one family a call
	return c, p
}

// While a fleet is updated node by node, and when that is taken back, both programs
// are at work on the same families, each settling what the other has reserved.
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	const ttl = 300 * time.Millisecond
	before, p := oldNode(t, server, WithHoldTTL(ttl))
	ensure(t, before, "acme", 1_000_000)
	ensure(t, before, "acme/search", 1_000_000)
	after := node(t, server.Client(), WithHoldTTL(ttl))
	ensure(t, after, "new", 1_000_000)
	back, _ := oldNode(t, server, WithHoldTTL(ttl))

	var spent [3]budget.Microcents
	var wg sync.WaitGroup
	for i, pair := range [][2]*Coordinator{{before, after}, {after, back}, {back, before}} {
		wg.Go(func() {
			for round := range 150 {
				tenant := []budget.TenantID{"acme", "acme/search", "new"}[round%3]
				r, err := pair[0].TryReserve(t.Context(), tenant, 10)
				if err != nil || r.Outcome != budget.Reserved {
					t.Errorf("reserve: %+v, %v", r, err)
					return
				}
				var s budget.Settlement
				switch round % 4 {
				case 0:
					s, err = pair[1].Release(t.Context(), r.ID)
				case 1, 2:
					s, err = pair[1].Commit(t.Context(), r.ID, 7)
					spent[i] += 7
				default: // expires
				}
				if err != nil || s.Err() != nil && round%4 != 3 {
					t.Errorf("settle: %+v, %v", s, err)
					return
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(ttl) // the deadlines are Redis' own time
	for _, c := range []*Coordinator{before, after, back} {
		for _, tenant := range []budget.TenantID{"acme", "acme/search", "new"} {
			if _, err := c.Balance(t.Context(), tenant); err != nil {
				t.Error(err)
			}
		}
	}
	var committed budget.Microcents
	for tenant, list := range audit(t, server.Client()) {
		committed += list.Balance.Committed
		if list.Balance.Reserved != 0 {
			t.Errorf("%s: %+v", tenant, list.Balance)
		}
	}
	if total := spent[0] + spent[1] + spent[2]; committed != total {
		t.Errorf("committed %d, and %d was told", committed, total)
	}
	if p.ran["batch"] == 0 {
		t.Error("the previous program's script did not run")
	}
	// What the old program left is told by the new one, and the other way round.
	id := reserve(t, before, 5)
	if _, err := after.Commit(t.Context(), id, 3); err != nil {
		t.Fatal(err)
	}
	if s, err := back.Release(t.Context(), id); err != nil || s.Prior != budget.Committed {
		t.Errorf("%+v, %v", s, err)
	}
	if b, err := after.DeleteTenant(t.Context(), "acme/search"); err != nil || b.Outcome != budget.Deleted {
		t.Errorf("%+v, %v", b, err)
	}
	if r, err := before.TryReserve(t.Context(), "acme/search", 1); err != nil || r.Outcome != budget.MissingTenant {
		t.Errorf("after the deletion: %+v, %v", r, err)
	}
}

// A program of the next layout reads this one, and leaves a family in the layout that
// it has; this program refuses the next one.
func TestNextLayoutReadsThisOne(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := node(t, server.Client())
	ensure(t, c, "acme", 1000)
	next := node(t, server.Client(), func(cfg *config) {
		cfg.layouts = luascripts.Layouts{Oldest: luascripts.Known.Current, Current: luascripts.Known.Current + 1}
	})
	id := reserve(t, c, 10)
	if s, err := next.Commit(t.Context(), id, 4); err != nil || s.Outcome != budget.Committed {
		t.Errorf("the next program on this layout: %+v, %v", s, err)
	}
	reserve(t, next, 1)
	if text := server.Client().HGet(t.Context(), acmeBooks, "f").Val(); !strings.HasPrefix(text, "1 ") {
		t.Errorf("the family went to %q", text)
	}
	reserve(t, c, 1)
	audit(t, server.Client())

	ensure(t, next, "newer", 1000)
	if _, err := next.TryReserve(t.Context(), "newer", 1); err != nil {
		t.Error(err)
	}
	_, err := c.TryReserve(t.Context(), "newer", 1)
	wantErr(t, "this program on the next layout", err, ErrLayout)
	if !strings.Contains(err.Error(), "knows 1: upgrade") {
		t.Errorf("%v", err)
	}
}
