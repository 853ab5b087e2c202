package dispatch

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	at := began.Add
	b := breaker{after: 5 * time.Second}
	for _, d := range []time.Duration{0, time.Second, 2500 * time.Millisecond, 4 * time.Second, 4999 * time.Millisecond} {
		if b.failed(at(d), at(d)) || !b.admits(at(d)) {
			t.Fatalf("open after %s", d)
		}
	}
	if !b.failed(at(4999*time.Millisecond), at(5*time.Second)) || b.state() != BreakerOpen || b.admits(at(5*time.Second)) {
		t.Fatal("not open after 5 s without an answer")
	}
	if b.failed(at(5*time.Second), at(5100*time.Millisecond)) {
		t.Error("opened twice")
	}
	admitted := 0
	for d := 5 * time.Second; d < 65*time.Second; d += 10 * time.Millisecond {
		if b.admits(at(d)) {
			admitted++
			if b.state() != BreakerHalfOpen {
				t.Fatal("a probe does not show")
			}
			b.failed(at(d), at(d))
		}
	}
	if admitted < 40 || admitted > 120 {
		t.Errorf("%d probes in a minute, want about 60", admitted)
	}
	if outage, closed := b.succeeded(at(65 * time.Second)); !closed || outage != 65*time.Second || !b.admits(at(65*time.Second)) {
		t.Errorf("an answer: outage %s, closed %t", outage, closed)
	}
	if _, closed := b.succeeded(at(66 * time.Second)); closed {
		t.Error("closed twice")
	}
	b.failed(at(67*time.Second), at(67*time.Second))
	b.succeeded(at(68 * time.Second))
	if b.failed(at(72*time.Second), at(72*time.Second)) || !b.admits(at(72*time.Second)) {
		t.Error("failures that an answer lies between add up")
	}
	b = breaker{after: 5 * time.Second}
	b.failed(at(0), at(0))
	if b.failed(at(time.Minute), at(time.Minute)) {
		t.Error("opened by two failures without an attempt in between")
	}
	b.succeeded(at(70 * time.Second))
	if b.failed(at(61*time.Second), at(71*time.Second)) {
		t.Error("opened by an attempt during which the server answered another")
	}
	if !b.failed(at(71*time.Second), at(76*time.Second)) {
		t.Error("not opened by one attempt of 5 s")
	}
	never := breaker{}
	if never.failed(at(0), at(0)) || never.failed(at(0), at(time.Hour)) || !never.admits(at(time.Hour)) {
		t.Error("a breaker that never opens has opened")
	}
}
