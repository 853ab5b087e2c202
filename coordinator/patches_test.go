//go:build faults

package coordinator

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/simredis"
	"github.com/calybris/bursar/luascripts"
)

// patchSeeds is how many schedules a mode may take to notice a patch. The unpatched
// code has to survive them all.
const patchSeeds = 20_000

type patch struct{ name, file, old, broken string }

// The patches break one rule each, where it is kept. The simulation must notice.
var patches = []patch{
	{"no session check", "luascripts/batch.lua",
		"if last ~= ARGV[base + 2] then", "if not last then"},
	{"the session's number alone is checked", "luascripts/batch.lua",
		"if last ~= ARGV[base + 2] then", "if not last or last:match('^%d+') ~= ARGV[base + 2]:match('^%d+') then"},
	{"a late batch takes effect", "luascripts/batch.lua",
		"if b.now > ARGV[base + 4] + 0 then", "if false then"},
	{"the stored reply is forgotten", "luascripts/sessions.lua",
		"return redis.call('HGET', books, 'r' .. node)", "return 'STALE ' .. last"},
	{"money that is not there is held", "luascripts/batch.lua",
		"if not debitIfAvailable(account, hi, lo) then\n\t\treturn 'I'\n\tend\n\thold", "credit(account, -hi, -lo)\n\thold"},
	{"a hold is released twice", "luascripts/batch.lua",
		"if value:byte() ~= 111 then -- not open", "if value:byte() ~= 111 and (actual or value:byte() ~= 108) then"},
	{"a committed hold is committed again", "luascripts/batch.lua",
		"if value:byte() ~= 111 then -- not open", "if value:byte() ~= 111 and not (actual and value:byte() == 99) then"},
	{"the tombstone is dropped", "luascripts/endings.lua",
		"\tb.ended[field] = text\n\tb.fields", "\tdrop(b, { field })\n\tb.fields"},
	{"an amount goes through a double", "luascripts/batch.lua",
		"put(b, field, 'o' .. cost", "put(b, field, 'o' .. ('%d'):format(cost + 0)"},
	{"the surplus of a commit is lost", "luascripts/batch.lua",
		"credit(account, -overHi, -overLo)", "account.dirty = true"},
	{"what expires is not credited", "luascripts/endings.lua",
		"\t\t\tcredit(account, hi, lo)\n\t\t\thold", "\t\t\thold"},
	{"a settled hold keeps its reservation", "luascripts/batch.lua",
		"\thold(account, -heldHi, -heldLo)\n\ttell", "\ttell"},
	{"no session check of a single operation", "luascripts/single.lua",
		"last ~= ARGV[base + 2] or ", ""},
	{"a late single operation takes effect", "luascripts/single.lua",
		"now > ARGV[base + 4] + 0 or ", ""},
	{"a single operation comes before what is due", "luascripts/single.lua",
		"first ~= '0' and first + 0 <= now", "false"},
	{"money that is not there is held by a single reserve", "luascripts/single.lua",
		"rh, rl = less(rh, rl, hi, lo)", "rh, rl = carry(rh - hi, rl - lo)"},
	{"the deadline of a single reserve is not noted", "luascripts/single.lua",
		"if deadline and (first == '0' or ends < first + 0) then", "if false then"},
	{"a single commit overruns", "luascripts/single.lua",
		"if leftHi < 0 and (", "if false and ("},
	{"a hold that was settled alone keeps its reservation", "luascripts/single.lua",
		"\tsh, sl = less(sh, sl, heldHi, heldLo)\n", "\tlocal _ = less(sh, sl, heldHi, heldLo)\n"},
	{"a single release returns nothing", "luascripts/single.lua",
		"\trh, rl = rh + heldHi, rl + heldLo\n", "\tif actual then\n\t\trh, rl = rh + heldHi, rl + heldLo\n\tend\n"},
	{"the reply of a single operation is not kept", "luascripts/single.lua",
		"answered, reply,\n", "answered, 'APPLIED I ' .. nowText .. ' ' .. r,\n"},
	{"a merge lowers", "luascripts/merge.lua",
		"if order[was] > order[state]", "if false and order[was] > order[state]"},
	{"a merge does not undo what was there", "luascripts/merge.lua",
		"\t\tmove(account, was, had, -1)\n\telse", "\telse"},
	{"what has ended and is forgotten is merged", "luascripts/merge.lua",
		"if session and not never then", "if false then"},
	{"merged tombstones go like others", "luascripts/endings.lua",
		"if finished > 0 and record then", "if false then"},
	{"a lost session begins anew at a new number", "coordinator/lane.go",
		"l.openNumber = l.opened\n", "l.openNumber = 0\n"},
	{"the batch of a merged id is not barred", "luascripts/merge.lua",
		"if last and name ~= b.session", "if false and name ~= b.session"},
	{"a batch is given up without an empty one", "coordinator/failure.go",
		"\tl.superseded = b\n\tl.sweeping = false\n", "\tl.fail(b, func(*call) error { return ErrUnavailable })\n\tl.sweeping = false\n"},
	{"a batch is given up under its own number", "coordinator/failure.go",
		"l.pending = &batch{number: l.c.nextNumber(), lost: true}", "l.pending = &batch{number: b.number, lost: true}"},
	{"a lost batch is sent again under a new number", "coordinator/failure.go",
		"if !b.lost && l.superseded == nil {\n\t\t\t// Its bytes", "if l.superseded == nil {\n\t\t\t// Its bytes"},
	{"a lost reply counts as a refusal", "coordinator/failure.go",
		"b.lost = b.lost || !l.sweeping", "l.pending, l.sweeping = nil, false\n\t\tl.takeBack(b)\n\t\treturn"},
	{"an error that no list knows counts as a refusal", "coordinator/failure.go",
		"failureRefused\n\t}\n\treturn failureUnknown\n", "failureRefused\n\t}\n\treturn failureRefused\n"},
	{"a batch that is given up for an unknown reply was not executed", "coordinator/failure.go",
		"if kind == failureUnknown && !l.sweeping {", "if false {"},
	{"a repeat that meets full memory is refused", "coordinator/failure.go",
		"l.pending.short = true\n\t\t\treturn 0", "b := l.pending\n\t\t\tl.pending = nil\n\t\t\tl.fail(b, func(*call) error { return ErrOutOfMemory })\n\t\t\treturn 0"},
	{"an abandoned reserve is not released", "coordinator/resolve.go",
		"if !l.answer(c, answers[i]) && reserves && answers[i].outcome == budget.Reserved {", "if !l.answer(c, answers[i]) && reserves && id.IsZero() {"},
	{"an abandoned lookup releases", "coordinator/resolve.go",
		"&& reserves && answers", "&& (reserves || true) && answers"},
	{"a gap is not repaired", "coordinator/resolve.go",
		"l.startRepair(g.last, g.reply)", "l.repairs = nil"},
	{"a lost session is not repaired", "coordinator/resolve.go",
		"l.startRepair(applied{}, \"\")", "l.repairs = nil"},
	{"commits are not retained", "coordinator/repair.go",
		"case a.outcome == budget.Committed && c.settles():", "case a.outcome == budget.Committed && c.kept:"},
	{"holds are not retained", "coordinator/repair.go",
		"case a.outcome == budget.Reserved && c.reserves():", "case a.outcome == budget.Reserved && c.kept:"},
	{"what a late duplicate made again is merged again", "coordinator/repair.go",
		"return h.state == stateOpen && h.hi", "return h.state == 0 && h.hi"},
	{"a gap is taken for nothing", "coordinator/resolve.go",
		"l.giveUpIDs(b)\n\t\tl.takeBack(b)\n\t\tif given != nil {\n\t\t\tl.ended(given, batchLost)", "l.takeBack(b)\n\t\treturn\n\t\tif given != nil {\n\t\t\tl.ended(given, batchLost)"},
}

