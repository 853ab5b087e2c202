package bench

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/baseline"
	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/bench/workload"
	"github.com/calybris/bursar/coordinator/audit"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

// brief is a short run on the embedded Redis.
func brief() Config {
	c := Defaults()
	c.Nodes, c.Tenants, c.Concurrency = 2, 10, 8
	c.Duration = 200 * time.Millisecond
	return c
}

// counted is brief, but ends after a number of requests.
func counted(requests int64) Config {
	c := brief()
	c.Requests, c.Duration, c.Warmup = requests, time.Hour, 0
	return c
}

func TestRun(t *testing.T) {
	t.Parallel()
	result, err := Run(t.Context(), counted(1000))
	if err != nil {
		t.Fatal(err)
	}
	if !result.Conserved || result.Overspent != 0 || result.Cycles == 0 || result.InDoubt != 0 {
		t.Errorf("%+v", result)
	}
	settled := result.Outcomes["committed"] + result.Outcomes["released"]
	if settled != result.Cycles || result.Outcomes["reserved"] != settled+int64(result.OpenHolds) {
		t.Errorf("%d cycles, %d open holds, outcomes %v", result.Cycles, result.OpenHolds, result.Outcomes)
	}
	if result.Granted != result.Committed+result.Reserved+result.Remaining {
		t.Errorf("the sums do not keep the law: %+v", result.Books)
	}
	if result.Commit.P50 <= 0 || result.Reserve.P99 < result.Reserve.P50 || result.DecisionsPerSecond < result.CyclesPerSecond {
		t.Errorf("rates %f, %f, percentiles %+v %+v", result.CyclesPerSecond, result.DecisionsPerSecond, result.Reserve, result.Commit)
	}
}

func TestRunLocal(t *testing.T) {
	t.Parallel()
	c := counted(5000)
	c.Engine, c.Redis, c.Nodes = report.EngineLocal, "", 1
	result, err := Run(t.Context(), c)
	if err != nil || !result.Conserved || result.Cycles == 0 || result.Exhausted == 0 || result.Redis != "" {
		t.Errorf("%v: %+v", err, result)
	}
}

// Each budget covers exactly 20 of its 100 requests.
func TestRunToExhaustion(t *testing.T) {
	t.Parallel()
	const cost = 100*250 + 50*1000
	c := brief()
	c.Tenants, c.MaxOutput, c.Budget = 2, 50, 20*cost
	c.Trace, c.Duration = traceFile(t, strings.Repeat("t,100,50\n", 200)), 0
	result, err := Run(t.Context(), c)
	if err != nil || !result.Conserved || result.Cycles != 40 || result.Refused != 160 || result.Exhausted != 2 {
		t.Errorf("%v: %+v", err, result)
	}
	if result.Granted != 40*cost || result.Committed != 40*cost || result.Remaining != 0 {
		t.Errorf("granted %d, committed %d, remaining %d", result.Granted, result.Committed, result.Remaining)
	}
	if result.Outcomes["insufficient"] != 160 || result.Outcomes["committed"] != 40 {
		t.Errorf("outcomes %v", result.Outcomes)
	}
}

