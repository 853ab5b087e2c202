package local

import (
	"runtime"
	"time"
)

const (
	// spinFor is the time that a goroutine waits before it loads the word again. In that
	// time another goroutine can do about a hundred operations with the account in its own
	// core's cache; loading sooner would slow down both. sync.Mutex spins for about as
	// long.
	spinFor = 5 * time.Microsecond
	// After spinAttempts, the lock's holder is probably waiting for a processor itself.
	spinAttempts = 8
	// After yieldAttempts, the holder is probably in a long operation: it lists very many
	// holds, or expires them.
	yieldAttempts = 128
	sleepFor      = 100 * time.Microsecond
)

// pause waits after a goroutine has found the word locked, or failed to swap it. attempt
// is the number of earlier attempts.
func pause(attempt int) {
	switch {
	case attempt < spinAttempts && attempt%2 == 0:
		spin(spinFor)
	case attempt < yieldAttempts:
		runtime.Gosched()
	default:
		time.Sleep(sleepFor)
	}
}
