package budget

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestOutcomesHaveNamesAndErrors(t *testing.T) {
	t.Parallel()
	var zero Outcome
	if zero != Unknown || zero.Err() == nil {
		t.Error("the zero outcome reads as success")
	}
	success := map[Outcome]bool{Reserved: true, Committed: true, Released: true, Found: true, Created: true, Exists: true, Granted: true, Withdrawn: true, Deleted: true}
	for o := Unknown; int(o) < len(outcomeNames); o++ {
		text, err := o.MarshalText()
		var back Outcome
		if err != nil || back.UnmarshalText(text) != nil || back != o || o.String() != string(text) {
			t.Errorf("%d is %q, %v, and back %d", o, text, err, back)
		}
		if (o.Err() == nil) != success[o] {
			t.Errorf("%s: error %v", o, o.Err())
		}
	}
	none := Outcome(len(outcomeNames))
	if _, err := none.MarshalText(); err == nil || none.Err() == nil || zero.UnmarshalText([]byte("granted!")) == nil {
		t.Error("an outcome that does not exist has a name or is success")
	}
}

func TestAuditNoticesEachTerm(t *testing.T) {
	t.Parallel()
	sound := func() HoldList {
		return HoldList{
			Outcome: Found,
			Balance: Balance{Outcome: Found, Granted: 100, Remaining: 60, Reserved: 30, Committed: 10},
			Holds:   []Hold{{ID: ids[0], Held: 10}, {ID: ids[1], Held: 20}},
		}
	}
	if err := sound().Audit(); err != nil {
		t.Fatal(err)
	}
	for name, corrupt := range map[string]func(*HoldList){
		"granted":        func(l *HoldList) { l.Balance.Granted++ },
		"remaining":      func(l *HoldList) { l.Balance.Remaining-- },
		"reserved":       func(l *HoldList) { l.Balance.Reserved++ },
		"committed":      func(l *HoldList) { l.Balance.Committed++ },
		"a hold":         func(l *HoldList) { l.Holds[0].Held++ },
		"a hold of none": func(l *HoldList) { l.Holds = append(l.Holds, Hold{ID: ids[2]}) },
		"a lost hold":    func(l *HoldList) { l.Holds = l.Holds[1:] },
		"an extra hold":  func(l *HoldList) { l.Holds = append(l.Holds, Hold{ID: ids[2], Held: 1}) },
		"reserved moved": func(l *HoldList) { l.Balance.Reserved++; l.Balance.Remaining-- },
		"an overflow":    func(l *HoldList) { l.Balance.Reserved, l.Balance.Committed = math.MaxInt64, math.MaxInt64 },
	} {
		l := sound()
		corrupt(&l)
		if l.Audit() == nil {
			t.Errorf("corrupting %s is not noticed", name)
		}
	}
}

func TestHoldTTLOption(t *testing.T) {
	t.Parallel()
	for _, ttl := range []time.Duration{0, time.Millisecond, time.Hour, MaxHoldTTL} {
		if o, err := Apply([]Option{WithHoldTTL(ttl)}); err != nil || !o.HasHoldTTL || o.HoldTTL != ttl {
			t.Errorf("%s: %+v, %v", ttl, o, err)
		}
	}
	for _, ttl := range []time.Duration{-1, time.Microsecond, MaxHoldTTL + time.Millisecond} {
		if _, err := Apply([]Option{WithHoldTTL(ttl)}); err == nil {
			t.Errorf("%s was accepted", ttl)
		}
	}
	if err := ValidateBudget("acme", -1); !errors.Is(err, ErrInvalidAmount) {
		t.Errorf("negative budget: %v", err)
	}
	if err := ValidateAdjustment("grant", "acme", 0); !errors.Is(err, ErrInvalidAmount) {
		t.Errorf("grant of nothing: %v", err)
	}
}
