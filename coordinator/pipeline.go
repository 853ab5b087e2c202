package coordinator

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A pipeline is what a shard's worker sends at once: commands of single lanes,
// and script calls that carry the batches of several families. The latter cost
// Redis about a fifth less a family; a Cluster has slots, and gets none of them.
// Each family's batch is admitted and written for itself, so that sharing a call
// is a matter of speed only.
type pipeline struct {
	groups []*group
	shared *group // the call that further batches may join
}

// A group is one command with the lanes that it carries for.
type group struct {
	lanes      []*lane
	args       [][]any
	operations int
	cmd        *command
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
	g := &group{lanes: []*lane{l}, args: [][]any{args}, operations: operations}
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
	cmds := make([]redis.Cmder, len(p.groups))
	for i, g := range p.groups {
		g.cmd = newCommand(c.ctx, g.merge())
		cmds[i] = g.cmd
	}
	return cmds
}

// merge makes one script call of the lanes' calls: all keys, then all arguments.
func (g *group) merge() []any {
	if len(g.lanes) == 1 {
		return g.args[0]
	}
	size := commandPrefix
	for _, args := range g.args {
		size += len(args)
	}
	first := g.args[0]
	merged := make([]any, 0, size)
	merged = append(merged, first[0], first[1], strconv.Itoa(2*len(g.lanes)))
	for _, args := range g.args {
		merged = append(merged, args[commandPrefix-2:commandPrefix]...)
	}
	header := g.lanes[0].pending.encoder.header
	merged = append(merged, first[commandPrefix:commandPrefix+header]...)
	for _, args := range g.args {
		merged = append(merged, args[commandPrefix+header:]...)
	}
	return merged
}

// distribute gives each lane its reply.
func (g *group) distribute(c *Coordinator) {
	value, err := g.cmd.reply()
	if len(g.lanes) == 1 {
		c.schedule(g.lanes[0], g.lanes[0].handle(value, err))
		return
	}
	replies, _ := value.([]any)
	if err == nil && len(replies) != len(g.lanes) {
		err = fmt.Errorf("unreadable reply: %d for %d families", len(replies), len(g.lanes))
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
