package cli_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// With --json every command prints its answer with the expected fields, and exits with the
// same code as without.
func TestEveryAnswerAsJSON(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("BURSAR_REDIS_URL", server.URL())
	node := newNode(t, server)
	held := func(cost budget.Microcents, opts ...budget.ReserveOption) string {
		t.Helper()
		r, err := node.TryReserve(t.Context(), "acme", cost, opts...)
		if err != nil || r.Err() != nil {
			t.Fatal(r, err)
		}
		return r.ID.String()
	}
	must(t, "tenant", "ensure", "acme", "$10")
	open, settled, other := held(budget.Dollar), held(budget.Dollar), held(budget.Dollar)
	expired := held(budget.Cent, budget.WithHoldTTL(time.Millisecond))
	never := "acme." + strings.Repeat("0", 32)
	for _, c := range []struct {
		line string
		code int
		want string // the fields of each line
	}{
		{"tenant ensure globex $0", 0, "tenant outcome=created remaining=0"},
		{"tenant ensure globex $5", 0, "tenant outcome=exists remaining=0"},
		{"tenant show globex", 0, "tenant outcome=found granted=0 remaining reserved committed holds=0"},
		{"tenant show ghost", 1, "tenant outcome=missing_tenant"},
		{"tenant grant globex $1", 0, "tenant outcome=granted remaining=100000000"},
		{"tenant grant ghost $1", 1, "tenant outcome=missing_tenant"},
		{"tenant withdraw globex $1", 0, "tenant outcome=withdrawn remaining=0"},
		{"tenant withdraw globex $1", 1, "tenant outcome=insufficient remaining=0 required=100000000"},
		{"tenant withdraw ghost $1", 1, "tenant outcome=missing_tenant"},
		{"tenant watch globex --times 1", 0, "time tenant outcome=found granted remaining reserved committed holds"},
		{"tenant watch ghost --times 1", 0, "time tenant outcome=missing_tenant"},
		{"tenant list", 0, "tenant=acme outcome granted remaining reserved committed\ntenant=globex outcome=found granted=0 remaining reserved committed"},
		{"tenant tree acme", 0, "tenant=acme outcome=found granted remaining reserved committed"},
		{"tenant tree ghost", 1, "tenant=ghost outcome=missing_tenant"},
		{"reserve acme $1", 0, "outcome=reserved id remaining level=acme"},
		{"reserve globex $1", 1, "outcome=insufficient remaining=0 level=globex required=100000000"},
		{"reserve ghost $1", 1, "tenant outcome=missing_tenant"},
		{"commit " + settled + " $0", 0, "outcome=committed remaining level=acme actual=0"},
		{"commit " + settled + " $0", 1, "outcome=missing_reservation prior=committed"},
		{"commit " + never + " $0", 1, "outcome=missing_reservation"},
		{"commit " + open + " $1000", 1, "outcome=overrun remaining level=acme"},
		{"release " + other, 0, "outcome=released remaining level returned=100000000"},
		{"release " + other, 1, "outcome=missing_reservation prior=released"},
		{"release " + expired, 1, "outcome=missing_reservation prior=expired"},
		{"release " + never, 1, "outcome=missing_reservation"},
		{"lookup " + open, 0, "outcome=reserved amount at deadline"},
		{"lookup " + settled, 0, "outcome=committed amount=0 at"},
		{"lookup " + other, 0, "outcome=released amount at"},
		{"lookup " + expired, 0, "outcome=expired amount at"},
		{"lookup " + never, 1, "outcome=not_known"},
		{"verify", 0, "partitions=1 tenants=2 holds damages unnamed=0 unsettled"},
		{"verify --tenant ghost", 1, "tenant=ghost outcome=missing_tenant"},
		{"verify --tenant acme/ghost", 1, "tenant=acme/ghost outcome=missing_tenant"},
		{"inspect", 0, "subject facts records damages"},
		{"inspect acme", 0, "subject facts records damages"},
		{"inspect ghost", 1, ""},
		{"inspect " + open, 0, "subject facts records damages"},
		{"inspect --partition 0", 0, "subject facts records damages"},
		{"holds list --tenant globex", 0, ""},
		{"holds release " + never + " " + open, 1, "id outcome=missing_reservation\nid outcome=released remaining level returned"},
		{"tenant delete acme", 1, "tenant outcome=holds_open granted remaining reserved committed withdrawn=0 ended"},
		{"tenant delete acme --yes", 1, "tenant outcome=holds_open granted remaining reserved committed withdrawn=0 ended"},
		{"holds list", 0, "id held made deadline tenant node due=false"},
		{"tenant set globex --cap-hold $1 --threshold 50", 0, `tenant outcome=configured settings={"cap_hold":100000000,"thresholds":[50]}`},
		{"tenant set ghost --cap-hold $1", 1, "tenant=ghost outcome=missing_tenant"},
		{"tenant ensure initech $4 --overdraft $1 --cap-holds 1", 0, `tenant outcome=created remaining settings={"overdraft":100000000,"cap_holds":1}`},
		{"tenant ensure initech $4 --overdraft $2", 0, "tenant outcome=exists remaining"},
		{"tenant show initech", 0, `tenant outcome granted remaining reserved committed settings={"overdraft":100000000,"cap_holds":1} holds`},
		{"tenant list", 0, "tenant=acme outcome granted remaining reserved committed\ntenant=globex outcome granted remaining reserved committed settings\ntenant=initech outcome granted remaining reserved committed settings"},
		{"reserve globex $2", 1, "outcome=capped level=globex cap=hold cap_limit=100000000"},
		{"tenant ensure umbrella $4 --window day --carry all", 0, `tenant outcome=created remaining settings={"window":{"period":"day","zone":"UTC","amount":400000000,"carry":9223372036854775807}}`},
		{"tenant ensure hooli $4 --window day --dry-run", 0, "tenant=hooli outcome=created dry_run=true granted=400000000 settings boundaries"},
		{"tenant ensure umbrella $5 --dry-run", 0, "tenant outcome=exists dry_run=true granted=400000000 settings"},
		{"tenant show umbrella", 0, "tenant outcome granted remaining reserved committed settings epoch renews holds=0"},
		{"tenant show umbrella --epoch 2020-01-01", 1, ""},
		{"tenant watch umbrella --times 1", 0, "time tenant outcome granted remaining reserved committed settings epoch renews holds=0"},
		{"tenant tree umbrella", 0, "tenant outcome granted remaining reserved committed settings epoch renews"},
		{"tenant set umbrella --window 24h --carry 0", 2, ""},
		{"tenant set umbrella --window 24h --dry-run", 0, `tenant outcome=configured dry_run=true granted settings={"window":{"period":"24h","amount":400000000}} part_seconds=3600`},
		{"tenant set umbrella --carry none --dry-run", 0, "tenant outcome=configured dry_run=true granted settings boundaries"},
		{"tenant set umbrella --carry none", 0, `tenant outcome=configured settings={"window":{"period":"day","zone":"UTC","amount":400000000}}`},
		{"reserve umbrella $5", 1, "outcome=insufficient level=umbrella remaining required renews"},
		{"tenant set umbrella --window none", 0, "tenant outcome=configured settings={}"},
		{"tenant delete umbrella --yes", 0, "tenant outcome=deleted granted remaining reserved committed withdrawn ended=[]"},
		{"tenant freeze globex", 0, `tenant outcome=configured settings={"cap_hold":100000000,"thresholds":[50],"frozen":true}`},
		{"reserve globex $1", 1, "outcome=frozen level=globex"},
		{"tenant unfreeze globex", 0, `tenant outcome=configured settings={"cap_hold":100000000,"thresholds":[50]}`},
		{"tenant freeze ghost", 1, "tenant=ghost outcome=missing_tenant"},
		{"tenant unfreeze ghost", 1, "tenant=ghost outcome=missing_tenant"},
		{"tenant close ghost", 1, "tenant=ghost outcome=missing_tenant"},
		{"tenant close ghost --yes", 1, "tenant=ghost outcome=missing_tenant"},
		{"tenant close globex", 2, ""},
		{"tenant close globex --yes", 0, `tenant outcome=configured settings={"cap_hold":100000000,"thresholds":[50],"closed":true}`},
		{"tenant set globex --cap-hold none", 1, "tenant outcome=closed"},
		{"tenant unfreeze globex", 1, "tenant outcome=closed"},
		{"tenant grant globex $1", 1, "tenant outcome=closed"},
		{"reserve globex $1", 1, "outcome=closed level=globex"},
		{"tenant delete acme --yes --force", 0, "tenant outcome=deleted granted remaining=0 reserved=0 committed withdrawn ended"},
		{"tenant delete ghost", 1, "tenant outcome=missing_tenant"},
		{"tenant delete ghost --yes", 1, "tenant outcome=missing_tenant"},
		{"doctor", 0, "redis checks"},
		{"version", 0, "version go layout"},
	} {
		words := strings.Fields(c.line)
		code, stdout, stderr := bursar(t.Context(), append(words, "--json")...)
		if code != c.code {
			t.Errorf("%s: code %d, %s", c.line, code, stderr)
		}
		// The accounts of a partition are in no particular order.
		lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
		if c.line == "tenant list" {
			slices.Sort(lines)
		}
		if got := fieldsOf(t, strings.Join(lines, "\n"), c.want); got != inOrder(c.want) {
			t.Errorf("%s: %s\ngot  %s\nwant %s", c.line, stdout, got, inOrder(c.want))
		}
	}
}

