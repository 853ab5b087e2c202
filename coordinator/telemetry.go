package coordinator

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/dispatch"
	"github.com/calybris/bursar/coordinator/internal/lane"
	"github.com/calybris/bursar/coordinator/redisclient"
)

// instrumentationScope is the name of the instruments' scope in OpenTelemetry.
const instrumentationScope = "github.com/calybris/bursar/coordinator"

// The attributes. None carries a tenant unless WithObservedTenants asks for it.
const (
	operationKey = attribute.Key("bursar.operation.name") // "reserve", "commit", …
	outcomeKey   = attribute.Key("bursar.outcome")        // budget.Outcome's text
	depthKey     = attribute.Key("bursar.level.depth")    // number of levels in the name of the result's Level, 1 to 6
	errorTypeKey = attribute.Key("error.type")            // the error's type, if the operation has no answer
	reasonKey    = attribute.Key("bursar.retry.reason")   // reason to send a script call again
	resultKey    = attribute.Key("bursar.batch.result")   // lane.Result
	addressKey   = attribute.Key("server.address")        // a server's host, the path of its socket, or WithServerName
	portKey      = attribute.Key("server.port")
	databaseKey  = attribute.Key("db.namespace")       // number of the Redis database, except on a Cluster
	prefixKey    = attribute.Key("bursar.key.prefix")  // WithKeyPrefix
	numberKey    = attribute.Key("bursar.node.number") // 2 and more, if the process has several nodes for the same budgets
	tenantKey    = attribute.Key("bursar.tenant.id")
	partitionKey = attribute.Key("bursar.partition")         // one of at most 1,024
	percentKey   = attribute.Key("bursar.threshold.percent") // 1 to 1,000
	limitKey     = attribute.Key("bursar.limit")             // period of a further limit; a base limit has none
)

// telemetry is a node's instruments. They use the OpenTelemetry API, which costs almost
// nothing unless the program has set up an SDK.
type telemetry struct {
	tracer trace.Tracer
	// tracing is set if spans are recorded. The API does not expose this, but a root span
	// of a real provider has a valid context even if it is not sampled, so probe starts
	// one now and then.
	tracing atomic.Bool
	probed  atomic.Int64 // last probe, Unix ms

	operations    metric.Int64Counter
	duration      metric.Float64Histogram
	unknown       metric.Int64Counter
	batchDuration metric.Float64Histogram
	batchSize     metric.Int64Histogram
	retries       metric.Int64Counter
	gaps          metric.Int64Counter
	timersLost    metric.Int64Counter
	abandoned     metric.Int64Counter
	merged        metric.Int64Counter
	unmerged      metric.Int64Counter
	forgotten     metric.Int64Counter
	crossed       metric.Int64Counter
	onThreshold   *crossings // nil for none

	identity     identity
	release      func() // gives the identity up
	registration metric.Registration
}

// inSeconds are the bucket bounds of the latency histograms.
var inSeconds = metric.WithExplicitBucketBoundaries(
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)

func newTelemetry(c *Coordinator) (*telemetry, error) {
	meter := c.config.meterProvider.Meter(instrumentationScope)
	t := &telemetry{tracer: c.config.tracerProvider.Tracer(instrumentationScope)}
	if c.config.onThreshold != nil {
		t.onThreshold = &crossings{call: c.config.onThreshold, logger: c.config.logger}
	}
	t.identity, t.release = c.claimIdentity()
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		i, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return i
	}
	seconds := func(name, description string) metric.Float64Histogram {
		i, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), inSeconds)
		errs = append(errs, err)
		return i
	}
	t.operations = counter("bursar.operation.count", "{operation}", "Operations of callers, by name and outcome or error.")
	t.duration = seconds("bursar.operation.duration", "Duration of an operation, as its caller sees it.")
	t.unknown = counter("bursar.operation.unknown", "{operation}", "Operations that returned an unknown outcome.")
	t.batchDuration = seconds("bursar.batch.duration", "Time from the first attempt of a batch until its outcome was known.")
	t.retries = counter("bursar.batch.retries", "{retry}", "Script calls without an answer, by reason. Most are repeated.")
	t.gaps = counter("bursar.gaps", "{gap}", "Losses of acknowledged writes by Redis that were detected.")
	t.timersLost = counter("bursar.timers.lost", "{partition}", "Partitions whose timers were found missing, to be rebuilt.")
	t.abandoned = counter("bursar.hold.abandoned", "{hold}", "Holds that were released because no caller got their reservation.")
	t.merged = counter("bursar.repair.merged", "{reservation}", "Reservations that a repair restored after Redis had lost writes.")
	t.unmerged = counter("bursar.repair.unmerged", "{reservation}", "Reservations that a repair could not restore.")
	t.forgotten = counter("bursar.repair.forgotten", "{reservation}", "Reservations that were dropped from the journal within the repair window, for lack of room.")
	t.crossed = counter("bursar.threshold.crossed", "{threshold}", "Thresholds of accounts that a batch of this node crossed, by percentage and limit.")
	var err error
	t.batchSize, err = meter.Int64Histogram("bursar.batch.size", metric.WithUnit("{operation}"),
		metric.WithDescription("Operations in a batch."),
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
	errs = append(errs, err)
	// Counters with an alert are exported from the start: a series that begins at 1 has
	// no increase.
	for _, watched := range []metric.Int64Counter{t.gaps, t.timersLost, t.abandoned, t.merged, t.unmerged, t.forgotten, t.crossed} {
		watched.Add(context.Background(), 0)
	}
	t.probe(context.Background(), now())
	return t, errors.Join(errs...)
}