func traceFile(t *testing.T, lines string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "usage.csv")
	if err := os.WriteFile(name, []byte(workload.TraceHeader+"\n"+lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRunTraceOnce(t *testing.T) {
	t.Parallel()
	c := brief()
	c.Duration, c.Budget, c.MaxOutput = 0, budget.Dollar, 100
	c.Trace = traceFile(t, strings.Repeat("2023-11-16 18:17:03.9799600,4808,10\r\n", 299)+"2023-11-16 18:17:03.9799600,0,200")
	result, err := Run(t.Context(), c)
	if err != nil || result.Cycles != 300 || !result.Conserved || result.Reserved != 0 {
		t.Fatalf("%v: %+v", err, result)
	}
	if want := budget.Microcents(299*(4808*250+10*1000) + 200*1000); result.Committed != want {
		t.Errorf("committed %s, want %s", result.Committed, want)
	}
}

func TestRunWithBaselines(t *testing.T) {
	t.Parallel()
	c := counted(1000)
	c.Baselines = []string{"incr", "script"}
	result, err := Run(t.Context(), c)
	if err != nil || !result.Conserved || result.Rounds != defaultRounds {
		t.Fatalf("%v: %+v", err, result)
	}
	if len(result.Baselines) != 2 || result.Baselines[0].Name != "incr" || result.Baselines[1].Name != "script" {
		t.Fatalf("baselines %+v", result.Baselines)
	}
	for _, b := range result.Baselines {
		if b.OpsPerSecond <= 0 || b.PoolSize < 1 || b.Ratio != result.DecisionsPerSecond/b.OpsPerSecond {
			t.Errorf("%+v, ours %f", b, result.DecisionsPerSecond)
		}
	}
}

// meeting is a hook that delays each DECRBY of a key until enough GETs of it were answered,
// so that all of these see the same money.
type meeting struct {
	lookers int
	mu      sync.Mutex
	keys    map[string]*look
}

// look counts the GETs of a key.
type look struct {
	count  int
	enough chan struct{}
}

func (m *meeting) of(key string) *look {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys[key] == nil {
		m.keys[key] = &look{enough: make(chan struct{})}
	}
	return m.keys[key]
}

func (m *meeting) looked(key string) {
	l := m.of(key)
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.count++; l.count == m.lookers {
		close(l.enough)
	}
}

func (m *meeting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *meeting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (m *meeting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "decrby" {
			<-m.of(fmt.Sprint(cmd.Args()[1])).enough
		}
		err := next(ctx, cmd)
		if cmd.Name() == "get" && err == nil {
			m.looked(fmt.Sprint(cmd.Args()[1]))
		}
		return err
	}
}

// In the contention test on a real Redis, the baseline that reads before it takes overspends
// and the others never do, and all records match the workers' answers. More workers than a
// budget covers read it before one of them takes.
func TestContention(t *testing.T) {
	t.Parallel()
	const cost, covered, callers = 100*250 + 50*1000, 20, 128
	c := brief()
	c.Redis, c.Duration, c.Rounds, c.Baselines = redistest.Start(t).URL(), 0, 1, baseline.All
	c.Nodes, c.Concurrency, c.patience = 2, callers/2, time.Hour
	c.Tenants, c.MaxOutput, c.Budget, c.Trace = 2, 50, covered*cost, traceFile(t, strings.Repeat("t,100,50\n", 2*callers))
	met := &meeting{lookers: 1 + max(covered, contentionCovered), keys: make(map[string]*look)}
	c.meet = func(name string, node redis.UniversalClient) {
		if name == baseline.Check {
			node.AddHook(met)
		}
	}
	result, err := Run(t.Context(), c)
	if err != nil || !result.Conserved || len(result.Candidates) != 1+len(baseline.All) {
		t.Fatalf("%v: %+v", err, result)
	}
	for _, found := range result.Candidates {
		if !found.Decides {
			if found.Money.Kept || found.Race != nil {
				t.Errorf("%s has no books: %+v", found.Name, found)
			}
			continue
		}
		racy := found.Name == baseline.Check
		if !found.Money.Kept || found.Race == nil || (found.Race.Overspent > 0) != racy || (found.Money.Overspent > 0) != racy || found.Money.Drift != 0 {
			t.Errorf("%s: money %+v, in the race %+v", found.Name, found.Money, found.Race)
		}
		if !racy && found.Name != baseline.Watch && found.Race.Spent != found.Race.Granted {
			t.Errorf("%s: %d of %d were spent; a race ends when all is", found.Name, found.Race.Spent, found.Race.Granted)
		}
		if racy && (found.Race.Tenants != contentionTenantCount || found.Money.Tenants != c.Tenants+contentionTenantCount) {
			t.Errorf("%s: %d tenants overspent in the race, %d in all", found.Name, found.Race.Tenants, found.Money.Tenants)
		}
	}
}

// One stored amount at a time is corrupted during the run, which ends with exit code 1 and
// names the tenant.
func TestRunNoticesCorruption(t *testing.T) {
	t.Parallel()
	const victim = "tenant-7"
	for term, name := range []string{"granted", "remaining", "reserved", "committed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := brief()
			c.Duration = 50 * time.Millisecond
			c.tamper = func(a *target) error {
				return rewriteAccount(a, victim, func(terms []budget.Microcents) { terms[term]++ })
			}
			noticed(t, c, victim)
		})
	}
	t.Run("committed for remaining", func(t *testing.T) {
		t.Parallel()
		c := brief()
		c.Duration = 50 * time.Millisecond
		c.tamper = func(a *target) error {
			return rewriteAccount(a, victim, func(terms []budget.Microcents) { terms[1]++; terms[3]-- })
		}
		noticed(t, c, victim)
	})
	t.Run("a hold nobody made", func(t *testing.T) {
		t.Parallel()
		c := brief()
		c.Duration = 50 * time.Millisecond
		c.tamper = func(a *target) error {
			s, err := readAccount(a, victim)
			if err != nil {
				return err
			}
			hold := append([]byte{luascripts.HoldOpen}, make([]byte, luascripts.HoldBytes-1)...)
			hold[8] = 5                       // its amount
			copy(hold[9:15], s.record[36:42]) // the account's serial
			hold[33] = 1                      // it is of the tenant itself
			field := append([]byte{luascripts.FieldHold}, make([]byte, 16)...)
			return a.space.Client().HSet(context.Background(), s.ledger, field, append(hold, victim...)).Err()
		}
		noticed(t, c, victim)
	})
}

