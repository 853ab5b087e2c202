package coordinator

import "time"

// now is the node's own clock. It paces retries, and never decides about a hold:
// deadlines are Redis' time.
func now() time.Time { return time.Now() }

// familyTime is about what Redis' clock says, where a day more or less is all the
// same; a test's clock takes its place as it does in the scripts.
func (c *Coordinator) familyTime() time.Time {
	if c.config.clock != nil {
		return c.config.clock()
	}
	// Without the monotonic clock, which stands still while a machine is suspended.
	return c.config.now().Round(0)
}