var noticed = regexp.MustCompile(`seed (\d+): (.*)`)

func TestPatchesAreNoticed(t *testing.T) {
	for _, p := range patches {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(filepath.Join("..", p.file))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), p.old); n != 1 {
				t.Fatalf("%s has %q %d times, want once", p.file, p.old, n)
			}
			if filepath.Ext(p.file) == ".lua" {
				p.inLua(t)
			} else {
				p.inGo(t, string(source))
			}
		})
	}
}

// inLua runs the scripts as they would be composed of the broken file.
func (p patch) inLua(t *testing.T) {
	scripts := simShared().scripts
	for _, script := range []*luascripts.Script{&scripts.Batch, &scripts.BatchShortOfMemory, &scripts.Merge, &scripts.Sweep, &scripts.Open, &scripts.Close, &scripts.Holds} {
		script.Source = strings.Replace(script.Source, p.old, p.broken, 1)
		sum := sha1.Sum([]byte(script.Source))
		script.SHA = hex.EncodeToString(sum[:])
	}
	server := simredis.NewServer()
	for seed := range uint64(patchSeeds) {
		for _, mode := range simModes {
			s := newSimulation(server, seed, mode, nil)
			s.scripts = scripts
			if wrong := s.run(); len(wrong) > 0 {
				t.Logf("seed %d: %.150s", seed, wrong[0])
				return
			}
		}
	}
	t.Fatalf("not noticed in %d schedules of each mode", patchSeeds)
}

// inGo runs TestSimulation of a package that is built with the broken file.
func (p patch) inGo(t *testing.T, source string) {
	file, err := filepath.Abs(filepath.Join("..", p.file))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	broken, overlay := filepath.Join(folder, "broken.go"), filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(broken, []byte(strings.Replace(source, p.old, p.broken, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{file: broken}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replaced, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-ldflags=-w", "-overlay", overlay, "-run", "^TestSimulation$", "-sim.schedules", strconv.Itoa(patchSeeds), ".")
	out, err := cmd.CombinedOutput()
	found := noticed.FindStringSubmatch(string(out))
	if err == nil || found == nil {
		t.Fatalf("not noticed in %d schedules of each mode: %v\n%.2000s", patchSeeds, err, out)
	}
	t.Logf("seed %s: %.150s", found[1], found[2])
}
