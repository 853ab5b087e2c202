package lane

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/internal/store"
)

// CloseSessions closes the sessions that the node has in Redis, so that a late command
// of the node finds a closed one. No call may be in flight, and no lane running. A
// session that is not closed goes by itself after 7 days.
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
	done := make(chan struct{})
	go func() {
		n.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		n.Die() // the lanes end with their next reply
		return Interrupted(ctx)
	}
	var errs []error
	for _, l := range lanes {
		errs = append(errs, l.closeErr)
	}
	return errors.Join(errs...)
}

func (l *Lane) closeCommand() []any {
	return l.command(&l.node.config.Scripts.Close, 2, nodeText(l.session.node), string(l.session.last[1:9]), l.session.header, l.node.clockText())
}

// closeReplied takes the reply to the close command.
func (l *Lane) closeReplied(reply string) {
	l.session.open = false
	if reply != store.WordClosed {
		l.closeErr = fmt.Errorf("partition %d: session of node %s not closed: Redis answered %.60q", l.index, store.HexID(l.session.node), reply)
	}
}

// closeFailed ends the closing if the error is not going to pass.
func (l *Lane) closeFailed(err error, f Failure) {
	if f == FailureRejected || f == FailureOutOfMemory {
		l.session.open = false
		l.closeErr = fmt.Errorf("partition %d: session of node %s not closed: %w", l.index, store.HexID(l.session.node), err)
	}
}
