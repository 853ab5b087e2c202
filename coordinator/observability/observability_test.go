package observability_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.yaml.in/yaml/v3"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// exported returns the series that a coordinator exports after exerciseInstruments: a map from
// the name of each series to the names of its labels.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	node, err := coordinator.New(t.Context(), server.Client(),
		coordinator.WithLogger(slog.New(slog.DiscardHandler)), coordinator.WithObservedTenants("acme"),
		coordinator.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))))
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close(context.Background())
	exerciseInstruments(t, node, server)

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := make(map[string][]string)
	for _, family := range families {
		names := []string{family.GetName()}
		if family.GetMetric()[0].GetHistogram() != nil {
			names = []string{family.GetName() + "_bucket", family.GetName() + "_sum", family.GetName() + "_count"}
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				for _, name := range names {
					series[name] = append(series[name], label.GetName())
				}
			}
		}
		for _, name := range names {
			series[name] = append(series[name], "job", "instance") // added by the scrape
			if strings.HasSuffix(name, "_bucket") {
				series[name] = append(series[name], "le")
			}
		}
	}
	delete(series, "target_info")
	return series
}

// exerciseInstruments runs operations and failures until every instrument has a value.
func exerciseInstruments(t *testing.T, node *coordinator.Coordinator, server *redistest.Server) {
	t.Helper()
	for _, tenant := range []budget.TenantID{"acme", "initech"} {
		if _, err := node.EnsureTenant(t.Context(), tenant, budget.Dollar); err != nil {
			t.Fatal(err)
		}
	}
	thresholds, err := budget.NewThresholds(2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Configure(t.Context(), "acme", budget.AtThresholds(1, 50), budget.InWindow(budget.Window{Period: budget.Month}),
		budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Day, Amount: budget.Dollar}, Thresholds: thresholds})); err != nil {
		t.Fatal(err)
	}
	crossed, err := node.TryReserve(t.Context(), "acme", 2*budget.Cent)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := node.Commit(t.Context(), crossed.ID, 2*budget.Cent); err != nil || s.Err() != nil {
		t.Fatal(s, err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = node.TryReserve(ctx, "acme", budget.Cent)
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	var unknown *coordinator.UnknownOutcomeError
	if !errors.As(err, &unknown) {
		t.Fatalf("a frozen Redis: %v", err)
	}
	if _, err := node.Lookup(t.Context(), unknown.ID); err != nil {
		t.Fatal(err)
	}
	const partitions = coordinator.DefaultPartitions
	of := func(tenant budget.TenantID) store.Keys {
		return store.KeysOf(store.DefaultPrefix, partitions, store.PartitionOf(tenant, partitions))
	}
	if of("acme") == of("initech") {
		t.Fatal("both tenants are in one partition")
	}
	server.Client().Del(t.Context(), of("initech").Ledger, of("acme").Timers)
	if _, err := node.TryReserve(t.Context(), "initech", budget.Cent); !errors.Is(err, coordinator.ErrGap) {
		t.Fatalf("a lost partition: %v", err)
	}
	if _, err := node.TryReserve(t.Context(), "acme", budget.Cent); err != nil {
		t.Fatalf("lost timers: %v", err)
	}
}

// query is a PromQL expression and its place: a variable, a panel or an alert.
type query struct{ where, expr string }

var (
	selectors   = regexp.MustCompile(`\{([^}]*)\}`)
	groupings   = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	comparisons = regexp.MustCompile(`([a-zA-Z_]+)\s*(?:=~|!~|!=|=)`)
	names       = regexp.MustCompile(`\bbursar_[a-z0-9_]+\b`)
)

// uses returns the series of a query, and the labels in its selectors and groupings.
func (q query) uses() (series, labels []string) {
	expr := q.expr
	for _, s := range selectors.FindAllStringSubmatch(expr, -1) {
		for _, l := range comparisons.FindAllStringSubmatch(s[1], -1) {
			labels = append(labels, l[1])
		}
	}
	expr = selectors.ReplaceAllString(expr, "")
	for _, g := range groupings.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			labels = append(labels, strings.TrimSpace(l))
		}
	}
	return names.FindAllString(groupings.ReplaceAllString(expr, ""), -1), labels
}

type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr string }

	Description string
	FieldConfig struct{ Defaults struct{ Unit string } }
}

