package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
)

// instruments are all that an SDK reads from a node: name, unit, kind and the names of
// the attributes. The board and the alerts depend on them.
var instruments = []string{
	"bursar.batch.duration s histogram [bursar.batch.result]",
	"bursar.batch.retries {retry} counter [bursar.retry.reason]",
	"bursar.batch.size {operation} histogram []",
	"bursar.breaker.state {state} gauge [bursar.key.prefix db.namespace server.address server.port]",
	"bursar.gaps {gap} counter [bursar.partition]",
	"bursar.hold.abandoned {hold} counter []",
	"bursar.operation.count {operation} counter [bursar.level.depth bursar.operation.name bursar.outcome error.type]",
	"bursar.operation.duration s histogram [bursar.level.depth bursar.operation.name bursar.outcome error.type]",
	"bursar.operation.unknown {operation} counter [bursar.operation.name]",
	"bursar.queue.length {operation} updowncounter [bursar.key.prefix db.namespace server.address server.port]",
	"bursar.repair.forgotten {reservation} counter []",
	"bursar.repair.merged {reservation} counter []",
	"bursar.repair.unmerged {reservation} counter []",
	"bursar.tenant.committed {microcent} gauge [bursar.key.prefix bursar.tenant.id db.namespace server.address server.port]",
	"bursar.tenant.ended {microcent} gauge [bursar.key.prefix bursar.tenant.id db.namespace server.address server.port]",
	"bursar.tenant.epoch.end s gauge [bursar.key.prefix bursar.tenant.id db.namespace server.address server.port]",
	"bursar.tenant.granted {microcent} gauge [bursar.key.prefix bursar.tenant.id db.namespace server.address server.port]",
	"bursar.tenant.holds {hold} gauge [bursar.key.prefix bursar.tenant.id db.namespace server.address server.port]",
	"bursar.tenant.remaining {microcent} gauge [bursar.key.prefix bursar.tenant.id db.namespace server.address server.port]",
	"bursar.tenant.reserved {microcent} gauge [bursar.key.prefix bursar.tenant.id db.namespace server.address server.port]",
	"bursar.threshold.crossed {threshold} counter [bursar.threshold.percent]",
	"bursar.timers.lost {partition} counter []",
}

// reading is the result of a collection: a value for each set of attributes, for a
// histogram its count.
type reading map[string]map[attribute.Distinct]point

type point struct {
	attributes attribute.Set
	value      int64
	sum        float64
}

// read collects through the SDK, and describes each instrument as instruments does.
func read(t *testing.T, reader *sdkmetric.ManualReader) (reading, []string) {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	all := make(reading)
	var described []string
	for _, scope := range rm.ScopeMetrics {
		if scope.Scope.Name != instrumentationScope {
			t.Errorf("scope %q", scope.Scope.Name)
		}
		for _, m := range scope.Metrics {
			kind, points := pointsOf(t, m)
			names := make(map[string]bool)
			all[m.Name] = make(map[attribute.Distinct]point)
			for _, p := range points {
				all[m.Name][p.attributes.Equivalent()] = p
				for _, a := range p.attributes.ToSlice() {
					names[string(a.Key)] = true
				}
			}
			described = append(described, fmt.Sprintf("%s %s %s %v", m.Name, m.Unit, kind, slices.Sorted(maps.Keys(names))))
			if m.Description == "" {
				t.Errorf("%s has no description", m.Name)
			}
		}
	}
	slices.Sort(described)
	return all, described
}

