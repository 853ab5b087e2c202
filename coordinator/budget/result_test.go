package budget

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
)

func TestOutcomesHaveNamesAndErrors(t *testing.T) {
	t.Parallel()
	var zero Outcome
	if zero != Unknown || zero.Err() == nil {
		t.Error("the zero outcome reads as success")
	}
	success := map[Outcome]bool{Reserved: true, Committed: true, Released: true, Found: true, Created: true, Exists: true, Granted: true, Withdrawn: true, Deleted: true, Configured: true}
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
		if o, err := Apply([]ReserveOption{WithHoldTTL(ttl)}); err != nil || !o.HasHoldTTL || o.HoldTTL != ttl {
			t.Errorf("%s: %+v, %v", ttl, o, err)
		}
	}
	for _, ttl := range []time.Duration{-1, time.Microsecond, MaxHoldTTL + time.Millisecond} {
		if _, err := Apply([]ReserveOption{WithHoldTTL(ttl)}); err == nil {
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

// TestResultsAsJSON checks that a field is present if and only if the outcome sets it, even
// if it is 0.
func TestResultsAsJSON(t *testing.T) {
	t.Parallel()
	made := time.UnixMilli(1_700_000_000_000).UTC()
	id := ids[0]
	for _, c := range []struct {
		result any
		want   string
	}{
		{Ensured{Outcome: Created}, `{"outcome":"created","remaining":0}`},
		{Ensured{Outcome: Exists, Remaining: 5}, `{"outcome":"exists","remaining":5}`},
		{Ensured{}, `{"outcome":"unknown"}`},
		{Reservation{Outcome: Reserved, ID: id}, `{"outcome":"reserved","id":"` + id.String() + `","remaining":0}`},
		{Reservation{Outcome: Insufficient, Required: 7}, `{"outcome":"insufficient","remaining":0,"required":7}`},
		{Reservation{Outcome: Insufficient, Required: 0}, `{"outcome":"insufficient","required":0}`},
		{Reservation{Outcome: Insufficient, Required: -1}, `{"outcome":"insufficient","required":-1}`},
		{Reservation{Outcome: Insufficient, Remaining: 3, Level: "acme", Required: 7}, `{"outcome":"insufficient","remaining":3,"level":"acme","required":7}`},
		{Reservation{Outcome: MissingTenant}, `{"outcome":"missing_tenant"}`},
		{Reservation{}, `{"outcome":"unknown"}`},
		{Reservation{Outcome: Capped, Level: "acme", Cap: HoldsCap, CapLimit: 2}, `{"outcome":"capped","level":"acme","cap":"holds","cap_limit":2}`},
		{Reservation{Outcome: Frozen, Level: "acme"}, `{"outcome":"frozen","level":"acme"}`},
		{Settlement{Outcome: Committed, Remaining: -5, Actual: 7, Shortfall: 3}, `{"outcome":"committed","remaining":-5,"actual":7,"shortfall":3}`},
		{Configuration{Outcome: Configured}, `{"outcome":"configured","settings":{}}`},
		{
			Configuration{Outcome: Configured, Settings: Settings{Overdraft: 1, CapHold: 2, CapReserved: 3, CapHolds: 4, Thresholds: thresholds(t, 50, 100), Frozen: true, Closed: true}},
			`{"outcome":"configured","settings":{"overdraft":1,"cap_hold":2,"cap_reserved":3,"cap_holds":4,"thresholds":[50,100],"frozen":true,"closed":true}}`,
		},
		{Configuration{Outcome: Closed}, `{"outcome":"closed"}`},
		{
			Balance{Outcome: Found, Granted: 4, Remaining: 2, Committed: 2, Settings: Settings{Thresholds: thresholds(t, 50, 51)}},
			`{"outcome":"found","granted":4,"remaining":2,"reserved":0,"committed":2,"settings":{"thresholds":[50,51]},"crossed":[50]}`,
		},
		{Settlement{Outcome: Committed}, `{"outcome":"committed","remaining":0,"actual":0}`},
		{Settlement{Outcome: Released, Remaining: 9, Returned: 2}, `{"outcome":"released","remaining":9,"returned":2}`},
		{Settlement{Outcome: Overrun}, `{"outcome":"overrun","remaining":0}`},
		{Settlement{Outcome: Released, Level: "acme/a", Returned: 2}, `{"outcome":"released","remaining":0,"level":"acme/a","returned":2}`},
		{Settlement{Outcome: InvalidAmount}, `{"outcome":"invalid_amount"}`},
		{Settlement{Outcome: MissingTenant}, `{"outcome":"missing_tenant"}`},
		{Settlement{Outcome: MissingReservation}, `{"outcome":"missing_reservation"}`},
		{Settlement{Outcome: MissingReservation, Prior: Expired}, `{"outcome":"missing_reservation","prior":"expired"}`},
		{Settlement{}, `{"outcome":"unknown"}`},
		{Adjustment{Outcome: Granted, Remaining: 1}, `{"outcome":"granted","remaining":1}`},
		{Adjustment{Outcome: Withdrawn}, `{"outcome":"withdrawn","remaining":0}`},
		{Adjustment{Outcome: Insufficient, Required: 3}, `{"outcome":"insufficient","remaining":0,"required":3}`},
		{Adjustment{Outcome: MissingTenant}, `{"outcome":"missing_tenant"}`},
		{Remainder{Outcome: Found}, `{"outcome":"found","remaining":0}`},
		{Remainder{Outcome: Found, Level: "acme"}, `{"outcome":"found","remaining":0,"level":"acme"}`},
		{Remainder{Outcome: MissingTenant}, `{"outcome":"missing_tenant"}`},
		{Balance{Outcome: Found, Granted: 1, Committed: 1}, `{"outcome":"found","granted":1,"remaining":0,"reserved":0,"committed":1}`},
		{Balance{Outcome: Deleted}, `{"outcome":"deleted","granted":0,"remaining":0,"reserved":0,"committed":0}`},
		{Balance{Outcome: HoldsOpen, Granted: 1, Reserved: 1}, `{"outcome":"holds_open","granted":1,"remaining":0,"reserved":1,"committed":0}`},
		{Balance{Outcome: MissingTenant}, `{"outcome":"missing_tenant"}`},
		{Fate{Outcome: Reserved, Amount: 4, At: made, Deadline: made}, `{"outcome":"reserved","amount":4,"at":"2023-11-14T22:13:20Z","deadline":"2023-11-14T22:13:20Z"}`},
		{Fate{Outcome: Committed, At: made}, `{"outcome":"committed","amount":0,"at":"2023-11-14T22:13:20Z"}`},
		{Fate{Outcome: NotKnown}, `{"outcome":"not_known"}`},
		{HoldList{Outcome: Found, Balance: Balance{Outcome: Found}}, `{"outcome":"found","balance":{"outcome":"found","granted":0,"remaining":0,"reserved":0,"committed":0},"holds":[]}`},
		{HoldList{Outcome: MissingTenant}, `{"outcome":"missing_tenant"}`},
	} {
		text, err := json.Marshal(c.result)
		if err != nil || string(text) != c.want {
			t.Errorf("%T is %s, %v; want %s", c.result, text, err, c.want)
			continue
		}
		back := reflect.New(reflect.TypeOf(c.result))
		if err := json.Unmarshal(text, back.Interface()); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		again, err := json.Marshal(back.Elem().Interface())
		if err != nil || string(again) != c.want {
			t.Errorf("%s comes back as %s, %v", text, again, err)
		}
	}
}