// fieldsOf returns the names of the fields on each line, with the values that want has.
func fieldsOf(t *testing.T, text, want string) string {
	t.Helper()
	var lines []string
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line == "" {
			continue
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		wanted := strings.Fields(strings.Split(want+strings.Repeat("\n", i), "\n")[i])
		var fields []string
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if slices.ContainsFunc(wanted, func(w string) bool { return strings.HasPrefix(w, name+"=") }) {
				name += "=" + strings.Trim(string(object[name]), `"`)
			}
			fields = append(fields, name)
		}
		lines = append(lines, strings.Join(fields, " "))
	}
	return strings.Join(lines, "\n")
}

func inOrder(want string) string {
	if want == "" {
		return ""
	}
	lines := strings.Split(want, "\n")
	for i, line := range lines {
		fields := strings.Fields(line)
		slices.SortFunc(fields, func(a, b string) int {
			name := func(field string) string { n, _, _ := strings.Cut(field, "="); return n }
			return strings.Compare(name(a), name(b))
		})
		lines[i] = strings.Join(fields, " ")
	}
	return strings.Join(lines, "\n")
}

// A deletion that is not confirmed changes nothing, and prints what would be lost.
func TestDeletionNeedsYes(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("BURSAR_REDIS_URL", server.URL())
	must(t, "tenant", "ensure", "acme", "$50")
	must(t, "tenant", "ensure", "empty", "$0")
	id, _, _ := strings.Cut(must(t, "reserve", "acme", "$3"), "\n")
	must(t, "commit", id, "$1")
	must(t, "reserve", "acme", "$2")
	for line, want := range map[string]string{
		"acme --force":             "bursar: this would delete acme: granted $50.00, remaining $47.00, reserved $2.00, committed $1.00; add --yes to do it\n",
		"acme --force --yes=false": "bursar: this would delete acme: granted $50.00, remaining $47.00, reserved $2.00, committed $1.00; add --yes to do it\n",
		"empty":                    "bursar: this would delete empty: granted $0.00, remaining $0.00, reserved $0.00, committed $0.00; add --yes to do it\n",
		"empty --force --json":     "bursar: this would delete empty: granted $0.00, remaining $0.00, reserved $0.00, committed $0.00; add --yes to do it\n",
	} {
		code, stdout, stderr := bursar(t.Context(), append([]string{"tenant", "delete"}, strings.Fields(line)...)...)
		if code != exit.Usage || stdout.String() != "" || stderr.String() != want {
			t.Errorf("%s: code %d, %s%s; want %s", line, code, stdout, stderr, want)
		}
	}
	code, _, stderr := bursar(t.Context(), "tenant", "delete", "acme")
	if want := "bursar: acme has open holds of $2.00; see bursar holds list --tenant acme, settle them, or give --force\n"; code != exit.Refused || stderr.String() != want {
		t.Errorf("with open holds: code %d, %s", code, stderr)
	}
	node := newNode(t, server, coordinator.WithRepair(0, 0))
	if list, err := node.Holds(t.Context(), "acme"); err != nil || len(list.Holds) != 1 || list.Balance.Granted != 50*budget.Dollar {
		t.Errorf("afterwards there are %+v, %v", list, err)
	}
	if b, err := node.Balance(t.Context(), "empty"); err != nil || b.Outcome != budget.Found {
		t.Errorf("the empty one is %+v, %v", b, err)
	}
	must(t, "tenant", "delete", "empty", "--yes")
	must(t, "tenant", "delete", "--yes", "--force", "acme")
}