func pointsOf(t *testing.T, m metricdata.Metrics) (kind string, points []point) {
	t.Helper()
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		kind = "updowncounter"
		if data.IsMonotonic {
			kind = "counter"
		}
		for _, p := range data.DataPoints {
			points = append(points, point{attributes: p.Attributes, value: p.Value})
		}
	case metricdata.Gauge[int64]:
		kind = "gauge"
		for _, p := range data.DataPoints {
			points = append(points, point{attributes: p.Attributes, value: p.Value})
		}
	case metricdata.Histogram[int64]:
		kind = "histogram"
		for _, p := range data.DataPoints {
			points = append(points, point{attributes: p.Attributes, value: int64(p.Count), sum: float64(p.Sum)})
		}
	case metricdata.Histogram[float64]:
		kind = "histogram"
		for _, p := range data.DataPoints {
			points = append(points, point{attributes: p.Attributes, value: int64(p.Count), sum: p.Sum})
		}
	default:
		t.Fatalf("%s is a %T", m.Name, m.Data)
	}
	return kind, points
}

// nodeKeys are the attributes of a node's observations.
var nodeKeys = []attribute.Key{addressKey, portKey, databaseKey, prefixKey, numberKey}

// of returns the value of an instrument for exactly these attributes in addition to the
// node's, summed over all partitions and depths of levels.
func (r reading) of(name string, attributes ...string) int64 {
	var kvs []attribute.KeyValue
	for i := 0; i < len(attributes); i += 2 {
		kvs = append(kvs, attribute.String(attributes[i], attributes[i+1]))
	}
	total := int64(0)
	set := attribute.NewSet(kvs...)
	for _, p := range r[name] {
		if own, _ := p.attributes.Filter(func(kv attribute.KeyValue) bool {
			return kv.Key != partitionKey && kv.Key != depthKey && !slices.Contains(nodeKeys, kv.Key)
		}); own.Equals(&set) {
			total += p.value
		}
	}
	return total
}

// telemetered returns a node whose telemetry can be read.
func telemetered(t *testing.T, server *redistest.Server, opts ...Option) (*Coordinator, *sdkmetric.ManualReader, *tracetest.SpanRecorder) {
	t.Helper()
	reader, recorder := sdkmetric.NewManualReader(), tracetest.NewSpanRecorder()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	c := node(t, server.Client(), append(opts, WithMeterProvider(meters), WithTracerProvider(tracers))...)
	return c, reader, recorder
}

// Outcomes have the depth of the level that gave or refused, and not its name.
func TestTelemetryOfLevels(t *testing.T) {
	t.Parallel()
	c, reader, recorder := telemetered(t, redistest.Start(t))
	ensure(t, c, "acme", 100)
	ensure(t, c, "acme/search/key-7", 100)
	for range 4 { // acme is used up in the third round
		if _, err := c.TryReserve(t.Context(), "acme/search/key-7", 20); err != nil {
			t.Fatal(err)
		}
		if _, err := c.TryReserve(t.Context(), "acme", 20); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := read(t, reader)
	depths := make(map[string]int64)
	for _, p := range got["bursar.operation.count"] {
		if name, _ := p.attributes.Value(operationKey); name.AsString() == "reserve" {
			outcome, _ := p.attributes.Value(outcomeKey)
			depth, _ := p.attributes.Value(depthKey)
			depths[fmt.Sprint(outcome.AsString(), " ", depth.AsInt64())] += p.value
		}
	}
	if want := map[string]int64{"reserved 3": 1, "reserved 1": 4, "insufficient 1": 3}; !maps.Equal(depths, want) {
		t.Errorf("got %v, want %v", depths, want)
	}
	for _, span := range recorder.Ended() {
		for _, a := range span.Attributes() {
			if strings.Contains(a.Value.String(), "acme") {
				t.Errorf("a span has %s = %s", a.Key, a.Value.String())
			}
		}
	}
}

// Each kind of refusal has the depth of the level that refused. A grant that is refused
// because its own account is closed has no level, so it has no depth.
func TestTelemetryOfRefusals(t *testing.T) {
	t.Parallel()
	c, reader, _ := telemetered(t, redistest.Start(t))
	for _, root := range []budget.TenantID{"capped", "frozen", "closed", "overrun"} {
		ensure(t, c, root, 100)
		ensure(t, c, root+"/search", 20)
		ensure(t, c, root+"/search/key-7", 100)
	}
	r, err := c.TryReserve(t.Context(), "overrun/search/key-7", 20)
	if err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	_, err1 := c.Configure(t.Context(), "capped/search", budget.CapHold(1))
	_, err2 := c.FreezeTenant(t.Context(), "frozen")
	_, err3 := c.CloseTenant(t.Context(), "closed/search/key-7")
	_, err4 := c.TryReserve(t.Context(), "capped/search/key-7", 2)
	_, err5 := c.TryReserve(t.Context(), "frozen/search/key-7", 2)
	_, err6 := c.TryReserve(t.Context(), "closed/search/key-7", 2)
	_, err7 := c.Grant(t.Context(), "closed/search/key-7", 2)
	_, err8 := c.Commit(t.Context(), r.ID, 30)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, reader)
	depths := make(map[string]int64)
	for _, p := range got["bursar.operation.count"] {
		name, _ := p.attributes.Value(operationKey)
		if outcome, _ := p.attributes.Value(outcomeKey); slices.Contains([]string{"capped", "frozen", "closed", "overrun"}, outcome.AsString()) {
			depth, _ := p.attributes.Value(depthKey)
			depths[fmt.Sprint(name.AsString(), " ", outcome.AsString(), " ", depth.AsInt64())] += p.value
		}
	}
	want := map[string]int64{"reserve capped 2": 1, "reserve frozen 1": 1, "reserve closed 3": 1, "grant closed 0": 1, "commit overrun 2": 1}
	if !maps.Equal(depths, want) {
		t.Errorf("got %v, want %v", depths, want)
	}
}

