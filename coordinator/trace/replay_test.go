package trace_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/trace"
)

// scripted is an engine that returns fixed results and records the calls.
type scripted struct {
	budget.Engine // nil, since Replay calls only the methods below
	reservation   budget.Reservation
	settlement    budget.Settlement
	remainder     budget.Remainder
	err           error
	asked         []string
	settled       []budget.ReservationID
}

func (s *scripted) EnsureTenant(_ context.Context, tenant budget.TenantID, amount budget.Microcents, _ ...budget.Setting) (budget.Ensured, error) {
	s.asked = append(s.asked, fmt.Sprintf("ensure %s %d", tenant, amount))
	return budget.Ensured{Outcome: budget.Created, Remaining: amount}, s.err
}

func (s *scripted) TryReserve(_ context.Context, tenant budget.TenantID, cost budget.Microcents, _ ...budget.ReserveOption) (budget.Reservation, error) {
	s.asked = append(s.asked, fmt.Sprintf("reserve %s %d", tenant, cost))
	return s.reservation, s.err
}

func (s *scripted) Commit(_ context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	s.asked = append(s.asked, fmt.Sprintf("commit %d", actual))
	s.settled = append(s.settled, id)
	return s.settlement, s.err
}

func (s *scripted) Release(_ context.Context, id budget.ReservationID) (budget.Settlement, error) {
	s.asked = append(s.asked, "release")
	s.settled = append(s.settled, id)
	return s.settlement, s.err
}

func (s *scripted) Remaining(_ context.Context, tenant budget.TenantID) (budget.Remainder, error) {
	s.asked = append(s.asked, "remaining "+string(tenant))
	return s.remainder, s.err
}

