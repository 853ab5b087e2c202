package budgettest

import (
	"time"

	"github.com/calybris/bursar/coordinator/budget"
)

func lookupChecks() []check {
	return []check{
		{name: "the outcome of each reservation", ttl: holdTTL, run: lookupFates},
		{name: "an unknown reservation, or another tenant's", run: lookupNotKnown},
		{name: "settled reservations are forgotten after a day", ttl: holdTTL, run: lookupForgotten},
		{name: "the zero id is an error", run: lookupInvalidID},
	}
}

func lookupFates(x *fixture) {
	x.open("acme", exactFloat+100)
	made := x.clock.instant()
	open := x.hold("acme", 30, exactFloat+70, budget.WithHoldTTL(time.Hour))
	endless := x.hold("acme", exactFloat+1, 69, budget.WithHoldTTL(0))
	committedAt, committedAtZero := x.hold("acme", 10, 59), x.hold("acme", 9, 50)
	returned, expiring := x.hold("acme", 8, 42), x.hold("acme", 7, 35)
	x.advance(time.Second)
	expect(x, committed(24, 21))(x.engine.Commit(x.ctx, committedAt, 21))
	expect(x, committed(33, 0))(x.engine.Commit(x.ctx, committedAtZero, 0))
	expect(x, released(41, 8))(x.engine.Release(x.ctx, returned))
	ended := x.clock.instant()
	x.advance(holdTTL - time.Second)
	x.balance("acme", exactFloat+100, 48, exactFloat+31, 21)
	expired := x.clock.instant()
	x.advance(time.Minute)
	for range 2 {
		for id, want := range map[budget.ReservationID]budget.Fate{
			open:            {Outcome: budget.Reserved, Amount: 30, At: made, Deadline: made.Add(time.Hour)},
			endless:         {Outcome: budget.Reserved, Amount: exactFloat + 1, At: made},
			committedAt:     {Outcome: budget.Committed, Amount: 21, At: ended},
			committedAtZero: {Outcome: budget.Committed, Amount: 0, At: ended},
			returned:        {Outcome: budget.Released, Amount: 8, At: ended},
			expiring:        {Outcome: budget.Expired, Amount: 7, At: expired},
		} {
			expect(x, want)(x.engine.Lookup(x.ctx, id))
		}
	}
	x.balance("acme", exactFloat+100, 48, exactFloat+31, 21)
}

var notKnown = budget.Fate{Outcome: budget.NotKnown}

func lookupNotKnown(x *fixture) {
	x.open("acme", 100)
	x.open("acme/search", 100)
	id := x.hold("acme", 60, 40)
	hi, lo := id.Bits()
	for _, tenant := range []budget.TenantID{"acme/search", "acme/ghost", "ghost"} {
		expect(x, notKnown)(x.engine.Lookup(x.ctx, budget.NewReservationID(tenant, hi, lo)))
	}
	for _, tenant := range []budget.TenantID{"acme", "acme/search", "ghost"} {
		for _, id := range fabricated(tenant) {
			expect(x, notKnown)(x.engine.Lookup(x.ctx, id))
		}
	}
}

// lookupForgotten advances the clock by a day, which is longer than any retention.
func lookupForgotten(x *fixture) {
	x.open("acme", 100)
	settled, expiring, open := x.hold("acme", 10, 90), x.hold("acme", 20, 70), x.hold("acme", 30, 40, budget.WithHoldTTL(0))
	expect(x, committed(40, 10))(x.engine.Commit(x.ctx, settled, 10))
	x.advance(holdTTL)
	x.balance("acme", 100, 60, 30, 10)
	x.advance(24*time.Hour + time.Millisecond)
	expect(x, notKnown)(x.engine.Lookup(x.ctx, settled))
	expect(x, notKnown)(x.engine.Lookup(x.ctx, expiring))
	fate, err := x.engine.Lookup(x.ctx, open)
	if err != nil || fate.Outcome != budget.Reserved {
		x.t.Fatalf("an open hold after a day: %+v, %v", fate, err)
	}
}

func lookupInvalidID(x *fixture) {
	refused[budget.Fate](x, budget.ErrInvalidReservationID, "the zero id")(x.engine.Lookup(x.ctx, budget.ReservationID{}))
}
