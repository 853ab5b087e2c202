package report

import (
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
)

// Report is what a run came to. Its JSON form is the output of `bench --json`;
// fields are added to it, none is taken away.
type Report struct {
	Engine      string `json:"engine"`
	Redis       string `json:"redis,omitempty"`          // what it ran on, without a password
	Variable    string `json:"redis_variable,omitempty"` // that named it, if no flag did
	Partitions  int    `json:"partitions,omitempty"`     // of its keys
	Nodes       int    `json:"nodes"`
	Processes   bool   `json:"processes,omitempty"` // each node is a process of its own
	Tenants     int    `json:"tenants"`
	Concurrency int    `json:"concurrency"` // callers a node
	Seed        uint64 `json:"seed"`
	Trace       string `json:"trace,omitempty"`
	Interrupted bool   `json:"interrupted"` // by the user, before its time

	Began   time.Time `json:"began,omitzero"`    // by the clock of this machine
	Command string    `json:"command,omitempty"` // the command line, without a password

	Workload Workload `json:"workload"`
	Machine  Machine  `json:"machine"`
	Server   *Server  `json:"server,omitempty"` // nil without a Redis

	Cycles  int64   `json:"cycles"`  // reserves that were settled
	Seconds float64 `json:"seconds"` // of all rounds of ours
	// Rates are medians over the rounds.
	Rounds             int                 `json:"rounds"`
	CyclesPerSecond    float64             `json:"cycles_per_second"`
	DecisionsPerSecond float64             `json:"decisions_per_second"` // answers, refusals included
	Reserve            metrics.Percentiles `json:"reserve"`
	Commit             metrics.Percentiles `json:"commit"`
	Outcomes           map[string]int64    `json:"outcomes"` // answers by outcome; "unknown" counts calls without one

	Books
	Audited   bool       `json:"audited"`   // the balances could be read
	Conserved bool       `json:"conserved"` // and nothing is wrong with them
	Baselines []Baseline `json:"baselines,omitempty"`

	// Contenders are all that were measured in turns, ours first. Of a run without
	// others it is ours alone.
	Contenders []Contender      `json:"contenders,omitempty"`
	Timeline   []metrics.Moment `json:"timeline,omitempty"` // of ours
	Drains     []metrics.Drain  `json:"drains,omitempty"`   // of ours: how some tenants' budgets went
	Sweep      *Sweep           `json:"sweep,omitempty"`    // of `bench sweep`
}

// Workload says what was played.
type Workload struct {
	Name     string `json:"name"`     // hot, uniform, zipf, storm, trace
	Arrivals string `json:"arrivals"` // "closed": each caller's next request follows its last; "open": at a constant rate, or a trace's own
	// Offered is the rate of an open loop in requests a second; a request is a reserve
	// and its settlement. Of a trace it is the mean over its length at Speed.
	Offered       float64 `json:"offered_per_second,omitempty"`
	Unsent        int64   `json:"unsent,omitempty"`          // requests of an open loop that the end came before
	Speed         float64 `json:"speed,omitempty"`           // of a trace: 1 is its own pace; 0 as fast as possible
	ZipfExponent  float64 `json:"zipf_exponent,omitempty"`   //
	HoldMillis    float64 `json:"hold_millis,omitempty"`     // between a reserve and its settlement
	AbovePermille int     `json:"above_permille"`            // requests of a thousand that commit above their hold
	WarmupSeconds float64 `json:"warmup_seconds"`            // before each first round, not counted
	LatencyFrom   string  `json:"latency_from,omitempty"`    // "intended start" of an open loop, "call" of a closed one
	RequestsSaid  string  `json:"requests_origin,omitempty"` // where the requests come from, for people
}

// Machine is what it ran on.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	OS         string `json:"os"` // GOOS/GOARCH
	Go         string `json:"go"` // version
	GOMAXPROCS int    `json:"gomaxprocs"`
	GOGC       string `json:"gogc"`       // as the environment has it, "100" by default
	GOMEMLIMIT string `json:"gomemlimit"` // the same, "off" by default
	Version    string `json:"bursar"`     // of this program
}

// Server is the Redis behind a run.
type Server struct {
	Name     string            `json:"name,omitempty"` // Redis, Valkey
	Version  string            `json:"version"`
	Mode     string            `json:"mode"` // standalone, embedded
	Settings map[string]string `json:"settings,omitempty"`
}

// Baseline is a rival's best pool size, by the median of its rounds.
type Baseline struct {
	Name         string  `json:"name"`
	OpsPerSecond float64 `json:"ops_per_second"`
	Ratio        float64 `json:"ratio"`     // our decisions a second over its operations a second
	PoolSize     int     `json:"pool_size"` // connections a node
}