// Every instrument and attribute is read back, with the values that operations of
// every kind, an outage, a lost partition and an abandoned reserve give them.
func TestTelemetryReadBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, reader, recorder := telemetered(t, server, WithObservedTenants("acme", "ghost"))
	ensure(t, c, "acme", 1000)
	lost := elsewhere("acme")
	ensure(t, c, lost, 1)
	id, gone := reserve(t, c, 100), reserve(t, c, 10)
	reserve(t, c, 7)
	if _, err := c.TryReserve(t.Context(), "acme", 100_000); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TryReserve(t.Context(), "acme", 1, budget.WithHoldTTL(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Configure(t.Context(), "acme", budget.AtThresholds(4, 5), budget.InWindow(budget.Window{Period: budget.Month})); err != nil || r.Err() != nil {
		t.Fatal(r, err)
	}
	settleAll(t, c, id, gone)
	abandonOne(t, c, server)
	client := server.Client()
	client.Del(t.Context(), store.KeysOf("bursar", DefaultPartitions, store.PartitionOf(lost, DefaultPartitions)).Ledger)
	if _, err := c.TryReserve(t.Context(), lost, 1); !errors.Is(err, ErrGap) {
		t.Errorf("a lost partition: %v", err)
	}

	got, described := read(t, reader)
	if diff := cmp.Diff(instruments, described); diff != "" {
		t.Errorf("the instruments differ (-want +got):\n%s", diff)
	}
	op, outcome, failed := string(operationKey), string(outcomeKey), string(errorTypeKey)
	for _, c := range []struct {
		want       int64
		name       string
		attributes []string
	}{
		{4, "bursar.operation.count", []string{op, "reserve", outcome, "reserved"}},
		{1, "bursar.operation.count", []string{op, "reserve", outcome, "insufficient"}},
		{1, "bursar.operation.count", []string{op, "reserve", failed, "unknown_outcome"}},
		{1, "bursar.operation.count", []string{op, "reserve", failed, "gap"}},
		{2, "bursar.operation.count", []string{op, "ensure_tenant", outcome, "created"}},
		{1, "bursar.operation.count", []string{op, "commit", outcome, "committed"}},
		{2, "bursar.operation.count", []string{op, "release", outcome, "missing_reservation"}},
		{1, "bursar.operation.count", []string{op, "release", outcome, "released"}},
		{1, "bursar.operation.count", []string{op, "lookup", outcome, "committed"}},
		{1, "bursar.operation.count", []string{op, "grant", outcome, "granted"}},
		{1, "bursar.operation.count", []string{op, "withdraw", outcome, "withdrawn"}},
		{1, "bursar.operation.count", []string{op, "configure", outcome, "configured"}},
		{1, "bursar.operation.count", []string{op, "delete_tenant", outcome, "holds_open"}},
		{1, "bursar.operation.count", []string{op, "holds", outcome, "found"}}, // the reads of gauges are not counted
		{1, "bursar.operation.count", []string{op, "remaining", outcome, "found"}},
		{4, "bursar.operation.duration", []string{op, "reserve", outcome, "reserved"}},
		{1, "bursar.operation.unknown", []string{op, "reserve"}},
		{1, "bursar.gaps", nil},
		{1, "bursar.hold.abandoned", nil},
		{0, "bursar.queue.length", nil},
		{1, "bursar.batch.duration", []string{"bursar.batch.result", "lost"}},
		{1010, "bursar.tenant.granted", []string{"bursar.tenant.id", "acme"}},
		{957, "bursar.tenant.remaining", []string{"bursar.tenant.id", "acme"}},
		{8, "bursar.tenant.reserved", []string{"bursar.tenant.id", "acme"}},
		{45, "bursar.tenant.committed", []string{"bursar.tenant.id", "acme"}},
		{0, "bursar.tenant.ended", []string{"bursar.tenant.id", "acme"}},
		{2, "bursar.tenant.holds", []string{"bursar.tenant.id", "acme"}},
	} {
		if v := got.of(c.name, c.attributes...); v != c.want {
			t.Errorf("%s%v is %d, want %d", c.name, c.attributes, v, c.want)
		}
	}
	if n := got.of("bursar.batch.retries", "bursar.retry.reason", "no_script"); n == 0 {
		t.Error("no retry was counted for the first script call, whose script Redis did not know")
	}
	for _, p := range got["bursar.threshold.crossed"] { // 45 of 1,000 is 4.5 %
		if percent, is := p.attributes.Value(percentKey); is && (percent.AsInt64() != 4 || p.value != 1) {
			t.Errorf("the threshold of %d %% was crossed %d times", percent.AsInt64(), p.value)
		}
	}
	sizes := got["bursar.batch.size"]
	for _, p := range sizes {
		if p.value < 10 || p.sum < float64(p.value) {
			t.Errorf("batch sizes: %d batches of %g operations", p.value, p.sum)
		}
	}
	noTenantIn(t, got, recorder)
}

func settleAll(t *testing.T, c *Coordinator, id, gone budget.ReservationID) {
	t.Helper()
	ctx := t.Context()
	_, err1 := c.Commit(ctx, id, 45)
	_, err2 := c.Release(ctx, id)
	_, err3 := c.Release(ctx, gone)
	_, err4 := c.Lookup(ctx, id)
	_, err5 := c.Grant(ctx, "acme", 11)
	_, err6 := c.Withdraw(ctx, "acme", 1)
	_, err7 := c.DeleteTenant(ctx, "acme")
	_, err8 := c.Holds(ctx, "acme")
	_, err9 := c.Remaining(ctx, "acme")
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9); err != nil {
		t.Fatal(err)
	}
}