func noticed(t *testing.T, c Config, victim string) {
	t.Helper()
	result, err := Run(t.Context(), c)
	if exit.Code(err) != exit.Refused || !strings.Contains(fmt.Sprint(err), victim) {
		t.Errorf("code %d, %v; want code %d and %s", exit.Code(err), err, exit.Refused, victim)
	}
	if result.Conserved || result.BrokenAll != 1 || string(result.Broken[0].Tenant) != victim {
		t.Errorf("conserved %t, broken %+v", result.Conserved, result.Broken)
	}
}

// storedAccount is the record of an account as it is in its ledger.
type storedAccount struct {
	ledger, tenantSet string
	record            []byte
}

func readAccount(a *target, tenant budget.TenantID) (storedAccount, error) {
	found, err := audit.InspectTenant(context.Background(), a.space.Client(), a.prefix, tenant)
	if err != nil {
		return storedAccount{}, err
	}
	first := found.Records[0]
	tenantSet, errField := strconv.Unquote(first.Field)
	record, errRaw := hex.DecodeString(first.Raw)
	return storedAccount{first.Key, tenantSet, record}, errors.Join(errField, errRaw)
}

// rewriteAccount changes the amounts with which the record of an account begins.
func rewriteAccount(a *target, tenant budget.TenantID, edit func([]budget.Microcents)) error {
	s, err := readAccount(a, tenant)
	if err != nil {
		return err
	}
	terms := make([]budget.Microcents, 4)
	_, err = binary.Decode(s.record, binary.BigEndian, terms)
	edit(terms)
	_, errEncode := binary.Encode(s.record, binary.BigEndian, terms)
	return errors.Join(err, errEncode, a.space.Client().HSet(context.Background(), s.ledger, s.tenantSet, s.record).Err())
}

func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	c := brief()
	c.Duration = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(200*time.Millisecond, cancel)
	result, err := Run(ctx, c)
	if err != nil && !errors.Is(err, exit.ErrInterrupted) {
		t.Fatal(err)
	}
	if err == nil && (!result.Interrupted || !result.Conserved) {
		t.Errorf("%+v", result)
	}
	if _, err := Run(ctx, c); !errors.Is(err, exit.ErrInterrupted) {
		t.Errorf("a context that has ended: %v", err)
	}
}