// run replays lines and returns the differences as text.
func run(t *testing.T, engine budget.Engine, lines ...string) []string {
	t.Helper()
	parsed, err := trace.Parse("t.jsonl", strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	operations, differences, err := trace.Replay(t.Context(), engine, parsed)
	if err != nil || operations != len(lines) {
		t.Fatalf("got %d operations and error %v, want %d", operations, err, len(lines))
	}
	var texts []string
	for _, d := range differences {
		texts = append(texts, d.String())
	}
	return texts
}

const (
	ensureAcme  = `{"op":"ensure","tenant":"acme","budget":9007199254740993}`
	reserveFive = `{"op":"reserve","tenant":"acme","cost":5,"as":"r1","want":{"outcome":"reserved","remaining":7}}`
)

func TestReplayComparesEveryField(t *testing.T) {
	t.Parallel()
	id := budget.NewReservationID("acme", 1, 2)
	reserve := func(want string) string {
		return `{"op":"reserve","tenant":"acme","cost":5,"as":"r1","want":` + want + `}`
	}
	commit := func(want string) string { return `{"op":"commit","id":"r1","actual":3,"want":` + want + `}` }
	for name, c := range map[string]struct {
		engine scripted
		line   string
		want   []string
	}{
		"equal": {
			scripted{reservation: budget.Reservation{Outcome: budget.Reserved, ID: id, Remaining: 7}},
			reserve(`{"outcome":"reserved","remaining":7}`), nil,
		},
		"remaining": {
			scripted{reservation: budget.Reservation{Outcome: budget.Reserved, ID: id, Remaining: 7}},
			reserve(`{"outcome":"reserved","remaining":5}`),
			[]string{"t.jsonl:1: reserve acme: remaining: want 5, got 7"},
		},
		"outcome alone": {
			scripted{reservation: budget.Reservation{Outcome: budget.Insufficient, Remaining: 7, Required: 5}},
			reserve(`{"outcome":"reserved","remaining":7}`),
			[]string{"t.jsonl:1: reserve acme: outcome: want reserved, got insufficient"},
		},
		"required": {
			scripted{reservation: budget.Reservation{Outcome: budget.Insufficient, Remaining: 7, Required: 6}},
			reserve(`{"outcome":"insufficient","remaining":8,"required":5}`),
			[]string{"t.jsonl:1: reserve acme: remaining: want 8, got 7", "t.jsonl:1: reserve acme: required: want 5, got 6"},
		},
		"an amount too many": {
			scripted{reservation: budget.Reservation{Outcome: budget.Reserved, ID: id, Remaining: 7, Required: 5}},
			reserve(`{"outcome":"reserved","remaining":7}`),
			[]string{"t.jsonl:1: reserve acme: required: want nothing, got 5"},
		},
		"an amount too few": {
			scripted{reservation: budget.Reservation{Outcome: budget.Reserved, ID: id, Remaining: 7}},
			reserve(`{"outcome":"reserved","remaining":7,"returned":0}`),
			[]string{"t.jsonl:1: reserve acme: returned: want 0, got nothing"},
		},
		"no id": {
			scripted{reservation: budget.Reservation{Outcome: budget.Reserved, Remaining: 7}},
			reserve(`{"outcome":"reserved","remaining":7}`),
			[]string{`t.jsonl:1: reserve acme: id: want one of tenant "acme", got ""`},
		},
		"an id with a refusal": {
			scripted{reservation: budget.Reservation{Outcome: budget.MissingTenant, ID: id}},
			reserve(`{"outcome":"missing_tenant"}`),
			[]string{`t.jsonl:1: reserve acme: id: want none, got "acme.00000000000000010000000000000002"`},
		},
		"actual": {
			scripted{settlement: budget.Settlement{Outcome: budget.Committed, Remaining: 1 << 53, Actual: 4}},
			commit(`{"outcome":"committed","remaining":9007199254740993,"actual":3}`),
			[]string{"t.jsonl:1: commit r1: remaining: want 9007199254740993, got 9007199254740992", "t.jsonl:1: commit r1: actual: want 3, got 4"},
		},
		"unknown is never success": {
			scripted{}, commit(`{"outcome":"invalid_amount"}`),
			[]string{"t.jsonl:1: commit r1: outcome: want invalid_amount, got unknown"},
		},
		"returned": {
			scripted{settlement: budget.Settlement{Outcome: budget.Released, Remaining: 7, Returned: 4}},
			`{"op":"release","id":"r1","want":{"outcome":"released","remaining":7,"returned":5}}`,
			[]string{"t.jsonl:1: release r1: returned: want 5, got 4"},
		},
		"remaining of a tenant": {
			scripted{remainder: budget.Remainder{Outcome: budget.Found, Remaining: 0}},
			`{"op":"remaining","tenant":"acme","want":{"outcome":"found","remaining":1}}`,
			[]string{"t.jsonl:1: remaining acme: remaining: want 1, got 0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, run(t, &c.engine, c.line)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestReplayUsesReturnedIDs(t *testing.T) {
	t.Parallel()
	id := budget.NewReservationID("acme", 1, 2)
	engine := &scripted{
		reservation: budget.Reservation{Outcome: budget.Reserved, ID: id, Remaining: 7},
		settlement:  budget.Settlement{Outcome: budget.MissingReservation, Prior: budget.Committed},
	}
	release := func(name string) string {
		return `{"op":"release","id":"` + name + `","want":{"outcome":"missing_reservation"}}`
	}
	if texts := run(t, engine, ensureAcme, reserveFive, release("r1"), release("never1"), release("never2"), release("never1")); texts != nil {
		t.Errorf("differences %q, want none: a trace records no prior", texts)
	}
	if engine.settled[0] != id {
		t.Errorf("r1 was released as %s, want %s", engine.settled[0], id)
	}
	never := engine.settled[1:]
	if never[0] == id || never[0] == never[1] || never[0] != never[2] {
		t.Errorf("names without a reservation were released as %s; want a distinct id for each", never)
	}
	for _, unknown := range never {
		if err := unknown.Validate(); err != nil || unknown.Tenant() != "acme" {
			t.Errorf("an unknown id is %s (%v); want a valid one of the tenant that exists", unknown, err)
		}
	}
	want := []string{"ensure acme 9007199254740993", "reserve acme 5", "release", "release", "release", "release"}
	if diff := cmp.Diff(want, engine.asked); diff != "" {
		t.Errorf("asked: -want +got\n%s", diff)
	}
}

func TestReplayStopsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	gone := errors.New("redis is gone")
	for _, line := range []string{
		ensureAcme, reserveFive,
		`{"op":"commit","id":"r1","actual":3,"want":{"outcome":"invalid_amount"}}`,
		`{"op":"release","id":"r1","want":{"outcome":"missing_reservation"}}`,
		`{"op":"remaining","tenant":"acme","want":{"outcome":"missing_tenant"}}`,
	} {
		parsed, err := trace.Parse("t.jsonl", strings.NewReader(line+"\n"+line))
		if err != nil {
			t.Fatal(err)
		}
		operations, differences, err := trace.Replay(t.Context(), &scripted{err: gone}, parsed)
		if !errors.Is(err, gone) || operations != 0 || differences != nil || !strings.HasPrefix(err.Error(), "t.jsonl:1: ") {
			t.Errorf("%s: got %d operations, differences %v, error %v", line, operations, differences, err)
		}
	}
}
