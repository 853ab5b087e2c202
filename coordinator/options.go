package coordinator

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
)

// Option sets up a Coordinator. The defaults are right for most.
type Option func(*config)

type config struct {
	prefix       string
	holdTTL      time.Duration
	callTimeout  time.Duration
	retention    time.Duration
	retained     int
	perTenant    int
	partitions   int // 0 for the default
	total        int
	breaker      time.Duration
	maxHolds     int
	repairWindow time.Duration
	repairBytes  int
	clock        func() time.Time
	logger       *slog.Logger
	observed     []budget.TenantID

	now     func() time.Time // the node's own clock
	entropy func() uint64    // of node numbers and incarnations

	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
}

// The defaults of the options.
const (
	DefaultCallTimeout = 10 * time.Second
	DefaultRetention   = 10 * time.Minute
	DefaultRetained    = 16_384
	DefaultBreaker     = 10 * time.Second
	DefaultMaxHolds    = 100_000
	DefaultRepair      = 5 * time.Minute
	DefaultRepairBytes = 64 << 20
	DefaultTenantQueue = 16_384
	DefaultTotalQueue  = 65_536
)

// defaultWindow is as long as the retention allows.
const defaultWindow time.Duration = -1

// WithKeyPrefix begins every key with a text of 1 to 64 bytes of printable ASCII
// without blanks and braces, so that several environments share one Redis.
// Defaults to "bursar". Nodes that share budgets must agree on it.
func WithKeyPrefix(prefix string) Option { return func(c *config) { c.prefix = prefix } }

// WithHoldTTL sets after how long an unsettled hold is released: whole
// milliseconds up to budget.MaxHoldTTL, 0 for never. Defaults to 15 minutes.
func WithHoldTTL(ttl time.Duration) Option { return func(c *config) { c.holdTTL = ttl } }

// WithCallTimeout bounds how long a call waits for its answer where the call's
// context has no deadline of its own, from 1ms to an hour. Defaults to 10 seconds.
func WithCallTimeout(timeout time.Duration) Option {
	return func(c *config) { c.callTimeout = timeout }
}

// WithRetention sets for how long, and of about how many holds a family, it is
// remembered how they ended: for Lookup, and for Settlement.Prior. At times there are a
// batch or two more, and after a repair all that it merged. From a second to 24 hours,
// and 1 to 1,000,000 holds; each takes memory in Redis until then. Defaults to 10
// minutes and 4,096. Nodes that share budgets should agree on it: the shortest time and
// the smallest number decide what is there to be told.
func WithRetention(retention time.Duration, holds int) Option {
	return func(c *config) { c.retention, c.retained = retention, holds }
}

// WithPartitions sets the number of partitions of a prefix that is used for the first
// time: a power of two from 1 to 1,024. It never changes afterwards, and a node that is
// asked for another number adopts what is stored. Defaults to [DefaultPartitions], on a
// Cluster to [DefaultClusterPartitions]. More of them spread over more masters; fewer
// group the calls of many tenants better.
func WithPartitions(n int) Option { return func(c *config) { c.partitions = n } }

// WithQueueLimits bounds how many calls are queued for one root tenant and in all;
// beyond, calls get [ErrOverloaded] at once. A Do counts until it has ended. Defaults to
// [DefaultTenantQueue] and [DefaultTotalQueue].
func WithQueueLimits(perTenant, total int) Option {
	return func(c *config) { c.perTenant, c.total = perTenant, total }
}

// WithMaxHolds bounds how many holds of a family are open at a time, so that callers
// who never settle do not fill Redis; beyond, TryReserve is ErrOverloaded. Redis'
// timers are counted: the family's open holds that have a deadline, and the sessions
// of nodes. 1 to 100,000,000, or 0 for no bound. Defaults to 100,000. Nodes that share
// budgets should agree on it.
func WithMaxHolds(holds int) Option { return func(c *config) { c.maxHolds = holds } }

// WithBreaker sets after how long without any answer from a server calls to it are
// refused at once with ErrUnavailable, instead of each waiting for its deadline;
// about each second one is let through, and the first answer ends it. Commit and
// Release always wait. From 100ms to an hour, 0 for never; it should be longer than
// a failover takes. Defaults to 10 seconds. In a Cluster each master has its own.
func WithBreaker(after time.Duration) Option { return func(c *config) { c.breaker = after } }

// WithRepair sets for how long a node retains what it was told of reservations, and
// in how many bytes of its memory at the most (56 a state, two states a settled hold), so
// that it can tell Redis again what a failover has lost: at a gap it merges that,
// before it does anything else in that family. Beyond the bound the oldest go first,
// and are counted. The window is
// 0 for no repair (then whatever meets a gap gets ErrGap), or from 500ms to half
// of the retention (WithRetention), since what Redis no longer remembers cannot be
// told from what it has lost. Defaults to 5 minutes, or half of the retention where
// that is less, and 64 MiB.
func WithRepair(window time.Duration, bytes int) Option {
	return func(c *config) { c.repairWindow, c.repairBytes = window, bytes }
}