func TestRunRefusesBadConfigs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		edit func(*Config)
		want string
	}{
		{"no node", func(c *Config) { c.Nodes = 0 }, "--nodes 0: give 1 to"},
		{"no tenant", func(c *Config) { c.Tenants = -1 }, "--tenants -1: give 1 to"},
		{"no caller", func(c *Config) { c.Concurrency = 0 }, "--concurrency 0"},
		{"too many callers", func(c *Config) { c.Nodes, c.Concurrency = 1000, 1000 }, "at most 100000 workers together"},
		{"no level", func(c *Config) { c.Levels = 0 }, "--levels 0: give 1 to 6"},
		{"seven levels", func(c *Config) { c.Levels = 7 }, "--levels 7: give 1 to 6"},
		{"no limit", func(c *Config) { c.Limits = 0 }, "--limits 0: give 1 to 5"},
		{"six limits", func(c *Config) { c.Limits = 6 }, "--limits 6: give 1 to 5"},
		{"a negative limit", func(c *Config) { c.LimitAmount = -1 }, "--limit-amount -$0.00000001: give more than $0.00"},
		{"no group", func(c *Config) { c.Levels, c.FanOut = 3, 0 }, "--fanout 0: give 1 to"},
		{"no time", func(c *Config) { c.Duration = 0 }, "--duration 0s"},
		{"negative time", func(c *Config) { c.Duration, c.Trace = -1, "x.csv" }, "--duration"},
		{"no output", func(c *Config) { c.MaxOutput = 0 }, "--max-output 0"},
		{"free of charge", func(c *Config) { c.InputPrice, c.OutputPrice = 0, 0 }, "prices of $0.00 and $0.00"},
		{"negative price", func(c *Config) { c.InputPrice = -1 }, "prices of -$0.00000001"},
		{"negative budget", func(c *Config) { c.Budget = -1 }, "--budget"},
		{"budgets beyond 64 bits", func(c *Config) { c.Budget = budget.MaxMicrocents }, "lower the prices, --budget or --tenants"},
		{"prices beyond 64 bits", func(c *Config) { c.InputPrice = budget.MaxMicrocents }, "lower the prices"},
		{"engine", func(c *Config) { c.Engine = "etcd" }, `--engine "etcd"`},
		{"local on Redis", func(c *Config) { c.Engine = report.EngineLocal }, "uses no Redis"},
		{"local on nodes", func(c *Config) { c.Engine, c.Redis = report.EngineLocal, "" }, "a single node"},
		{"local with baseline", func(c *Config) { c.Engine, c.Redis, c.Nodes, c.Baselines = report.EngineLocal, "", 1, []string{"incr"} }, "--baselines"},
		{"local with a prefix", func(c *Config) { c.Engine, c.Redis, c.Nodes, c.Prefix = report.EngineLocal, "", 1, "mine" }, "--prefix"},
		{"a prefix with a brace", func(c *Config) { c.Prefix = "mine{" }, "--prefix: key prefix"},
		{"a prefix that is too long", func(c *Config) { c.Prefix = strings.Repeat("m", 48) }, "give 1 to 47 bytes"},
		{"no partition", func(c *Config) { c.Partitions = -1 }, "--partitions -1: give a power of two from 1 to 1024"},
		{"partitions of no power of two", func(c *Config) { c.Partitions = 3 }, "--partitions 3"},
		{"too many partitions", func(c *Config) { c.Partitions = 2048 }, "--partitions 2048"},
		{"local with partitions", func(c *Config) { c.Engine, c.Redis, c.Nodes, c.Partitions = report.EngineLocal, "", 1, 4 }, "--partitions are of keys"},
		{"address", func(c *Config) { c.Redis = "localhost" }, "not a Redis address"},
	} {
		config := brief()
		c.edit(&config)
		result, err := Run(t.Context(), config)
		if exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: code %d, %v; want code %d, %q", c.name, exit.Code(err), err, exit.Usage, c.want)
		}
		if result.Rounds != 0 {
			t.Errorf("%s: it ran", c.name)
		}
	}
}

func TestBudgetsSpread(t *testing.T) {
	t.Parallel()
	c := Defaults()
	budgets, err := budgetsOf(c, 10)
	if err != nil || budgets[0] != 10 || budgets[len(budgets)-1] != 10<<26 || !slices.IsSorted(budgets) {
		t.Errorf("%v, %v", budgets, err)
	}
	c.Tenants = 1
	if budgets, err = budgetsOf(c, 10); err != nil || budgets[0] != 10<<26 {
		t.Errorf("a single tenant: %v, %v", budgets, err)
	}
	c.Tenants, c.Budget = 3, 7
	if budgets, err = budgetsOf(c, 10); err != nil || !slices.Equal(budgets, []budget.Microcents{7, 7, 7}) {
		t.Errorf("equal budgets: %v, %v", budgets, err)
	}
}

