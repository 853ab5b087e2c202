package coordinator

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/wording"
)

// A pipeline is what a shard's worker sends at once: commands of single lanes,
// and script calls that carry the batches of several families. The latter cost
// Redis about a fifth less a family; a Cluster has slots, and gets none of them.
// Each family's batch is admitted and written for itself, so that sharing a call
// is a matter of speed only.
type pipeline struct {
	flight
	groups []*group
	shared *group // the call that further batches may join
	// Memory that is used again: the lanes and the commands, and groups that were sent.
	lanes []*lane
	cmds  []redis.Cmder
	spare []*group
}

// A group is one command with the lanes that it carries for.
type group struct {
	lanes      []*lane
	args       [][]any
	merged     []any
	keys       keyCount
	operations int
	cmd        *command
}

// keyCount is the argument of a script call that says how many keys follow. go-redis asks
// it for its bytes when it writes the command, so it knows whether that was begun.
type keyCount struct {
	text    []byte
	written atomic.Bool
}

// MarshalBinary returns what go-redis writes.
func (k *keyCount) MarshalBinary() ([]byte, error) {
	k.written.Store(true)
	return k.text, nil
}

// MarshalText returns the text, for hooks that log as JSON.
func (k *keyCount) MarshalText() ([]byte, error) { return k.text, nil }

func (k *keyCount) String() string { return string(k.text) }

var pipelines sync.Pool

// clear makes the pipeline ready for the next commands.
func (p *pipeline) clear() {
	for _, g := range p.groups {
		clear(g.lanes)
		clear(g.args)
		clear(g.merged)
		*g = group{lanes: g.lanes[:0], args: g.args[:0], merged: g.merged[:0], keys: keyCount{text: g.keys.text[:0]}}
	}
	p.spare = append(p.spare, p.groups...)
	clear(p.cmds)
	clear(p.lanes)
	p.groups, p.cmds, p.lanes, p.shared = p.groups[:0], p.cmds[:0], p.lanes[:0], nil
}

// group returns an empty group.
func (p *pipeline) group() *group {
	if n := len(p.spare); n > 0 {
		g := p.spare[n-1]
		p.spare = p.spare[:n-1]
		return g
	}
	return new(group)
}

func (p *pipeline) add(c *Coordinator, l *lane, args []any) {
	batch := c.sharedCalls && l.sharesCall()
	operations := 0
	if batch {
		operations = len(l.pending.calls)
		if g := p.shared; g != nil && g.lanes[0].pending.header == l.pending.header && len(g.lanes) < lanesPerCall && g.operations+operations <= operationsPerCall {
			g.lanes, g.args = append(g.lanes, l), append(g.args, args)
			g.operations += operations
			return
		}
	}
	g := p.group()
	g.lanes, g.args, g.operations = append(g.lanes, l), append(g.args, args), operations
	p.groups = append(p.groups, g)
	if batch {
		p.shared = g
	}
}

// sharesCall: only plain batches go together, so that what a lane has to do
// differently concerns no other.
func (l *lane) sharesCall() bool {
	return l.step == stepBatch && l.pending != nil && !l.sweeping && !l.pending.short && !l.pending.repair && !l.useSource
}

func (p *pipeline) commands(c *Coordinator) []redis.Cmder {
	for _, g := range p.groups {
		g.cmd = newCommand(c.ctx, g.merge())
		p.cmds = append(p.cmds, g.cmd)
	}
	return p.cmds
}

// merge makes one script call of the lanes' calls: all keys, then all arguments.
func (g *group) merge() []any {
	first := g.args[0]
	if len(g.lanes) == 1 {
		if count, script := first[2].(string); script && isScript(first) {
			g.keys.text = append(g.keys.text, count...)
			first[2] = &g.keys
		}
		return first
	}
	g.keys.text = strconv.AppendInt(g.keys.text, int64(2*len(g.lanes)), 10)
	merged := append(g.merged, first[0], first[1], &g.keys)
	for _, args := range g.args {
		merged = append(merged, args[commandPrefix-2:commandPrefix]...)
	}
	header := g.lanes[0].pending.encoder.header
	merged = append(merged, first[commandPrefix:commandPrefix+header]...)
	for _, args := range g.args {
		merged = append(merged, args[commandPrefix+header:]...)
	}
	g.merged = merged
	return merged
}

// distribute gives each lane its reply.
func (g *group) distribute(c *Coordinator) {
	value, err := g.cmd.reply()
	if err != nil && len(g.keys.text) > 0 {
		err = &attemptError{err, g.keys.written.Load()}
	}
	if len(g.lanes) == 1 {
		c.schedule(g.lanes[0], g.lanes[0].handle(value, err))
		return
	}
	replies, _ := value.([]any)
	if err == nil && len(replies) != len(g.lanes) {
		err = unreadableReply(fmt.Sprintf("%d replies for %s: %v", len(replies), wording.Count(len(g.lanes), "family"), value))
	}
	for i, l := range g.lanes {
		switch {
		case err != nil && i > 0 && classify(err) == failureNoScript:
			c.schedule(l, firstBackoff) // the first lane takes the text along
		case err == nil:
			c.schedule(l, l.handle(unpackReply(replies[i])))
		default:
			c.schedule(l, l.handle(nil, err))
		}
	}
}

// scriptError is the error of one family in a call for several.
type scriptError string

func (e scriptError) Error() string { return string(e) }

// RedisError marks it as a reply of Redis.
func (scriptError) RedisError() {}

func unpackReply(reply any) (any, error) {
	text, _ := reply.(string)
	if message, failed := strings.CutPrefix(text, "ERROR "); failed {
		return nil, scriptError(message)
	}
	return text, nil
}
