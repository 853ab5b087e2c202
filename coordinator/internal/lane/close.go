package lane

import (
	"context"
	"fmt"

	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/wording"
)

// CloseSessions closes the node's sessions in Redis, so that a late command of the node
// finds a closed one. No call may be in flight, and no lane running. A session that is
// not closed expires after 7 days.
func (n *Node) CloseSessions(ctx context.Context) error {
	var lanes []*Lane
	for _, l := range n.lanes {
		l.mu.Lock()
		if l.session.open && !l.running && l.phase != lost {
			l.phase, l.running = closing, true
			n.running.Add(1)
			lanes = append(lanes, l)
		}
		l.mu.Unlock()
	}
	for _, l := range lanes {
		n.config.Wake(l, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, n.config.CallTimeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		n.running.Wait()
		close(done)
	}()
	var ended error
	select {
	case <-done:
	case <-ctx.Done():
		n.Die() // the lanes end with their next reply
		return openSessions(len(lanes), Interrupted(ctx))
	}
	left := 0
	for _, l := range lanes {
		if l.session.open || l.closeErr != nil {
			left, ended = left+1, l.closeErr
		}
	}
	if left == 0 {
		return nil
	}
	return openSessions(left, ended)
}

func openSessions(n int, err error) error {
	return fmt.Errorf("closing %s of the node, which expire after 7 days: %w", wording.Count(n, "session"), err)
}

func (l *Lane) closeCommand() []any {
	return l.command(&l.node.config.Scripts.Close, 2, nodeText(l.session.node), string(l.session.last[1:9]), l.session.header, l.node.clockText())
}

// closeReplied handles the reply to the close command.
func (l *Lane) closeReplied(reply string) {
	l.session.open, l.closeErr = false, nil
	switch word, _ := store.CutWord(reply); word {
	case store.WordClosed:
	case store.WordNoPartition, store.WordIncarnation: // the session is gone with its partition
	default:
		l.closeErr = fmt.Errorf("partition %d: session of node %s not closed: Redis answered %.60q", l.index, store.HexID(l.session.node), reply)
	}
}

// closeFailed records an error, and stops closing if a repeat is unlikely to help.
func (l *Lane) closeFailed(err error, f Failure) {
	l.closeErr = fmt.Errorf("partition %d: session of node %s not closed: %w", l.index, store.HexID(l.session.node), err)
	if f == FailureRejected || f == FailureUnknown {
		l.session.open = false
	}
}
