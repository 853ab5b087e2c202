package budgettest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// witness replaces the testing.TB of a test that is expected to fail: it records failures
// instead of reporting them.
type witness struct {
	scope
	mu     sync.Mutex
	failed bool
	logged []string
}

// verdict calls run, and returns whether it failed its test and the messages that it logged.
func verdict(t testing.TB, run func(t testing.TB)) (failed bool, logged string) {
	w := &witness{scope: scope{TB: t}}
	var done sync.WaitGroup
	// Use another goroutine, because FailNow ends the goroutine that calls it.
	done.Go(func() {
		defer w.end()
		defer func() {
			if problem := recover(); problem != nil {
				w.Errorf("panic: %v", problem)
			}
		}()
		run(w)
	})
	done.Wait()
	return w.failed, strings.Join(w.logged, "\n")
}

func (w *witness) note(failed bool, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = w.failed || failed
	w.logged = append(w.logged, text)
}

func (w *witness) Failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *witness) Log(args ...any)                   { w.note(false, fmt.Sprintln(args...)) }
func (w *witness) Logf(format string, args ...any)   { w.note(false, fmt.Sprintf(format, args...)) }
func (w *witness) Error(args ...any)                 { w.note(true, fmt.Sprintln(args...)) }
func (w *witness) Errorf(format string, args ...any) { w.note(true, fmt.Sprintf(format, args...)) }
func (w *witness) Fail()                             { w.note(true, "Fail") }

func (w *witness) Fatal(args ...any) {
	w.Error(args...)
	w.FailNow()
}

func (w *witness) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	w.FailNow()
}

func (w *witness) FailNow() {
	w.note(true, "")
	runtime.Goexit()
}

// passes reports whether an engine passes the check of Run with this name.
func passes(t testing.TB, f Factory, name string) bool {
	for _, s := range suites(abilities{true, true, true, true}) {
		for _, c := range s.checks {
			if s.name+"/"+c.name == name {
				failed, _ := verdict(t, func(t testing.TB) { c.apply(t, f) })
				return !failed
			}
		}
	}
	t.Fatalf("no check of Run is called %q", name)
	return false
}

func TestVerdictDetectsFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run    func(t testing.TB)
		failed bool
	}{
		"nothing": {func(testing.TB) {}, false},
		"log":     {func(t testing.TB) { t.Log("fine") }, false},
		"error":   {func(t testing.TB) { t.Error("bad") }, true},
		"fatal":   {func(t testing.TB) { t.Fatalf("bad %d", 1); panic("unreachable") }, true},
		"panic":   {func(testing.TB) { panic("bad") }, true},
	} {
		ended := false
		failed, _ := verdict(t, func(t testing.TB) {
			t.Cleanup(func() { ended = true })
			c.run(t)
		})
		if failed != c.failed || !ended {
			t.Errorf("%s: failed %t (want %t), cleaned up %t", name, failed, c.failed, ended)
		}
	}
}
