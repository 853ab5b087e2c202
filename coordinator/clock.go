package coordinator

import "time"

// now is the node's own clock. It paces retries and never decides about a hold: deadlines
// are in Redis' time.
func now() time.Time { return time.Now() }
