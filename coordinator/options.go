package coordinator

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/wording"
)

// Option configures a Coordinator. The defaults suit most uses.
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
	maxFlight    time.Duration // see package dispatch
	policyEvery  time.Duration // see policy.go
	maxHolds     int
	repairWindow time.Duration
	repairBytes  int
	clock        func() time.Time
	logger       *slog.Logger
	observed     []budget.TenantID
	onThreshold  func(budget.Crossing)
	serverName   string

	now     func() time.Time // the node's own clock
	entropy func() uint64    // source of node numbers and incarnations

	tracerProvider trace.TracerProvider
	meterProvider  metric.MeterProvider
}

// The defaults of the options.
const (
	DefaultCallTimeout    = 10 * time.Second
	DefaultRetention      = 10 * time.Minute
	DefaultRetentionHolds = 16_384
	DefaultBreaker        = 10 * time.Second
	DefaultMaxHolds       = 100_000
	DefaultRepairWindow   = 5 * time.Minute
	DefaultRepairBytes    = 64 << 20
	DefaultTenantQueue    = 16_384
	DefaultTotalQueue     = 65_536
)

// defaultWindow stands for the default repair window, which depends on the retention.
const defaultWindow time.Duration = -1

// WithKeyPrefix sets the prefix of every Redis key: 1 to 64 bytes of printable ASCII, no
// spaces or braces. Several environments can share one Redis under different prefixes.
// Defaults to "bursar". Nodes that share budgets must agree on it.
func WithKeyPrefix(prefix string) Option { return func(c *config) { c.prefix = prefix } }

// WithPartitions sets the number of partitions of a prefix that is used for the first
// time: a power of two from 1 to 1,024. It never changes afterwards, and a node with
// another number adopts the stored one. Defaults to [DefaultPartitions], on a Cluster to
// [DefaultClusterPartitions]. More partitions spread over more masters; fewer group the
// calls of many tenants better.
func WithPartitions(n int) Option { return func(c *config) { c.partitions = n } }

// WithHoldTTL sets how long a hold may stay open before it is released: whole
// milliseconds up to [budget.MaxHoldTTL], 0 for no limit. Defaults to 15 minutes.
func WithHoldTTL(ttl time.Duration) Option { return func(c *config) { c.holdTTL = ttl } }

// WithCallTimeout bounds how long a call waits for its answer if its context has no
// deadline, from 1ms to an hour. Defaults to 10 seconds.
func WithCallTimeout(timeout time.Duration) Option {
	return func(c *config) { c.callTimeout = timeout }
}

// WithRetention sets how long the ends of holds are remembered for Lookup and
// Settlement.Prior, and how many settled holds a partition remembers, give or take a
// batch; holds that a deadline or a repair ended are remembered for the whole time. From
// a second to 24 hours, and 1 to 1,000,000 holds. Each takes up to 260 bytes of Redis'
// memory. Defaults to 10 minutes and 16,384 holds. Nodes that share budgets should agree
// on it: the shortest time and the smallest number apply.
func WithRetention(retention time.Duration, holds int) Option {
	return func(c *config) { c.retention, c.retained = retention, holds }
}

// WithQueueLimits bounds the number of calls queued for one root tenant and in total;
// further calls get [ErrOverloaded] at once. A Do counts until it has ended. Defaults to
// [DefaultTenantQueue] and [DefaultTotalQueue].
func WithQueueLimits(perTenant, total int) Option {
	return func(c *config) { c.perTenant, c.total = perTenant, total }
}

// WithMaxHolds bounds the open holds of one tenant, so that callers that never settle do
// not fill Redis; at the bound, TryReserve returns [ErrTooManyHolds]. From 1 to
// 100,000,000, or 0 for no bound. Defaults to 100,000. Nodes that share budgets should
// agree on it.
func WithMaxHolds(holds int) Option { return func(c *config) { c.maxHolds = holds } }

// WithOnThreshold sets a function that is called when an account crosses one of its
// thresholds ([budget.AtThresholds]). Only the node whose batch crossed it calls it, one
// call after the other in a goroutine of its own; not if the node ends before, or if 1,024
// calls wait. After a repair a threshold may be crossed a second time. Close doesn't wait for
// it. Defaults to nil; a crossing is logged and counted in any case.
func WithOnThreshold(crossed func(budget.Crossing)) Option {
	return func(c *config) { c.onThreshold = crossed }
}

// WithBreaker sets how long a server may be unresponsive before its circuit breaker opens
// and calls fail at once with [ErrUnavailable]. While it is open, about one call per
// second is let through; the first response closes it. Commit and Release always wait.
// From 100ms to an hour, 0 for never; it should be longer than a failover takes. Defaults
// to 10 seconds. On a Cluster each master has its own breaker.
func WithBreaker(after time.Duration) Option { return func(c *config) { c.breaker = after } }

