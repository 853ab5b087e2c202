package report

import (
	"time"

	"github.com/calybris/bursar/bench/metrics"
	"github.com/calybris/bursar/coordinator/budget"
)

// Report is the result of a run, and the JSON output of bench --json. Later versions add
// fields and remove none.
type Report struct {
	Engine      string   `json:"engine"`
	Redis       string   `json:"redis,omitempty"`          // address without a password
	Variable    string   `json:"redis_variable,omitempty"` // environment variable with the address, if no flag had it
	Partitions  int      `json:"partitions,omitempty"`
	Nodes       int      `json:"nodes"`
	Processes   bool     `json:"processes,omitempty"` // whether each node was a process
	Tenants     int      `json:"tenants"`
	Levels      int      `json:"levels,omitempty"`  // of each tenant
	Limits      int      `json:"limits,omitempty"`  // of each account; 1 is the budget alone
	Windows     *Windows `json:"windows,omitempty"` // nil unless budgets renewed
	Concurrency int      `json:"concurrency"`       // workers per node
	Seed        uint64   `json:"seed"`
	Trace       string   `json:"trace,omitempty"`
	Interrupted bool     `json:"interrupted"` // by the user

	Began   time.Time `json:"began,omitzero"`
	Command string    `json:"command,omitempty"` // command line without a password

	Workload Workload `json:"workload"`
	Machine  Machine  `json:"machine"`
	Server   *Server  `json:"server,omitempty"` // nil without a Redis

	Cycles  int64   `json:"cycles"`  // settled reserves
	Seconds float64 `json:"seconds"` // of Bursar's rounds

	Rounds             int              `json:"rounds"`
	CyclesPerSecond    float64          `json:"cycles_per_second"`    // median of the rounds
	DecisionsPerSecond float64          `json:"decisions_per_second"` // the same, of answers including refusals
	Reserve            metrics.Latency  `json:"reserve"`
	Commit             metrics.Latency  `json:"commit"`
	Outcomes           map[string]int64 `json:"outcomes"` // answers by outcome; "unknown" counts calls without one

	Books
	Audited   bool       `json:"audited"`   // whether the balances could be read
	Conserved bool       `json:"conserved"` // whether they are right, too
	Baselines []Baseline `json:"baselines,omitempty"`

	Candidates []Candidate      `json:"contenders,omitempty"` // Bursar first, then the baselines
	Timeline   []metrics.Moment `json:"timeline,omitempty"`   // of Bursar
	Drains     []metrics.Drain  `json:"drains,omitempty"`     // balances of some tenants that Bursar refused
	Sweep      *Sweep           `json:"sweep,omitempty"`      // of bench sweep
	Conditions []Condition      `json:"conditions,omitempty"` // of --fail-if
	Comparison *Comparison      `json:"comparison,omitempty"` // of --compare-to
}

// Windows describes budgets that renewed during a run, and the latency of decisions in the
// measured seconds in which they did.
type Windows struct {
	EverySeconds float64 `json:"every_seconds"`
	Epochs       int64   `json:"epochs"`           // that all accounts began or skipped, by their balances
	Boundaries   int     `json:"boundaries"`       // seconds with one
	P99          float64 `json:"p99_us"`           // median of these seconds
	Highest      float64 `json:"highest_p99_us"`   // of these seconds
	Others       float64 `json:"p99_of_others_us"` // median of the other seconds
}

// Workload describes the requests.
type Workload struct {
	Name          string  `json:"name"`                         // hot, uniform, zipf, storm, trace
	Arrivals      string  `json:"arrivals"`                     // closed or open (loop)
	Offered       float64 `json:"offered_per_second,omitempty"` // requests of an open loop; of a trace the mean at Speed
	Unsent        int64   `json:"unsent,omitempty"`             // requests that were due and not sent by the end
	Speed         float64 `json:"speed,omitempty"`              // of a trace: 1 is its own; 0 as fast as possible
	ZipfExponent  float64 `json:"zipf_exponent,omitempty"`
	HoldMillis    float64 `json:"hold_millis,omitempty"`  // between a reserve and its settlement
	AbovePermille int     `json:"above_permille"`         // of requests that commit more than their hold
	WarmupSeconds float64 `json:"warmup_seconds"`         // before the first round
	LatencyFrom   string  `json:"latency_from,omitempty"` // "intended start" in an open loop, or "call"
}

// Machine describes the machine and the program.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	OS         string `json:"os"` // GOOS/GOARCH
	Go         string `json:"go"` // version
	GOMAXPROCS int    `json:"gomaxprocs"`
	GOGC       string `json:"gogc"`       // 100 unless set in the environment
	GOMEMLIMIT string `json:"gomemlimit"` // off unless set in the environment
	Version    string `json:"bursar"`
}

// Server describes the Redis.
type Server struct {
	Name     string            `json:"name,omitempty"` // Redis, Valkey
	Version  string            `json:"version"`
	Mode     string            `json:"mode"` // standalone, embedded
	Settings map[string]string `json:"settings,omitempty"`
}

// Baseline is the short form of a Candidate, for incr and script.
type Baseline struct {
	Name         string  `json:"name"`
	OpsPerSecond float64 `json:"ops_per_second"`
	Ratio        float64 `json:"ratio"`     // Bursar's decisions over its operations
	PoolSize     int     `json:"pool_size"` // connections per node
}

