package coordinator

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/layout"
)

// session is what a lane knows of its session in its family: which number was
// applied last. Every batch takes effect once because the script admits it only
// after that one (PROTOCOL.md, S1 to S10).
type session struct {
	family     string // its field: layout and incarnation; empty until it was met
	node       uint64
	nodeText   string
	last       uint64
	open       bool
	answeredAt time.Time
}

// sessionRetention is how long Redis keeps the session of a silent node
// (SESSION_RETENTION in sessions.lua), less a day for clocks and delays.
const sessionRetention = 6 * 24 * time.Hour

func newSession(node uint64) session {
	return session{node: node, nodeText: layout.Incarnation(node)}
}

// incarnation is the part of the family's field that says which one it is.
func (s session) incarnation() string {
	_, incarnation, _ := strings.Cut(s.family, " ")
	return incarnation
}

// opened is an OPEN reply.
type opened struct {
	family string
	last   uint64
}

func parseOpened(words string) (opened, error) {
	parts := strings.SplitN(words, " ", 5)
	if len(parts) < 4 {
		return opened{}, fmt.Errorf("unreadable reply OPEN %.60q", words)
	}
	last, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return opened{}, fmt.Errorf("unreadable reply OPEN %.60q: %w", words, err)
	}
	return opened{family: parts[0] + " " + parts[1], last: last}, nil
}

// gap is a GAP reply: what Redis holds as this node's last batch.
type gap struct {
	last   uint64
	digest string
	reply  string
}

func parseGap(words string) (gap, error) {
	parts := strings.SplitN(words, " ", 3)
	if len(parts) < 3 {
		return gap{}, fmt.Errorf("unreadable reply GAP %.60q", words)
	}
	last, err := strconv.ParseUint(parts[0], 10, 64)
	if err != nil {
		return gap{}, fmt.Errorf("unreadable reply GAP %.60q: %w", words, err)
	}
	return gap{last: last, digest: parts[1], reply: parts[2]}, nil
}