// WithRepair sets how long, and in how many bytes of memory, the coordinator remembers
// acknowledged reservations so that it can restore them if a failover loses them. A state
// takes 64 bytes, and a settled hold has two. If the memory is full the oldest states are
// dropped, and counted. The window is 0 for no repair (a call that meets a gap then gets
// [ErrGap]), or from 500ms to half of the retention, since a repair can't distinguish
// writes that Redis has lost from those that it has forgotten. Defaults to 5 minutes, or
// half of the retention if that is less, and 64 MiB.
func WithRepair(window time.Duration, bytes int) Option {
	return func(c *config) { c.repairWindow, c.repairBytes = window, bytes }
}

// WithTracerProvider sets the destination of spans. Defaults to
// otel.GetTracerProvider() when New is called.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(c *config) { c.tracerProvider = provider }
}

// WithMeterProvider sets the destination of metrics. Defaults to otel.GetMeterProvider()
// when New is called.
func WithMeterProvider(provider metric.MeterProvider) Option {
	return func(c *config) { c.meterProvider = provider }
}

// MaxObservedTenants bounds the tenants of WithObservedTenants, and so the cost of
// collecting metrics.
const MaxObservedTenants = 100

// WithObservedTenants exports the balances and the number of open holds of these tenants
// as metrics, with the tenant's id as an attribute. Each costs a read when metrics are
// collected; a tenant that isn't read within 2 seconds is left out. At most
// [MaxObservedTenants]. Defaults to none: a metric for each tenant is more than most
// metrics backends can bear.
func WithObservedTenants(tenants ...budget.TenantID) Option {
	return func(c *config) { c.observed = append(c.observed, tenants...) }
}

// maxServerName is the longest name of a server in bytes, as for a host name.
const maxServerName = 255

// WithServerName sets the server.address that gauges report for the node's Redis: at most
// 255 bytes of UTF-8. Defaults to the address of the client: for a Cluster's client the
// first of its addresses in sorted order, for a Sentinel's "FailoverClient", whatever the
// primary is, so a fleet with two primaries should name them. The breakers of a Cluster
// keep the addresses of its masters.
func WithServerName(name string) Option { return func(c *config) { c.serverName = name } }

// WithClock replaces the clock of deadlines, for tests; all nodes must use the same one.
// It must not be before 1970. Defaults to Redis' own clock.
func WithClock(now func() time.Time) Option { return func(c *config) { c.clock = now } }

// WithLogger sets the logger for operational events: startup warnings, lost writes,
// corruption. It is never used per call. Defaults to slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(c *config) { c.logger = logger } }

func newConfig(opts []Option) (config, error) {
	c := config{
		prefix:       store.DefaultPrefix,
		holdTTL:      budget.DefaultHoldTTL,
		callTimeout:  DefaultCallTimeout,
		retention:    DefaultRetention,
		retained:     DefaultRetentionHolds,
		perTenant:    DefaultTenantQueue,
		total:        DefaultTotalQueue,
		breaker:      DefaultBreaker,
		maxFlight:    dispatch.DefaultMaxFlight,
		policyEvery:  policyEvery,
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
		c.repairWindow = min(DefaultRepairWindow, c.retention/2)
	}
	return c, errors.Join(append(errs, c.validate())...)
}

// validate checks all options, so that their bounds are in one place.
func (c *config) validate() error {
	errs := []error{store.ValidatePrefix(c.prefix), budget.ValidateHoldTTL(c.holdTTL)}
	if c.callTimeout < time.Millisecond || c.callTimeout > time.Hour {
		errs = append(errs, fmt.Errorf("invalid call timeout %s: give 1ms to 1h", c.callTimeout))
	}
	if c.retention < time.Second || c.retention > 24*time.Hour || c.retained < 1 || c.retained > 1_000_000 {
		errs = append(errs, fmt.Errorf("invalid retention %s of %s: give 1s to 24h, and 1 to 1,000,000", c.retention, wording.Count(c.retained, "hold")))
	}
	if c.repairWindow != 0 && (c.repairWindow < 500*time.Millisecond || c.repairWindow > c.retention/2 || c.repairBytes < 1<<16) {
		errs = append(errs, fmt.Errorf("invalid repair window %s with %s: give 500ms to half of the retention (%s) and at least 65536 bytes, or a window of 0 for no repair", c.repairWindow, wording.Count(c.repairBytes, "byte"), c.retention))
	}
	if c.partitions != 0 {
		errs = append(errs, store.ValidatePartitions(c.partitions))
	}
	if c.perTenant < 1 || c.total < c.perTenant {
		errs = append(errs, fmt.Errorf("invalid queue limits %d and %d: give at least 1 for a tenant, and no less in all", c.perTenant, c.total))
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
	if len(c.serverName) > maxServerName || !utf8.ValidString(c.serverName) {
		errs = append(errs, fmt.Errorf("invalid server name %.300q: give at most %d bytes of UTF-8", c.serverName, maxServerName))
	}
	if len(c.observed) > MaxObservedTenants {
		errs = append(errs, fmt.Errorf("%d observed tenants: give at most %d", len(c.observed), MaxObservedTenants))
	}
	for _, tenant := range c.observed {
		errs = append(errs, tenant.Validate())
	}
	return errors.Join(errs...)
}
