package lane

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// carry sends the lane's commands to a real Redis until the lane is idle, and returns
// their number.
func carry(t *testing.T, client *redis.Client, l *Lane) (commands int) {
	t.Helper()
	for l.Continue() {
		args := l.Next()
		if args == nil {
			continue
		}
		commands++
		value, err := client.Do(t.Context(), args...).Result()
		r := Reply{Err: err, Failure: FailureRejected}
		r.Text, _ = value.(string)
		switch {
		case err == redis.Nil: //nolint:errorlint // go-redis returns it unwrapped
			r.Err = nil
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			r.Failure = FailureNoScript
		case err != nil:
			t.Fatal(err)
		}
		l.Handle(r)
	}
	return commands
}

// inOneBatch performs operations in one batch.
func inOneBatch(t *testing.T, n *Node, client *redis.Client, group ...*Call) []Answer {
	t.Helper()
	l := n.Lanes()[0]
	for _, c := range group {
		n.AdmitSettlement()
		if err := l.enqueue(c); err != nil {
			t.Fatal(err)
		}
	}
	if commands := carry(t, client, l); commands != 1 {
		t.Errorf("%d commands, want one batch", commands)
	}
	answers := make([]Answer, len(group))
	for i, c := range group {
		answers[i] = result(t, c)
	}
	return answers
}

func onRedis(t *testing.T, change func(*Config)) (*Node, *redis.Client) {
	t.Helper()
	client := redistest.Start(t).Client()
	n, _ := testNode(t, change)
	l := n.Lanes()[0]
	ask(t, n, l, luascripts.KindEnsure, 1000, budget.ReservationID{})
	carry(t, client, l)
	return n, client
}

// A batch may delete a tenant, create it again and use it, in this order. The id of a
// hold of the deleted tenant does not reach the new one.
func TestDeleteWithinABatch(t *testing.T) {
	t.Parallel()
	n, client := onRedis(t, nil)
	old := NewCall(luascripts.KindReserve, "acme", 5, budget.ReservationID{})
	inOneBatch(t, n, client, old)
	inOneBatch(t, n, client, NewCall(luascripts.KindRelease, "acme", 0, old.id))
	answers := inOneBatch(t, n, client,
		NewCall(luascripts.KindDelete, "acme", 0, budget.ReservationID{}), NewCall(luascripts.KindReserve, "acme", 1, budget.ReservationID{}),
		NewCall(luascripts.KindEnsure, "acme", 10, budget.ReservationID{}), NewCall(luascripts.KindReserve, "acme", 4, budget.ReservationID{}),
		NewCall(luascripts.KindDelete, "acme", 0, budget.ReservationID{}), NewCall(luascripts.KindBalance, "acme", 0, budget.ReservationID{}),
	)
	for i, want := range []budget.Outcome{budget.Deleted, budget.MissingTenant, budget.Created, budget.Reserved, budget.HoldsOpen, budget.Found} {
		if answers[i].Outcome != want {
			t.Errorf("operation %d: %+v, want %s", i+1, answers[i], want)
		}
	}
	want := budget.Balance{Outcome: budget.Found, Granted: 10, Remaining: 6, Reserved: 4}
	if got := answers[5].Balance; got == nil || *got != want {
		t.Errorf("balance %+v, want %+v", got, want)
	}
}

// If there are more reserves than room for holds, as many are granted as fit; a
// settlement makes room again, even within a batch.
func TestMaxHoldsWithinABatch(t *testing.T) {
	t.Parallel()
	n, client := onRedis(t, func(c *Config) { c.Store.MaxHolds = 50 })
	var group []*Call
	for range 80 {
		group = append(group, NewCall(luascripts.KindReserve, "acme", 1, budget.ReservationID{}))
	}
	granted := 0
	for _, a := range inOneBatch(t, n, client, group...) {
		if a.Outcome == budget.Reserved {
			granted++
		}
	}
	if granted != 50 {
		t.Errorf("%d of 80 were granted, want 50", granted)
	}
	answers := inOneBatch(t, n, client,
		NewCall(luascripts.KindRelease, "acme", 0, group[0].id),
		NewCall(luascripts.KindReserve, "acme", 1, budget.ReservationID{}), NewCall(luascripts.KindReserve, "acme", 1, budget.ReservationID{}))
	if answers[1].Outcome != budget.Reserved || answers[2].Err == nil {
		t.Errorf("after one release: %+v", answers)
	}
}