// abandonOne lets a caller give up while its reserve is in flight, and waits until its
// hold is released.
func abandonOne(t *testing.T, c *Coordinator, server *redistest.Server) {
	t.Helper()
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.TryReserve(ctx, "acme", 3)
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	var unknown *UnknownOutcomeError
	if !errors.As(err, &unknown) {
		t.Fatalf("frozen: %v", err)
	}
	if s, err := c.Release(t.Context(), unknown.ID); err != nil || s.Prior != budget.Released {
		t.Fatalf("%+v, %v", s, err)
	}
}

// noTenantIn checks that no tenant's id is in an attribute unless WithObservedTenants
// asks for it.
func noTenantIn(t *testing.T, got reading, recorder *tracetest.SpanRecorder) {
	t.Helper()
	for name, points := range got {
		for _, p := range points {
			if text := p.attributes.Encoded(attribute.DefaultEncoder()); !strings.HasPrefix(name, "bursar.tenant.") && strings.Contains(text, "acme") {
				t.Errorf("%s names a tenant: %s", name, text)
			}
		}
	}
	for _, span := range recorder.Ended() {
		for _, a := range span.Attributes() {
			if strings.Contains(a.Value.String(), "acme") {
				t.Errorf("span %s names a tenant: %v", span.Name(), a)
			}
		}
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c, _, recorder := telemetered(t, server)
	ensure(t, c, "acme", 1000)
	tracer := sdktrace.NewTracerProvider().Tracer("the caller")
	ctx, parent := tracer.Start(t.Context(), "request")
	if r, err := c.TryReserve(ctx, "acme", 10); err != nil || r.Outcome != budget.Reserved {
		t.Fatal(r, err)
	}
	spans := recorder.Ended()
	reserved := spanNamed(t, spans, "bursar.reserve")
	if reserved.Parent().SpanID() != parent.SpanContext().SpanID() || reserved.SpanContext().TraceID() != parent.SpanContext().TraceID() {
		t.Error("the operation's span is not below the caller's")
	}
	want := []attribute.KeyValue{depthKey.Int(1), operationKey.String("reserve"), outcomeKey.String("reserved")}
	if !slices.Equal(reserved.Attributes(), want) || reserved.SpanKind() != trace.SpanKindInternal {
		t.Errorf("%s: %v", reserved.Name(), reserved.Attributes())
	}
	links := reserved.Links()
	i := slices.IndexFunc(spans, func(s sdktrace.ReadOnlySpan) bool {
		return len(links) == 1 && s.SpanContext().Equal(links[0].SpanContext)
	})
	if i < 0 {
		t.Fatalf("links %v lead to none of %d spans", links, len(spans))
	}
	batch := spans[i]
	set := attribute.NewSet(batch.Attributes()...)
	got := fmt.Sprint(batch.Name(), " ", batch.SpanKind(), " ", batch.Parent().IsValid(), " ", set.Encoded(attribute.DefaultEncoder()))
	if got != "bursar.batch client false bursar.batch.result=applied,bursar.batch.retries=0,db.operation.batch.size=1,db.operation.name=EVALSHA,db.system.name=redis" {
		t.Errorf("the batch's span: %s", got)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.TryReserve(ended, "acme", 10); err == nil {
		t.Fatal("no error")
	}
	spans = recorder.Ended()
	refused := spans[len(spans)-1]
	if refused.Status().Code != codes.Error || refused.Status().Description != "canceled" || len(refused.Links()) != 0 {
		t.Errorf("a call that was not sent: %v, %v", refused.Status(), refused.Links())
	}
}

func spanNamed(t *testing.T, spans []sdktrace.ReadOnlySpan, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	for _, s := range spans {
		if s.Name() == name {
			return s
		}
	}
	t.Fatalf("no span is named %s", name)
	return nil
}

// The documentation lists every instrument with its unit, and every attribute.
func TestDocumentationListsTheInstruments(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range instruments {
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '[' || r == ']' })
		for i, word := range words {
			if i != 2 && !strings.Contains(string(text), word) { // 2 is the kind
				t.Errorf("doc.go does not name %s of %s", word, words[0])
			}
		}
	}
}

// Close ends the collection of gauges: a later one sends no command.
func TestCloseEndsTelemetry(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	reader := sdkmetric.NewManualReader()
	c, err := New(t.Context(), server.Client(), quiet(), WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))), WithObservedTenants("acme"))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, reader); len(got["bursar.queue.length"]) != 1 {
		t.Errorf("before: %v", got)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, reader); len(got["bursar.queue.length"]) != 0 {
		t.Errorf("afterwards: %v", got)
	}
}
