package coordinator

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/layout"
)

// session is what a lane knows of its session in its family: what was applied
// last. Every batch takes effect once because the script admits it only after that
// (PROTOCOL.md, S1 to S10).
type session struct {
	family     string // its field: layout and incarnation; empty until it was met
	node       uint64
	nodeText   string
	applied    applied
	time       int64 // the family's, in milliseconds, when it answered last
	open       bool
	answeredAt time.Time
}

// applied is a session's field: the last batch, its digest, and the family's time
// when it was applied. All of it must be as the node was told: a batch that a
// promoted replica had not received may be applied there once more, by a late
// duplicate, and come to something else.
type applied struct {
	number uint64
	mark   string // "number digest", and what a repair has behind it
	when   string
}

// at is the family's time when it was applied.
func (a applied) at() int64 {
	at, _ := strconv.ParseInt(a.when, 10, 64) // it was tried
	return at
}

// since is the last batch that Redis had before a repair of the node that was not ended.
func (a applied) since() uint64 {
	_, digest, _ := strings.Cut(a.mark, " ")
	_, text, _ := strings.Cut(digest, "-")
	if since, err := strconv.ParseUint(text, 10, 64); err == nil {
		return since
	}
	return a.number
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

// cutApplied takes a session's field off the words of a reply.
func cutApplied(words string) (a applied, digest, rest string, err error) {
	parts := strings.SplitN(words, " ", 4)
	if len(parts) < 4 {
		return applied{}, "", "", fmt.Errorf("unreadable session %.60q", words)
	}
	number, err1 := strconv.ParseUint(parts[0], 10, 64)
	_, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return applied{}, "", "", fmt.Errorf("unreadable session %.60q: %w", words, err)
	}
	return applied{number, words[:len(parts[0])+1+len(parts[1])], parts[2]}, parts[1], parts[3], nil
}

// opened is an OPEN reply.
type opened struct {
	family string
	last   applied
	time   int64 // when the session was written last
}

func parseOpened(words string) (opened, error) {
	parts := strings.SplitN(words, " ", 3)
	if len(parts) < 3 {
		return opened{}, fmt.Errorf("unreadable reply OPEN %.60q", words)
	}
	last, _, _, err := cutApplied(parts[2])
	if err != nil {
		return opened{}, err
	}
	return opened{family: parts[0] + " " + parts[1], last: last, time: last.at()}, nil
}

// gap is a GAP reply: what Redis holds as this node's last batch.
type gap struct {
	last   applied
	digest string
	reply  string
}

func parseGap(words string) (g gap, err error) {
	g.last, g.digest, g.reply, err = cutApplied(words)
	g.digest, _, _ = strings.Cut(g.digest, "-")
	return g, err
}
