package luascripts

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The Lua and the Go side of a code are two texts; this holds them together.
func TestCodesHaveOneMeaningOnBothSides(t *testing.T) {
	t.Parallel()
	inLua := map[string]bool{"c": true, "l": true, "x": true} // the states of tombstones
	for _, match := range regexp.MustCompile(`return .*?'([A-Za-z])'(?: or '([A-Za-z])')?\n`).FindAllStringSubmatch(batchLua+mergeLua, -1) {
		for _, code := range match[1:] {
			if code != "" {
				inLua[code] = true
			}
		}
	}
	inGo := []byte{
		CodeReserved, CodeInsufficient, CodeNoTenant, CodeCommitted, CodeReleased, CodeOverrun,
		CodeNoHold, CodeWasCommitted, CodeWasReleased, CodeWasExpired, CodeCreated, CodeExists,
		CodeGranted, CodeOverflow, CodeWithdrawn, CodeBalance, CodeRemaining, CodeMemory,
		CodeKnown, CodeNotKnown, CodeDeleted, CodeHoldsOpen, CodeHoldsFull, CodeLost,
		CodeMerged, CodeMergedOver, CodeAsHigh, CodeForgotten,
	}
	for code := range inLua {
		if !slices.Contains(inGo, code[0]) {
			t.Errorf("batch.lua answers %q, which Go does not know", code)
		}
	}
	for _, code := range inGo {
		if !inLua[string(code)] {
			t.Errorf("Go knows %q, which batch.lua never answers", string(code))
		}
	}
}

func TestKindsHaveOneMeaningOnBothSides(t *testing.T) {
	t.Parallel()
	for _, kind := range []byte{KindReserve, KindReserveTTL, KindCommit, KindRelease, KindEnsure, KindGrant, KindWithdraw, KindBalance, KindRemaining, KindLookup, KindDelete, KindMerge} {
		if !strings.Contains(batchLua, "kind == "+strconv.Itoa(int(kind))+" ") {
			t.Errorf("batch.lua does not dispatch %q", string(kind))
		}
	}
}

func TestWordsAreAnsweredByTheScripts(t *testing.T) {
	t.Parallel()
	s := Compose(Redis, Known)
	all := s.Batch.Source + s.Sweep.Source + s.Open.Source + s.Close.Source + s.Holds.Source
	for _, word := range []string{Applied, NoFamily, Layout, Incarnation, NoSession, Cloned, Stale, Gap, Expired, More, Corrupt, Swept, Opened, Closed, HoldsFound, NoTenant} {
		if !strings.Contains(all, "'"+word) {
			t.Errorf("no script answers %s", word)
		}
	}
}
