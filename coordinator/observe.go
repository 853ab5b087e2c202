package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/lane"
)

// observation is an operation in progress, as the instruments record it.
type observation struct {
	op    operation
	began time.Time
	span  trace.Span // nil unless spans are recorded
}

var internalSpan = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindInternal)}

// begin starts an operation's span as a child of the caller's.
func (t *telemetry) begin(ctx context.Context, op operation) observation {
	o := observation{op: op}
	if t.duration.Enabled(ctx) {
		o.began = now()
	}
	if t.tracing.Load() {
		_, o.span = t.tracer.Start(ctx, spanNames[op], internalSpan...)
	}
	return o
}

// end records the result of the operation. The span is linked to that of the batch that
// carried it, which many operations share.
func (t *telemetry) end(ctx context.Context, o observation, a lane.Answer, err error) {
	counted := t.operations.Enabled(ctx)
	if !counted && o.began.IsZero() && o.span == nil {
		return
	}
	m := measurementOf(o.op, a, err)
	if counted {
		t.operations.Add(ctx, 1, m.add...)
		if errors.Is(err, ErrUnknownOutcome) {
			t.unknown.Add(ctx, 1, metric.WithAttributes(operationKey.String(o.op.String())))
		}
	}
	if !o.began.IsZero() {
		t.duration.Record(ctx, seconds(now().Sub(o.began)), m.record...)
	}
	if o.span == nil {
		return
	}
	if o.span.IsRecording() {
		o.span.SetAttributes(m.attributes...)
		if batch, ok := a.Trace.(trace.SpanContext); ok {
			o.span.AddLink(trace.Link{SpanContext: batch})
		}
		if err != nil {
			o.span.SetStatus(codes.Error, errorType(err))
		}
	}
	o.span.End()
}

// batchResults are the attributes of a batch's result.
var batchResults = func() map[lane.Result]*measured {
	all := make(map[lane.Result]*measured)
	for _, result := range []lane.Result{lane.Applied, lane.Unsent, lane.Refused, lane.Unknown, lane.Lost} {
		all[result] = newMeasured(resultKey.String(string(result)))
	}
	return all
}()

var batchSpan = []trace.SpanStartOption{
	trace.WithNewRoot(), // it serves many callers' traces
	trace.WithSpanKind(trace.SpanKindClient),
	trace.WithAttributes(attribute.String("db.system.name", "redis"), attribute.String("db.operation.name", "EVALSHA")),
}

// probe checks whether spans are recorded, at most once a second: a program may set up
// its SDK after the node.
func (t *telemetry) probe(ctx context.Context, at time.Time) {
	last := t.probed.Load()
	if at.UnixMilli()-last < 1000 || !t.probed.CompareAndSwap(last, at.UnixMilli()) {
		return
	}
	_, span := t.tracer.Start(ctx, "bursar.probe", trace.WithNewRoot())
	t.tracing.Store(span.SpanContext().IsValid())
	// It is never ended, so it is never exported.
}

// BatchSent implements [lane.Observer]. It starts a batch's span.
func (t *telemetry) BatchSent(b *lane.Batch) {
	ctx := context.Background()
	b.Began = now()
	if !t.tracing.Load() {
		if t.probe(ctx, b.Began); !t.tracing.Load() {
			return
		}
	}
	_, span := t.tracer.Start(ctx, "bursar.batch", batchSpan...)
	b.Span, b.Trace = span, span.SpanContext()
}

// BatchResolved implements [lane.Observer]. It records nothing for a batch without calls.
func (t *telemetry) BatchResolved(b *lane.Batch, result lane.Result) {
	if b.Began.IsZero() {
		return // an empty batch
	}
	ctx := context.Background()
	m := batchResults[result]
	if b.Size() > 0 && t.batchDuration.Enabled(ctx) {
		t.batchDuration.Record(ctx, seconds(now().Sub(b.Began)), m.record...)
		t.batchSize.Record(ctx, int64(b.Size()))
	}
	b.Began = time.Time{}
	span, ok := b.Span.(trace.Span)
	if !ok || b.Size() == 0 {
		return // a span that is not ended is never exported
	}
	span.SetAttributes(m.attributes...)
	span.SetAttributes(attribute.Int("db.operation.batch.size", b.Size()), attribute.Int("bursar.batch.retries", b.Attempts))
	if result != lane.Applied {
		span.SetStatus(codes.Error, string(result))
	}
	span.End()
}

// Retried implements [lane.Observer].
func (t *telemetry) Retried(f lane.Failure) {
	t.retries.Add(context.Background(), 1, retryReasons[f].add...)
}

// Gap implements [lane.Observer].
func (t *telemetry) Gap(partition int) {
	t.gaps.Add(context.Background(), 1, metric.WithAttributes(partitionKey.Int(partition)))
}

// TimersLost implements [lane.Observer].
func (t *telemetry) TimersLost(partition int) {
	t.timersLost.Add(context.Background(), 1, metric.WithAttributes(partitionKey.Int(partition)))
}

// Released implements [lane.Observer].
func (t *telemetry) Released(abandoned int) { t.abandoned.Add(context.Background(), int64(abandoned)) }

// Repaired implements [lane.Observer].
func (t *telemetry) Repaired(merged, unmerged int) {
	t.merged.Add(context.Background(), int64(merged))
	t.unmerged.Add(context.Background(), int64(unmerged))
}

// Evicted implements [lane.Observer].
func (t *telemetry) Evicted(states int) { t.forgotten.Add(context.Background(), int64(states)) }

// Crossed implements [lane.Observer].
func (t *telemetry) Crossed(c budget.Crossing) {
	attributes := []attribute.KeyValue{percentKey.Int(c.Percent)}
	if c.Limit != budget.NoPeriod {
		attributes = append(attributes, limitKey.String(c.Limit.String()))
	}
	t.crossed.Add(context.Background(), 1, metric.WithAttributes(attributes...))
	if t.onThreshold != nil {
		t.onThreshold.add(c)
	}
}

// maxCrossings bounds the events that wait for a caller's function.
const maxCrossings = 1024

// crossings calls a function for one event after the other, in a goroutine that runs while
// there are events.
type crossings struct {
	call   func(budget.Crossing)
	logger *slog.Logger

	mu      sync.Mutex
	queue   []budget.Crossing
	running bool
}

// add queues an event. It never blocks: an event beyond maxCrossings is dropped.
func (c *crossings) add(event budget.Crossing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == maxCrossings {
		c.logger.Warn("bursar: function of WithOnThreshold not called", "tenant", event.Tenant, "limit", event.LimitName(), "percent", event.Percent, "waiting", maxCrossings)
		return
	}
	c.queue = append(c.queue, event)
	if !c.running {
		c.running = true
		go c.run()
	}
}

func (c *crossings) run() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.running = false
			c.mu.Unlock()
			return
		}
		event := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		c.call(event)
	}
}

var retryReasons = func() (all [lane.Failures]*measured) {
	for f := range all {
		all[f] = newMeasured(reasonKey.String(lane.Failure(f).String()))
	}
	return all
}()