// WithTracerProvider sets where spans go: one an operation, linked to the one of the
// batch that carried it. Defaults to otel.GetTracerProvider() when New is called.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(c *config) { c.tracerProvider = provider }
}

// WithMeterProvider sets where metrics go (Telemetry, above, lists them). Defaults to
// otel.GetMeterProvider() when New is called.
func WithMeterProvider(provider metric.MeterProvider) Option {
	return func(c *config) { c.meterProvider = provider }
}

// MaxObserved is how many tenants WithObservedTenants takes; it bounds what a collection
// of metrics costs.
const MaxObserved = 100

// WithObservedTenants shows the balances and the number of open holds of these
// tenants as metrics, with the tenant's id as an attribute. Each costs a Holds when
// metrics are collected, whose time grows with the family's holds; what is not read
// within 2 seconds is not shown. At most MaxObserved.
// Defaults to none: a metric of its own for each tenant is more than most stores of
// metrics can bear.
func WithObservedTenants(tenants ...budget.TenantID) Option {
	return func(c *config) { c.observed = append(c.observed, tenants...) }
}

// WithClock makes the clock of deadlines the caller's, for tests; it must never
// be used by some nodes only. Defaults to Redis' own clock.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

// WithLogger sets where an operator is told what must be read: warnings of the
// start, lost writes, corrupt state. Never once a call. Defaults to slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(c *config) { c.logger = logger } }

func newConfig(opts []Option) (config, error) {
	c := config{
		prefix:       store.DefaultPrefix,
		holdTTL:      budget.DefaultHoldTTL,
		callTimeout:  DefaultCallTimeout,
		retention:    DefaultRetention,
		retained:     DefaultRetained,
		perTenant:    DefaultTenantQueue,
		total:        DefaultTotalQueue,
		breaker:      DefaultBreaker,
		maxHolds:     DefaultMaxHolds,
		repairWindow: defaultWindow,
		repairBytes:  DefaultRepairBytes,
		logger:       slog.Default(),

		entropy: randomBits,
		now:     now,

		tracerProvider: otel.GetTracerProvider(),
		meterProvider:  otel.GetMeterProvider(),
	}
	var errs []error
	for i, opt := range opts {
		if opt == nil {
			errs = append(errs, fmt.Errorf("option %d is nil: leave it out", i+1))
			continue
		}
		opt(&c)
	}
	if c.repairWindow == defaultWindow {
		c.repairWindow = min(DefaultRepair, c.retention/2)
	}
	return c, errors.Join(append(errs, c.validate())...)
}

// validate is the one place that knows what an option may be.
func (c *config) validate() error {
	errs := []error{store.ValidatePrefix(c.prefix), budget.ValidateHoldTTL(c.holdTTL)}
	if c.callTimeout < time.Millisecond || c.callTimeout > time.Hour {
		errs = append(errs, fmt.Errorf("invalid call timeout %s: give 1ms to 1h", c.callTimeout))
	}
	if c.retention < time.Second || c.retention > 24*time.Hour || c.retained < 1 || c.retained > 1_000_000 {
		errs = append(errs, fmt.Errorf("invalid retention %s of %d holds: give 1s to 24h, and 1 to 1,000,000", c.retention, c.retained))
	}
	if c.repairWindow != 0 && (c.repairWindow < 500*time.Millisecond || c.repairWindow > c.retention/2 || c.repairBytes < 1<<16) {
		errs = append(errs, fmt.Errorf("invalid repair window %s with %d bytes: give 500ms to half of the retention (%s) and at least 65536 bytes, or a window of 0 for no repair", c.repairWindow, c.repairBytes, c.retention))
	}
	if c.partitions != 0 {
		errs = append(errs, store.ValidatePartitions(c.partitions))
	}
	if c.perTenant < 1 || c.total < c.perTenant {
		errs = append(errs, fmt.Errorf("invalid queue limits %d and %d: give at least 1 a family, and no less for all", c.perTenant, c.total))
	}
	if c.maxHolds < 0 || c.maxHolds > 100_000_000 {
		errs = append(errs, fmt.Errorf("invalid bound of %d open holds: give 1 to 100,000,000, or 0 for none", c.maxHolds))
	}
	if c.logger == nil {
		errs = append(errs, errors.New("WithLogger(nil): give a logger, slog.New(slog.DiscardHandler) for none"))
	}
	if c.breaker != 0 && (c.breaker < 100*time.Millisecond || c.breaker > time.Hour) {
		errs = append(errs, fmt.Errorf("invalid breaker %s: give 100ms to 1h, or 0 for none", c.breaker))
	}
	if c.tracerProvider == nil || c.meterProvider == nil {
		errs = append(errs, errors.New("WithTracerProvider(nil) or WithMeterProvider(nil): give a provider, the noop package's for none"))
	}
	if len(c.observed) > MaxObserved {
		errs = append(errs, fmt.Errorf("%d observed tenants: give at most %d", len(c.observed), MaxObserved))
	}
	for _, tenant := range c.observed {
		errs = append(errs, tenant.Validate())
	}
	return errors.Join(errs...)
}