type dashboard struct {
	Panels     []panel
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func board(t *testing.T) dashboard {
	t.Helper()
	var b dashboard
	if err := json.Unmarshal(read(t, "board.json"), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

type rule struct{ Alert, Expr string }

func alerts(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(read(t, "alerts.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	return file.Groups[0].Rules
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestExpressionsFitTheInstruments checks that every expression uses existing series and
// labels, and that the dashboard or an alert uses every instrument.
func TestExpressionsFitTheInstruments(t *testing.T) {
	t.Parallel()
	var queries []query
	shown := board(t)
	for _, v := range shown.Templating.List {
		if inner, is := strings.CutPrefix(v.Definition, "label_values("); is { // the last argument is a label
			i := strings.LastIndex(inner, ",")
			queries = append(queries, query{"variable " + v.Name, "sum by (" + strings.Trim(inner[i+1:], " )") + ") (" + inner[:i] + ")"})
		}
	}
	for _, p := range shown.Panels {
		for _, target := range p.Targets {
			queries = append(queries, query{"panel " + p.Title, target.Expr})
		}
	}
	for _, r := range alerts(t) {
		queries = append(queries, query{"alert " + r.Alert, r.Expr})
	}
	series, used := exported(t), make(map[string]bool)
	for _, q := range queries {
		of, labels := q.uses()
		if len(of) == 0 {
			t.Errorf("%s: %q uses none of Bursar's series", q.where, q.expr)
		}
		for _, name := range of {
			used[name] = true
			if series[name] == nil {
				t.Errorf("%s: there is no series %s", q.where, name)
			}
		}
		for _, label := range labels {
			if !slices.ContainsFunc(of, func(name string) bool { return slices.Contains(series[name], label) }) {
				t.Errorf("%s: none of %v has a label %s", q.where, of, label)
			}
		}
	}
	for name := range series {
		family := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !used[name] && !used[family+"_bucket"] && !used[family+"_count"] && !used[family+"_sum"] {
			t.Errorf("neither the dashboard nor an alert uses %s", name)
		}
	}
}

var outcomes = regexp.MustCompile(`bursar_outcome=~?"([^"]*)"`)

// TestOutcomesExist checks that selectors on bursar_outcome name existing outcomes: a
// misspelt one would match nothing.
func TestOutcomesExist(t *testing.T) {
	t.Parallel()
	var exprs []string
	for _, p := range board(t).Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	for _, r := range alerts(t) {
		exprs = append(exprs, r.Expr)
	}
	for _, expr := range exprs {
		for _, selector := range outcomes.FindAllStringSubmatch(expr, -1) {
			for name := range strings.SplitSeq(selector[1], "|") {
				var outcome budget.Outcome
				if err := outcome.UnmarshalText([]byte(name)); err != nil {
					t.Errorf("%s: %v", expr, err)
				}
			}
		}
	}
}

func TestDashboardLayout(t *testing.T) {
	t.Parallel()
	ids, taken := make(map[int]bool), make(map[string]string)
	for _, p := range board(t).Panels {
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("panel %q has the id %d, which is zero or not unique", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %q has no description or no targets", p.Title)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := fmt.Sprint(p.GridPos.X+x, ",", p.GridPos.Y+y)
				if other, is := taken[cell]; is || p.GridPos.X+x >= 24 {
					t.Fatalf("panel %q overlaps %q or is off the dashboard", p.Title, other)
				}
				taken[cell] = p.Title
			}
		}
	}
}

// TestAlertsAreExplained checks that each alert has a section in OPERATIONS.md, and each
// section an alert.
func TestAlertsAreExplained(t *testing.T) {
	t.Parallel()
	page := string(read(t, "../OPERATIONS.md"))
	explained := regexp.MustCompile(`(?m)^### (Bursar\w+)$`).FindAllStringSubmatch(page, -1)
	var sections, rules []string
	for _, s := range explained {
		sections = append(sections, s[1])
	}
	for _, r := range alerts(t) {
		rules = append(rules, r.Alert)
		if !strings.Contains(string(read(t, "alerts.yaml")), "OPERATIONS.md#"+strings.ToLower(r.Alert)) {
			t.Errorf("%s does not name its section", r.Alert)
		}
	}
	slices.Sort(sections)
	slices.Sort(rules)
	if !slices.Equal(sections, rules) || len(rules) == 0 {
		t.Errorf("alerts %v, sections %v", rules, sections)
	}
}

var money = regexp.MustCompile(`bursar_tenant_(granted|remaining|reserved|committed|ended)\b`)

// TestMoneyIsInDollars checks that panels convert the gauges, which are in microcents, to
// dollars (1e8 microcents).
func TestMoneyIsInDollars(t *testing.T) {
	t.Parallel()
	for _, p := range board(t).Panels {
		for _, target := range p.Targets {
			of := len(money.FindAllString(target.Expr, -1))
			if dollars := strings.HasSuffix(target.Expr, " / 1e8"); of == 1 && !dollars || of != 1 && dollars {
				t.Errorf("panel %q: %s is neither dollars nor a share", p.Title, target.Expr)
			}
			if of == 1 && p.FieldConfig.Defaults.Unit != "currencyUSD" {
				t.Errorf("panel %q shows dollars as %q", p.Title, p.FieldConfig.Defaults.Unit)
			}
		}
	}
}
