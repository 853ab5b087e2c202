package telemetry

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
)

// faults is OpenTelemetry's global error handler and logger, whose defaults write to
// stderr in their own formats. While exporters start and stop, it collects errors; in
// between it reports each error, unless the last reported one was the same.
type faults struct {
	report func(error)

	mu         sync.Mutex
	collecting bool
	ended      bool
	collected  []string
	last       string
}

func collectFaults(report func(error)) *faults {
	f := &faults{report: report, collecting: true}
	otel.SetErrorHandler(f)
	otel.SetLogger(logr.New(f))
	return f
}

// Handle handles an error of the SDK or an exporter.
func (f *faults) Handle(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := err.Error()
	switch {
	case f.ended || text == f.last:
	case f.collecting:
		if !slices.Contains(f.collected, text) {
			f.collected = append(f.collected, text)
		}
	default:
		f.last = text
		f.report(fmt.Errorf("telemetry: %s", text))
	}
}

// reportFromNow reports the collected errors as one, and later ones as they come.
func (f *faults) reportFromNow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.collecting = false
	if err := f.take(); err != nil {
		f.report(fmt.Errorf("telemetry: %w", err))
	}
}

func (f *faults) collectFromNow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.collecting = true
}

// end returns the collected errors. Later ones are dropped.
func (f *faults) end() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	return f.take()
}

func (f *faults) take() error {
	errs := make([]error, len(f.collected))
	for i, text := range f.collected {
		errs[i] = errors.New(text)
	}
	f.collected = nil
	return errors.Join(errs...)
}

// Init does nothing. It and the methods below implement a logr.LogSink for errors only.
func (f *faults) Init(logr.RuntimeInfo) {}

// Enabled returns false: only errors are logged.
func (f *faults) Enabled(int) bool { return false }

// Info drops a message.
func (f *faults) Info(int, string, ...any) {}

// Error handles an error without its key-value pairs and without the text of a URL, since
// both may contain secrets from environment variables.
func (f *faults) Error(err error, msg string, _ ...any) {
	var unreadable *url.Error
	if err == nil || errors.As(err, &unreadable) {
		err = errors.New("not a URL")
	}
	f.Handle(fmt.Errorf("%s: %w", msg, err))
}

// WithValues drops the values.
func (f *faults) WithValues(...any) logr.LogSink { return f }

// WithName drops the name.
func (f *faults) WithName(string) logr.LogSink { return f }