// A count ends the run after exactly as many requests over all rounds, at each pool size.
func TestRunEndsAfterItsRequests(t *testing.T) {
	t.Parallel()
	c := brief()
	c.Requests, c.Duration, c.Baselines = 1003, time.Hour, []string{baseline.Incr}
	played := func() (each int64) {
		result, err := Run(t.Context(), c)
		if err != nil || !result.Conserved || result.Interrupted {
			t.Errorf("%v: %+v", err, result)
		}
		all, pools := result.Outcomes["reserved"]+result.Outcomes["insufficient"], int64(len(result.Candidates[0].Pools))
		if all%pools != 0 {
			t.Errorf("%d requests of %d pool sizes", all, pools)
		}
		return all / pools
	}
	if got := played(); got != c.Requests {
		t.Errorf("played %d, want %d", got, c.Requests)
	}
	c.Requests, c.Trace = 400, traceFile(t, strings.Repeat("t,1,1\n", 300))
	if got := played(); got != 300 {
		t.Errorf("played %d of a trace of 300", got)
	}
}

func TestRunStorm(t *testing.T) {
	t.Parallel()
	c := counted(2000)
	c.Engine, c.Redis, c.Nodes, c.Workload = report.EngineLocal, "", 1, workload.Storm
	result, err := Run(t.Context(), c)
	if err != nil || !result.Conserved || result.Overspent != 0 {
		t.Fatalf("%v: %+v", err, result)
	}
	if reserved := result.Outcomes[budget.Reserved.String()]; result.Refused < reserved || result.Exhausted != c.Tenants {
		t.Errorf("%d reserved, %d refused, %d of %d tenants exhausted: no storm", reserved, result.Refused, result.Exhausted, c.Tenants)
	}
	if result.Workload.Name != workload.Storm || result.Workload.AbovePermille != c.Above {
		t.Errorf("workload %+v", result.Workload)
	}
}

// The timeline and the live view of a run agree with its sums.
func TestRunIsWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testRunIsWatched)
}

// inBubble is a run in a synctest bubble whose clock only hold times advance, so that no moment
// is empty on a busy machine. It has one worker, because the local engine waits for others
// by the clock.
func inBubble() Config {
	c := brief()
	c.Engine, c.Redis, c.Nodes, c.Concurrency, c.HoldTime = report.EngineLocal, "", 1, 1, 100*time.Microsecond
	return c
}

func testRunIsWatched(t *testing.T) {
	c := inBubble()
	c.Duration, c.Warmup = 700*time.Millisecond, 300*time.Millisecond
	var seen []report.Progress
	c.Watch = func(p report.Progress) { seen = append(seen, p) }
	result, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) < 2 || len(seen) > 5 || seen[0].Phase != "local, warm-up" || seen[len(seen)-1].Phase != "local" {
		t.Fatalf("%+v", seen)
	}
	for i, p := range seen {
		if p.Rate <= 0 || p.P99 != 0 || p.Decisions <= 0 || p.Elapsed <= 0 || p.Left > time.Second || i > 0 && p.Decisions <= seen[i-1].Decisions {
			t.Errorf("%+v", p)
		}
	}
	var decisions, seconds float64
	for i, m := range result.Timeline {
		took := 2 * (m.Seconds - seconds) // its middle is half of it after the last one's end
		decisions += m.DecisionsPerSecond * took
		if seconds += took; m.Seconds > result.Seconds+0.1 || i > 0 && m.Seconds <= result.Timeline[i-1].Seconds {
			t.Errorf("moment %d: %+v", i, m)
		}
	}
	all := float64(0)
	for _, count := range result.Outcomes {
		all += float64(count)
	}
	if decisions < 0.98*all || decisions > 1.02*all {
		t.Errorf("the moments have %.0f decisions, the run %.0f", decisions, all)
	}
	if len(result.Drains) == 0 {
		t.Error("no drain, though tenants ran out")
	}
}

// The report describes the machine and the server.
func TestRunReportsItsSurroundings(t *testing.T) {
	t.Parallel()
	c := brief()
	c.Duration /= 4
	embedded, err := Run(t.Context(), c)
	if err != nil || embedded.Machine != report.DescribeMachine() || embedded.Server == nil || embedded.Server.Mode != report.ModeEmbedded {
		t.Errorf("%v: %+v, %+v", err, embedded.Machine, embedded.Server)
	}
	c.Engine, c.Redis, c.Nodes = report.EngineLocal, "", 1
	if local, err := Run(t.Context(), c); err != nil || local.Server != nil {
		t.Errorf("%v: %+v", err, local.Server)
	}
}