// register adds the instruments that are read when metrics are collected.
func (t *telemetry) register(c *Coordinator) error {
	meter := c.config.meterProvider.Meter(instrumentationScope)
	queue, err1 := meter.Int64ObservableUpDownCounter("bursar.queue.length", metric.WithUnit("{operation}"),
		metric.WithDescription("Operations in progress."))
	state, err2 := meter.Int64ObservableGauge("bursar.breaker.state", metric.WithUnit("{state}"),
		metric.WithDescription("The circuit breaker of a server: 0 closed, 1 half-open, 2 open."))
	tenants, err3 := newTenantGauges(meter)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	cluster := redisclient.ClusterOf(c.client) != nil
	observables := append([]metric.Observable{queue, state}, tenants.all()...)
	var err error
	t.registration, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		o.ObserveInt64(queue, c.node.InFlight(), metric.WithAttributes(t.identity.all()...))
		c.dispatcher.Breakers(func(address string, s dispatch.BreakerState) {
			o.ObserveInt64(state, int64(s), metric.WithAttributes(t.identity.of(address, cluster)...))
		})
		return tenants.observe(ctx, c, o)
	}, observables...)
	return err
}

// serverAttributes returns the address attributes of the semantic conventions. go-redis
// calls the primary that Sentinel names FailoverClient, whatever its address is.
func serverAttributes(address string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return []attribute.KeyValue{addressKey.String(address)} // also for a Unix socket
	}
	number, _ := strconv.Atoi(port)
	return []attribute.KeyValue{addressKey.String(host), portKey.Int(number)}
}

// stop unregisters the observable instruments.
func (t *telemetry) stop() error {
	defer t.release()
	if t.registration == nil {
		return nil
	}
	return t.registration.Unregister()
}

// errorTypes are the values of error.type, the most specific first.
var errorTypes = []struct {
	err  error
	name string
}{
	{ErrUnknownOutcome, "unknown_outcome"},
	{ErrClosed, "closed"},
	{ErrOverloaded, "overloaded"},
	{ErrTooManyHolds, "too_many_holds"},
	{ErrGap, "gap"},
	{ErrRecreated, "recreated"},
	{ErrOutOfMemory, "out_of_memory"},
	{ErrCorrupt, "corrupt"},
	{ErrLayout, "layout"},
	{ErrUnavailable, "unavailable"},
	{budget.ErrOverflow, "overflow"},
	{budget.ErrNoEpoch, "no_epoch"},
	{budget.ErrNoLimit, "no_limit"},
	{budget.ErrTooManyLimits, "too_many_limits"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "deadline_exceeded"},
}

// errorOther is the semantic conventions' name for an error without one.
const errorOther = "_OTHER"

func errorType(err error) string {
	if unsent := (*lane.UnsentError)(nil); errors.As(err, &unsent) {
		err = unsent.Ended // the call was not sent
	}
	for _, known := range errorTypes {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return errorOther
}

// measured is one set of attributes, ready for the instruments: building it for every
// operation would cost more than recording it.
type measured struct {
	attributes []attribute.KeyValue
	add        []metric.AddOption
	record     []metric.RecordOption
}

func newMeasured(attributes ...attribute.KeyValue) *measured {
	set := metric.WithAttributeSet(attribute.NewSet(attributes...))
	return &measured{attributes, []metric.AddOption{set}, []metric.RecordOption{set}}
}

// measurements are built on first use and shared by all nodes of a process.
var measurements sync.Map // map[measurementKey]*measured

type measurementKey struct {
	op      operation
	outcome budget.Outcome
	depth   int // of the level that the result names, 0 without one
	failure string
}

func measurementOf(op operation, a lane.Answer, err error) *measured {
	key := measurementKey{op: op, outcome: a.Outcome}
	if err != nil {
		key.outcome, key.failure = budget.Unknown, errorType(err)
	} else if a.Level != "" {
		key.depth = 1 + strings.Count(string(a.Level), "/")
	}
	if m, ok := measurements.Load(key); ok {
		return m.(*measured)
	}
	name := operationKey.String(op.String())
	outcome := outcomeKey.String(a.Outcome.String())
	var m *measured
	switch {
	case err != nil:
		m = newMeasured(name, errorTypeKey.String(key.failure))
	case key.depth > 0:
		m = newMeasured(name, outcome, depthKey.Int(key.depth))
	default:
		m = newMeasured(name, outcome)
	}
	stored, _ := measurements.LoadOrStore(key, m)
	return stored.(*measured)
}

func seconds(d time.Duration) float64 { return d.Seconds() }