// Candidate is Bursar or a baseline, at its best pool size.
type Candidate struct {
	Name     string `json:"name"`     // bursar, local, incr, script, watch, check
	Describe string `json:"describe"` // one line for people
	Decides  bool   `json:"decides"`  // false for incr, which grants everything

	DecisionsPerSecond metrics.Spread     `json:"decisions_per_second"`
	Rates              []float64          `json:"rates,omitempty"`           // decisions per second of each round
	Ratio              metrics.Spread     `json:"ratio"`                     // Bursar's rate over this one
	Decision           metrics.Latency    `json:"decision"`                  // of reserves and commits together
	DecisionRounds     []metrics.Latency  `json:"decision_rounds,omitempty"` // the same of each round
	Quantiles          []metrics.Quantile `json:"quantiles,omitempty"`
	Mean               float64            `json:"mean_us,omitempty"`         // of a decision's latency
	Deviation          float64            `json:"deviation_us,omitempty"`    // standard deviation of it
	RedisCPU           float64            `json:"redis_cpu_us_per_decision"` // 0 if unknown
	RoundTrips         float64            `json:"round_trips_per_decision"`
	Commands           float64            `json:"redis_commands_per_decision"`
	PoolSize           int                `json:"pool_size"` // connections per node
	Pools              []Pool             `json:"pools,omitempty"`
	GivenUp            int64              `json:"given_up,omitempty"` // calls that lost every optimistic-lock attempt
	Money              Overspending       `json:"money"`              // in the rounds and the contention test
	Race               *Overspending      `json:"race,omitempty"`     // in the contention test alone
}

// Pool is the result of one pool size.
type Pool struct {
	Size               int            `json:"size"`
	DecisionsPerSecond metrics.Spread `json:"decisions_per_second"`
}

// Overspending compares budgets with a candidate's own records.
type Overspending struct {
	Kept      bool              `json:"kept"` // whether it keeps records; incr does not
	Granted   budget.Microcents `json:"granted_microcents"`
	Spent     budget.Microcents `json:"spent_microcents"`     // committed, or reserved by open holds
	Overspent budget.Microcents `json:"overspent_microcents"` // above the budgets
	Tenants   int               `json:"overspent_tenants"`
	Drift     budget.Microcents `json:"drift_microcents"` // absolute, between records and the workers' answers
}

// Sweep shows how cost grows with one parameter.
type Sweep struct {
	Over   string       `json:"over"` // concurrency, nodes, tenants, holds
	Runs   int          `json:"runs"` // of all points
	Points []SweepPoint `json:"points"`
	Knee   *Knee        `json:"knee,omitempty"`  // nil if there is none
	Noisy  bool         `json:"noisy,omitempty"` // whether the rounds differ too much to name a knee
	Said   string       `json:"said"`            // conclusion, for people
}

// SweepPoint is one value of the parameter, with medians over the rounds.
type SweepPoint struct {
	Value              int             `json:"value"`
	DecisionsPerSecond metrics.Spread  `json:"decisions_per_second"`
	Rates              []float64       `json:"rates,omitempty"` // decisions per second of each round
	Decision           metrics.Latency `json:"decision"`
	RedisCPU           float64         `json:"redis_cpu_us_per_decision"`
	RedisCPUs          []float64       `json:"redis_cpu_us_per_decision_rounds,omitempty"`
	RoundTrips         float64         `json:"round_trips_per_decision"`
	Conserved          bool            `json:"conserved"`
}

// Knee is the value from which throughput no longer grows, or a decision's cost changes.
type Knee struct {
	Value int    `json:"value"`
	Said  string `json:"said"` // explanation, for people
}

// Books has the stored balances, summed over all tenants.
type Books struct {
	Granted   budget.Microcents `json:"granted_microcents"`
	Committed budget.Microcents `json:"committed_microcents"`
	Reserved  budget.Microcents `json:"reserved_microcents"`
	Remaining budget.Microcents `json:"remaining_microcents"`
	OpenHolds int               `json:"open_holds"`
	Refused   int64             `json:"refused"`              // reserves refused for lack of money
	Exhausted int               `json:"exhausted_tenants"`    // tenants with a refused reserve
	InDoubt   budget.Microcents `json:"in_doubt_microcents"`  // at most, of calls without an answer
	Overspent budget.Microcents `json:"overspent_microcents"` // committed or reserved above the budgets
	Broken    []BrokenBook      `json:"broken,omitempty"`     // the first ones
	BrokenAll int               `json:"broken_tenants"`
}

// BrokenBook is a tenant whose balance is wrong.
type BrokenBook struct {
	Tenant  budget.TenantID `json:"tenant"`
	Problem string          `json:"problem"`
}

// The engines.
const (
	EngineRedis = "redis"
	EngineLocal = "local"
)

// Played lists the outcomes that a run can have.
var Played = []budget.Outcome{
	budget.Reserved, budget.Insufficient, budget.Committed, budget.Released,
	budget.Overrun, budget.MissingTenant, budget.MissingReservation, budget.InvalidAmount, budget.Unknown,
}
