package runner

import (
	"testing"
	"time"
)

// A timer is never early, stops at once, and stays stopped.
func TestTimer(t *testing.T) {
	t.Parallel()
	for name, alarmed := range map[string]func() (timer, error){"the system's": newTimer, "the runtime's": newGoTimer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := alarmed()
			if err != nil {
				t.Fatal(err)
			}
			defer a.close()
			testTimer(t, a)
		})
	}
}

func testTimer(t *testing.T, a timer) {
	for range 20 {
		instant := time.Now().Add(time.Millisecond)
		if !a.sleep(time.Until(instant)) || time.Now().Before(instant) {
			t.Errorf("it was %s early, or was stopped", time.Until(instant))
		}
	}
	if !a.sleep(-time.Hour) {
		t.Error("an instant that has passed: it did not return at once")
	}
	time.AfterFunc(10*time.Millisecond, a.stop)
	for range 2 {
		if a.sleep(time.Hour) {
			t.Error("it was stopped and slept")
		}
	}
}
