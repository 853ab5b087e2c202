package coordinator

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// printingHook records commands as text, as hooks that log or trace statements do.
type printingHook struct {
	mu    sync.Mutex
	texts []string
	shas  map[any]bool
}

func (h *printingHook) note(cmd redis.Cmder) {
	args := cmd.Args()
	asJSON, err := json.Marshal(args)
	texts := []string{cmd.String(), fmt.Sprint(args), string(asJSON)}
	for _, arg := range args {
		texts = append(texts, fmt.Sprint(arg), fmt.Sprintf("%v", arg))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		texts = append(texts, "0x: not JSON: "+err.Error())
	}
	h.texts = append(h.texts, texts...)
	if args[0] == "evalsha" {
		h.shas[args[1]] = true
	}
}

func (h *printingHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h *printingHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.note(cmd)
		err := next(ctx, cmd)
		h.note(cmd)
		return err
	}
}

func (h *printingHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			h.note(cmd)
		}
		return next(ctx, cmds)
	}
}

// A hook that prints statements sees the scripts' SHA, which is the same string in each
// process, and no pointer.
func TestHooksSeeArgumentsAsText(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	hook := &printingHook{shas: make(map[any]bool)}
	client := server.Client()
	client.AddHook(hook)
	c := node(t, client)
	for i := range 12 {
		ensure(t, c, numbered("tenant", i), 1000)
	}
	ensure(t, c, "acme", 1000)
	id := reserve(t, c, 10) // with the script's source
	reserve(t, c, 10)
	if s, err := c.Commit(t.Context(), id, 9); err != nil || s.Outcome != budget.Committed {
		t.Errorf("Commit: %+v, %v", s, err)
	}
	if err := server.Pause(); err != nil { // calls made until it resumes share batches
		t.Fatal(err)
	}
	answered := make(chan error, 40)
	for i := range cap(answered) {
		go func() {
			_, err := c.TryReserve(context.Background(), numbered("tenant", i%12), 1)
			answered <- err
		}()
	}
	eventually(t, "all wait", func() bool { return c.node.InFlight() == int64(cap(answered)) })
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	for range cap(answered) {
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Holds(t.Context(), "acme"); err != nil {
		t.Error(err)
	}
	hook.mu.Lock()
	defer hook.mu.Unlock()
	for _, text := range hook.texts {
		if strings.Contains(text, "0xc0") || strings.Contains(text, "0x:") {
			t.Fatalf("a hook printed %.300q", text)
		}
	}
	if !hook.shas[c.scripts.Batch.SHA] {
		t.Errorf("the batch script's SHA %s is not among %v", c.scripts.Batch.SHA, hook.shas)
	}
	for sha := range hook.shas {
		if text, ok := sha.(string); !ok || len(text) != 40 {
			t.Errorf("evalsha of %v, a %T", sha, sha)
		}
	}
}
