package coordinator

import "time"

// The node's own clock paces retries and says how long Redis has been silent. It
// never decides about a hold: deadlines are Redis' time.
func now() time.Time { return time.Now() }