// Contender is one way of deciding about a budget, at its best pool size.
type Contender struct {
	Name     string `json:"name"`     // bursar, local, incr, script, watch, check
	Describe string `json:"describe"` // one line for people
	Decides  bool   `json:"decides"`  // false for INCR, which says yes to all

	DecisionsPerSecond metrics.Spread      `json:"decisions_per_second"`
	Rates              []float64           `json:"rates,omitempty"` // decisions a second, round by round; the best pool's
	Ratio              metrics.Spread      `json:"ratio"`           // our rate over its rate, round by round
	Decision           metrics.Percentiles `json:"decision"`        // latency of a decision, reserves and settlements together
	Quantiles          []metrics.Quantile  `json:"quantiles,omitempty"`
	Mean               float64             `json:"mean_us,omitempty"`         // of a decision's latency; 0 where it is not known
	Deviation          float64             `json:"deviation_us,omitempty"`    // standard deviation, the same
	RedisCPU           float64             `json:"redis_cpu_us_per_decision"` // of used_cpu_user + used_cpu_sys; the embedded Redis has none
	RoundTrips         float64             `json:"round_trips_per_decision"`  // writes to a connection that wait for an answer
	Commands           float64             `json:"redis_commands_per_decision"`
	PoolSize           int                 `json:"pool_size"` // connections a node, of the best one
	Pools              []Pool              `json:"pools,omitempty"`
	GivenUp            int64               `json:"given_up,omitempty"` // calls without an answer, because others came between in every attempt
	Money              Overspending        `json:"money"`              // in the rounds, and in the race after them
	Race               *Overspending       `json:"race,omitempty"`     // its part of the money: all callers at once for the last of it
}

// Pool is what a pool size came to.
type Pool struct {
	Size               int            `json:"size"`
	DecisionsPerSecond metrics.Spread `json:"decisions_per_second"`
}

// Overspending is read from the contender's own accounts.
type Overspending struct {
	Kept      bool              `json:"kept"`                 // there are accounts to read; INCR has none
	Granted   budget.Microcents `json:"granted_microcents"`   //
	Spent     budget.Microcents `json:"spent_microcents"`     // committed, and reserved by open holds
	Overspent budget.Microcents `json:"overspent_microcents"` // above the budget, over all tenants
	Tenants   int               `json:"overspent_tenants"`
	Drift     budget.Microcents `json:"drift_microcents"` // between the callers' answers and the accounts, absolute
}

// Sweep is how cost grows as work grows.
type Sweep struct {
	Over   string       `json:"over"` // concurrency, nodes, tenants, holds
	Runs   int          `json:"runs"` // of all points; Report.Rounds of each, unless interrupted
	Points []SweepPoint `json:"points"`
	Knee   *Knee        `json:"knee,omitempty"`  // nil if there is none, or the points do not tell
	Noisy  bool         `json:"noisy,omitempty"` // the rounds differ too much to name a knee
	Said   string       `json:"said"`            // what the points mean, for people
}

// SweepPoint is one value, in medians over the rounds.
type SweepPoint struct {
	Value              int                 `json:"value"` // of what is swept over
	DecisionsPerSecond metrics.Spread      `json:"decisions_per_second"`
	Rates              []float64           `json:"rates,omitempty"` // decisions a second, round by round
	Decision           metrics.Percentiles `json:"decision"`
	RedisCPU           float64             `json:"redis_cpu_us_per_decision"`
	RedisCPUs          []float64           `json:"redis_cpu_us_per_decision_rounds,omitempty"` // round by round
	RoundTrips         float64             `json:"round_trips_per_decision"`
	Conserved          bool                `json:"conserved"`
}

// Knee is where throughput ceases to grow with the load, or where a decision begins to
// cost something else than at the first point.
type Knee struct {
	Value int    `json:"value"`
	Said  string `json:"said"` // what it means, for people
}

// Books are the sums over all tenants of what is stored, in microcents.
type Books struct {
	Granted   budget.Microcents `json:"granted_microcents"`
	Committed budget.Microcents `json:"committed_microcents"`
	Reserved  budget.Microcents `json:"reserved_microcents"`
	Remaining budget.Microcents `json:"remaining_microcents"`
	OpenHolds int               `json:"open_holds"`
	Refused   int64             `json:"refused"`              // reserves refused for lack of money, as the callers were told
	Exhausted int               `json:"exhausted_tenants"`    // that refused at least one
	InDoubt   budget.Microcents `json:"in_doubt_microcents"`  // at most, of operations whose outcome is unknown
	Overspent budget.Microcents `json:"overspent_microcents"` // committed and reserved above the budget, over all tenants
	Broken    []BrokenBook      `json:"broken,omitempty"`     // the first ones
	BrokenAll int               `json:"broken_tenants"`
}

// BrokenBook says what is wrong with a tenant.
type BrokenBook struct {
	Tenant  budget.TenantID `json:"tenant"`
	Problem string          `json:"problem"`
}

// The engines.
const (
	EngineRedis = "redis"
	EngineLocal = "local"
)

// Played are the outcomes that a run can have; what never came is shown as 0.
var Played = []budget.Outcome{
	budget.Reserved, budget.Insufficient, budget.Committed, budget.Released,
	budget.Overrun, budget.MissingTenant, budget.MissingReservation, budget.InvalidAmount, budget.Unknown,
}
