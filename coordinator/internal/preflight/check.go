package preflight

import (
	"cmp"
	"errors"
	"fmt"
)

// ErrUnfit is documented in package coordinator.
var ErrUnfit = errors.New("unsupported Redis configuration")

// Check is the result of one check of the Redis that a node uses.
type Check struct {
	Name   string `json:"check"`            // "eviction", for example; see Inspect
	Server string `json:"server,omitempty"` // host:port if there are several servers
	Status Status `json:"status"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"` // action to take, unless the status is ok

	sentinel error // sentinel error if the check failed; nil for ErrUnfit
	cause    error // cause of a failure, or nil
}

// Status is the result of a check.
type Status uint8

// The statuses. New fails if a check failed, and logs the warnings.
const (
	CheckUnknown Status = iota // the server doesn't report it
	CheckOK
	CheckWarning
	CheckFailed
)

var statusNames = [...]string{CheckUnknown: "unknown", CheckOK: "ok", CheckWarning: "warning", CheckFailed: "failed"}

// String returns the status' name in lower case, as in JSON.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// MarshalText returns the name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Err returns nil unless the check failed, and otherwise the error of New: an ErrUnfit,
// or a lane.ErrUnavailable if the check may pass later.
func (c Check) Err() error {
	if c.Status != CheckFailed {
		return nil
	}
	sentinel := cmp.Or(c.sentinel, ErrUnfit)
	if c.Server != "" {
		sentinel = fmt.Errorf("%w: %s", sentinel, c.Server)
	}
	if c.cause != nil {
		return fmt.Errorf("%w: %w; %s", sentinel, c.cause, c.Remedy)
	}
	return fmt.Errorf("%w: %s; %s", sentinel, c.Found, c.Remedy)
}
