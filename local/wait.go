package local

import (
	"runtime"
	"time"
)

const (
	// spinFor is how long a goroutine waits before it looks at the word again. In
	// that time another does some hundred operations with the account in its own
	// core's cache; looking sooner costs both of them more than it wins. It is
	// about what sync.Mutex spins.
	spinFor = 5 * time.Microsecond
	// From then on it is rather the holder that waits, for a processor.
	spinAttempts  = 8
	yieldAttempts = 128
	// From then on the holder is at something long: a list of very many holds, or
	// their expiry.
	sleepFor = 100 * time.Microsecond
)

// pause is what a goroutine does that has met a marked word, or lost a swap, for
// the attempt-th time.
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
