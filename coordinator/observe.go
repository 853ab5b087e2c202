package coordinator

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// observation is one operation under way, as the instruments see it.
type observation struct {
	op    operation
	began time.Time
	span  trace.Span // nil where nobody traces
}

var internalSpan = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindInternal)}

// begin starts an operation's span below the caller's.
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

// end records how the operation went. The span is linked to that of the batch
// that carried it, which many operations share.
func (t *telemetry) end(ctx context.Context, o observation, a answer, err error) {
	counted := t.operations.Enabled(ctx)
	if !counted && o.began.IsZero() && o.span == nil {
		return
	}
	m := measurementOf(o.op, a.outcome, err)
	if counted {
		t.operations.Add(ctx, 1, m.add...)
		if errors.Is(err, ErrUnknownOutcome) {
			t.unknown.Add(ctx, 1, metric.WithAttributes(operationKey.String(operationNames[o.op])))
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
		if a.batch != nil {
			o.span.AddLink(trace.Link{SpanContext: *a.batch})
		}
		if err != nil {
			o.span.SetStatus(codes.Error, errorType(err))
		}
	}
	o.span.End()
}

// How a batch ends.
const (
	batchApplied = "applied"
	batchUnsent  = "unsent"  // its bytes never left; its calls wait again
	batchRefused = "refused" // it took no effect
	batchUnknown = "unknown" // nobody can tell any more whether it did
	batchLost    = "lost"    // Redis has lost what went before it
)

var batchResults = func() map[string]*measured {
	all := make(map[string]*measured)
	for _, result := range []string{batchApplied, batchUnsent, batchRefused, batchUnknown, batchLost} {
		all[result] = newMeasured(resultKey.String(result))
	}
	return all
}()

var batchSpan = []trace.SpanStartOption{
	trace.WithNewRoot(), // many callers' traces meet in it
	trace.WithSpanKind(trace.SpanKindClient),
	trace.WithAttributes(attribute.String("db.system.name", "redis"), attribute.String("db.operation.name", "EVALSHA")),
}

// probe finds out whether spans come to anything, about once a second: a program
// may set up its SDK after the node.
func (t *telemetry) probe(ctx context.Context, at time.Time) {
	last := t.probed.Load()
	if at.UnixMilli()-last < 1000 || !t.probed.CompareAndSwap(last, at.UnixMilli()) {
		return
	}
	_, span := t.tracer.Start(ctx, "bursar.probe", trace.WithNewRoot())
	t.tracing.Store(span.SpanContext().IsValid())
	// It is not ended, so that nobody is shown it.
}

// sent starts a batch's span, before its calls can be answered.
func (t *telemetry) sent(ctx context.Context, b *batch) {
	b.began = now()
	if !t.tracing.Load() {
		if t.probe(ctx, b.began); !t.tracing.Load() {
			return
		}
	}
	_, b.span = t.tracer.Start(ctx, "bursar.batch", batchSpan...)
	linked := b.span.SpanContext()
	b.link = &linked
}

// resolved ends what sent has begun; a batch without calls never left.
func (t *telemetry) resolved(ctx context.Context, b *batch, result string) {
	if b.began.IsZero() {
		return // the empty batch that finds out about another
	}
	m := batchResults[result]
	if len(b.calls) > 0 && t.batchDuration.Enabled(ctx) {
		t.batchDuration.Record(ctx, seconds(now().Sub(b.began)), m.record...)
		t.batchSize.Record(ctx, int64(len(b.calls)))
	}
	b.began = time.Time{}
	if b.span == nil {
		return
	}
	if len(b.calls) == 0 {
		return // a span that is not ended is shown to nobody
	}
	b.span.SetAttributes(m.attributes...)
	b.span.SetAttributes(attribute.Int("db.operation.batch.size", len(b.calls)), attribute.Int("bursar.batch.retries", b.attempts))
	if result != batchApplied {
		b.span.SetStatus(codes.Error, result)
	}
	b.span.End()
}

// retried counts a script call that is sent again.
func (t *telemetry) retried(ctx context.Context, why failure) {
	t.retries.Add(ctx, 1, retryReasons[why].add...)
}

var retryReasons = func() (all [failureKinds]*measured) {
	for why, name := range failureNames {
		all[why] = newMeasured(reasonKey.String(name))
	}
	return all
}()
