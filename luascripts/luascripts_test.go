package luascripts

import (
	"context"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/redistest"
)

func be(n uint64, bytes int) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return string(b[8-bytes:])
}

// constants returns the constants of names.go that are bytes.
func constants(t *testing.T) map[string]byte {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]byte)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, is := n.(*ast.ValueSpec); is && len(spec.Values) == 1 {
			if value, is := spec.Values[0].(*ast.BasicLit); is && value.Kind == token.CHAR {
				text, err := strconv.Unquote(value.Value)
				if err != nil {
					t.Fatal(err)
				}
				found[spec.Names[0].Name] = text[0]
			}
		}
		return true
	})
	return found
}

var wordOfName = regexp.MustCompile("TTL|[A-Z][a-z]*")

// luaName is a constant's name in Lua, without the name of its group.
func luaName(name, group string) string {
	return strings.ToUpper(strings.Join(wordOfName.FindAllString(strings.TrimPrefix(name, group), -1), "_"))
}

// Every kind, code and state is filled into the Lua by its name, and no two of a group
// have one value.
func TestNamesOfGoAndLuaAgree(t *testing.T) {
	t.Parallel()
	all := constants(t)
	for group, inLua := range map[string]func(name string, c byte) map[string]string{
		"Kind": func(name string, c byte) map[string]string { return map[string]string{name: number(int(c))} },
		"Code": func(name string, c byte) map[string]string { return map[string]string{"CODE_" + name: letter(c)} },
		"Hold": func(name string, c byte) map[string]string {
			return map[string]string{name: letter(c), "IS_" + name: number(int(c))}
		},
		"Session": func(name string, c byte) map[string]string { return map[string]string{"SESSION_" + name: letter(c)} },
		"Field":   func(string, byte) map[string]string { return nil }, // Lua writes them out
	} {
		taken := make(map[byte]string)
		for name, c := range all {
			if !strings.HasPrefix(name, group) {
				continue
			}
			if other := taken[c]; other != "" {
				t.Errorf("%s and %s are both %q", name, other, c)
			}
			taken[c] = name
			for lua, want := range inLua(luaName(name, group), c) {
				if values[lua] != want {
					t.Errorf("$%s is %q, and %s is %s", lua, values[lua], name, want)
				}
			}
		}
		if len(taken) < 4 {
			t.Errorf("names.go has only the constants %v of %s", taken, group)
		}
	}
}

// Compose fills in every name, and there is no value that no script uses.
func TestComposeFillsInAllNames(t *testing.T) {
	t.Parallel()
	for _, dialect := range []Dialect{Redis, Miniredis} {
		s := Compose(dialect)
		for name, script := range map[string]Script{
			"batch": s.Batch, "low memory": s.BatchLowMemory, "merge": s.Merge, "open": s.Open, "close": s.Close, "rebuild": s.Rebuild, "page": s.Page,
		} {
			if left := regexp.MustCompile(`\$[A-Z]\w*`).FindAllString(script.Source, -1); left != nil {
				t.Errorf("dialect %d: %s has %v", dialect, name, left)
			}
			if strings.HasPrefix(script.Source, "#!lua") != (dialect == Redis) || len(script.SHA) != 40 {
				t.Errorf("dialect %d: %s begins with %.10q, its SHA is %q", dialect, name, script.Source, script.SHA)
			}
		}
	}
	entries, err := sources.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	for _, entry := range entries {
		text, err := sources.ReadFile(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range name.FindAllString(string(text), -1) {
			used[n[1:]] = true
		}
	}
	for n := range values {
		if !used[n] {
			t.Errorf("no script uses $%s", n)
		}
	}
}

// borders are amounts around the limits of limbs, doubles and 64 bits.
var borders = []int64{0, 1, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<53 - 1, 1<<53 + 1, 1 << 62, math.MaxInt64 - 1<<32, math.MaxInt64 - 1, math.MaxInt64}

// plus and minus are exact for all amounts, and beyond 64 bits.
func TestLimbsAreExact(t *testing.T) {
	t.Parallel()
	ledger, err := sources.ReadFile("ledger.lua")
	if err != nil {
		t.Fatal(err)
	}
	source := "#!lua\n" + fill(string(ledger), nil) + `
local answers = {}
for i = 1, #ARGV[1], 16 do
	local ah, al, bh, bl = read('>i4I4i4I4', ARGV[1], i)
	local ph, pl = plus(ah, al, bh, bl)
	local mh, ml = minus(ah, al, bh, bl)
	answers[#answers + 1] = format('%d %d %d %d', ph, pl, mh, ml)
end
return answers`
	signed := []int64{math.MinInt64}
	for _, b := range borders {
		signed = append(signed, b, -b)
	}
	var pairs [][2]int64
	var argument strings.Builder
	for _, a := range signed {
		for _, b := range signed {
			pairs = append(pairs, [2]int64{a, b})
			argument.WriteString(be(uint64(a), 8) + be(uint64(b), 8))
		}
	}
	answers, err := redistest.Start(t).Client().Eval(t.Context(), source, nil, argument.String()).StringSlice()
	if err != nil || len(answers) != len(pairs) {
		t.Fatal(len(answers), err)
	}
	for i, pair := range pairs {
		a, b := big.NewInt(pair[0]), big.NewInt(pair[1])
		var ph, pl, mh, ml int64
		if _, err := fmt.Sscan(answers[i], &ph, &pl, &mh, &ml); err != nil {
			t.Fatal(answers[i], err)
		}
		for _, c := range []struct {
			verb   string
			hi, lo int64
			want   *big.Int
		}{{"plus", ph, pl, new(big.Int).Add(a, b)}, {"minus", mh, ml, new(big.Int).Sub(a, b)}} {
			got := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(c.hi), 32), big.NewInt(c.lo))
			if got.Cmp(c.want) != 0 || c.lo < 0 || c.lo >= 1<<32 {
				t.Fatalf("%d %s %d is %d and %d, want %d", pair[0], c.verb, pair[1], c.hi, c.lo, c.want)
			}
		}
	}
}

// partition takes the batches of one node.
type partition struct {
	testing.TB
	client  *redis.Client
	scripts Scripts
	number  uint64
	session string
	reply   string // to the last batch
}

const testNode, testHeader = "nodenode", "4 1 0 abcdef0123456789"

func newPartition(tb testing.TB) *partition {
	tb.Helper()
	ctx := context.Background()
	p := &partition{TB: tb, client: redistest.Start(tb).Client(), scripts: Compose(Redis), number: 1}
	p.client.HSet(ctx, "{p}:ledger", "f", testHeader, "c", string(make([]byte, ControlBytes)))
	p.client.Do(ctx, "zadd", "{p}:timers", "+inf", Sentinel)
	p.client.ScriptLoad(ctx, p.scripts.Batch.Source)
	reply, err := p.client.Eval(ctx, p.scripts.Open.Source, []string{"{p}:ledger"}, testNode, be(1, 8), "", "4 1 0 ").Text()
	if err != nil || reply[:7] != "OPEN \x00\x17" {
		tb.Fatalf("%q %v", reply, err)
	}
	p.session = reply[7 : 7+SessionBytes]
	return p
}

// send applies a batch and returns its codes. fields are the accounts and then the holds
// that are named; of has the places of the operations' accounts if there are several.
func (p *partition) send(kinds, of, args string, accounts int, fields ...any) string {
	p.Helper()
	p.number++
	config := testNode + be(900000, 6) + be(600000, 6) + be(16384, 4) + be(100000, 4)
	mark := be(p.number, 8) + be(p.number*77, 8)
	features := byte(0)
	if strings.ContainsAny(kinds, string([]byte{KindConfigure, KindEnsureWith})) {
		features = BatchSettings
	}
	all := append([]any{config, "", testHeader, p.session, mark, be(uint64(time.Now().UnixMilli()+5000), 6) + string([]byte{features, byte(accounts)}), kinds, of, args}, fields...)
	reply, err := p.client.EvalSha(context.Background(), p.scripts.Batch.SHA, []string{"{p}:ledger", "{p}:timers"}, all...).Text()
	if err != nil || reply[0] != 'A' {
		p.Fatalf("%q %v", reply, err)
	}
	p.reply = reply
	codes := reply[8 : 8+len(kinds)]
	p.session = string(byte(SessionApplied)) + mark + reply[1:7] + codes
	return codes
}

// Operations on amounts at the borders decide and store what exact arithmetic does.
func TestAmountsAreExactAtTheBorders(t *testing.T) {
	t.Parallel()
	p, most := newPartition(t), big.NewInt(math.MaxInt64)
	sum := func(a *big.Int, b int64) *big.Int { return new(big.Int).Add(a, big.NewInt(b)) }
	check := func(granted, held, actual int64) {
		t.Helper()
		field, hold := fmt.Sprintf("at%d", p.number), "h"+testNode+be(p.number, 8)
		all, rest, reserved, committed := big.NewInt(granted), big.NewInt(granted), int64(0), int64(0)
		want := []byte{CodeCreated}
		expect := func(is bool, then, otherwise byte) bool {
			if !is {
				then = otherwise
			}
			want = append(want, then)
			return is
		}
		send := func(kinds, args string, named ...any) {
			t.Helper()
			codes := p.send(kinds, "", args, 1, append([]any{field}, named...)...)
			record := p.client.HGet(t.Context(), "{p}:ledger", field).Val()
			stored := be(all.Uint64(), 8) + be(rest.Uint64(), 8) + be(uint64(reserved), 8) + be(uint64(committed), 8)
			if codes != string(want) || !strings.HasPrefix(record, stored) {
				t.Fatalf("granted %d, held %d, actual %d: %s and %x, want %s and %x", granted, held, actual, codes, record, want, stored)
			}
			want = nil
		}
		made := expect(held <= granted, CodeReserved, CodeInsufficient)
		if made {
			reserved, rest = held, sum(rest, -held)
		}
		send(string([]byte{KindEnsure, KindReserve}), be(uint64(granted), 8)+be(uint64(held), 8)+hold)

		switch {
		case !made:
			want = append(want, CodeNoHold, CodeNoHold)
		case expect(actual <= granted, CodeCommitted, CodeOverrun):
			want = append(want, CodeWasCommitted)
			rest, reserved, committed = sum(sum(rest, held), -actual), 0, actual
		default:
			want = append(want, CodeReleased)
			rest, reserved = sum(rest, held), 0
		}
		if more := sum(all, held); expect(more.Cmp(most) <= 0, CodeGranted, CodeOverflow) {
			all, rest = more, sum(rest, held)
		}
		if less := sum(rest, -actual); expect(less.Sign() >= 0, CodeWithdrawn, CodeInsufficient) {
			all, rest = sum(all, -actual), less
		}
		send(string([]byte{KindCommit, KindRelease, KindGrant, KindWithdraw}), be(uint64(actual), 8)+be(uint64(held), 8)+be(uint64(actual), 8), hold, hold)
	}
	for _, granted := range borders {
		for _, held := range borders {
			for _, actual := range borders {
				check(granted, held, actual)
			}
		}
	}
}

// Overdrafts and thresholds at the borders decide as exact arithmetic does.
func TestSettingsAreExactAtTheBorders(t *testing.T) {
	t.Parallel()
	p := newPartition(t)
	percents := []int64{1, 50, 100, 1000}
	check := func(granted, overdraft, actual int64) {
		t.Helper()
		field, hold := fmt.Sprintf("at%d", p.number), "h"+testNode+be(p.number, 8)
		change := string([]byte{SetOverdraft | SetThresholds, 0}) + be(uint64(overdraft), 8) + strings.Repeat("\x00", 20) + string(byte(len(percents)))
		for _, percent := range percents {
			change += be(uint64(percent), 2)
		}
		change += "\x00" // no limits
		codes := p.send(string([]byte{KindEnsure, KindReserve, KindConfigure}), "", be(uint64(granted), 8)+be(1, 8)+hold+change, 1, field)
		fits := overdraft <= math.MaxInt64-granted
		payable, want := granted, string([]byte{CodeCreated, CodeReserved, CodeOverflow})
		if fits {
			payable, want = granted+overdraft, string([]byte{CodeCreated, CodeReserved, CodeConfigured})
		}
		if codes != want {
			t.Fatalf("granted %d, overdraft %d: %s, want %s", granted, overdraft, codes, want)
		}
		codes = p.send(string([]byte{KindCommit, KindCommitAvailable}), "", be(uint64(actual), 8)+be(uint64(actual), 8), 1, field, hold, hold)
		if want = string([]byte{CodeOverrun, CodeCommitted}); actual <= payable {
			want = string([]byte{CodeCommitted, CodeWasCommitted})
		}
		committed := min(actual, payable)
		if actual > payable {
			p.session += be(uint64(committed), 8) // the charged amount
		}
		stored := be(uint64(granted), 8) + be(uint64(granted-committed), 8) + be(0, 8) + be(uint64(committed), 8)
		if record := p.client.HGet(t.Context(), "{p}:ledger", field).Val(); codes != want || !strings.HasPrefix(record, stored) {
			t.Fatalf("granted %d, overdraft %d, actual %d: %s and %x, want %s and %x", granted, overdraft, actual, codes, record, want, stored)
		}
		crossed, crossings := uint64(0), ""
		for _, percent := range percents {
			share := new(big.Int).Mul(big.NewInt(granted), big.NewInt(percent))
			if fits && committed > 0 && share.Cmp(new(big.Int).Mul(big.NewInt(committed), big.NewInt(100))) <= 0 {
				crossed++
				crossings += "\x01" + be(uint64(percent), 2) + be(uint64(committed), 8) + be(uint64(granted), 8)
			}
		}
		if crossed > 0 {
			crossings = be(crossed, 2) + crossings
		}
		if flagged := p.reply[7]&FlagCrossed != 0; flagged != (crossed > 0) || !strings.HasSuffix(p.reply, crossings) {
			t.Fatalf("granted %d, committed %d: crossed %x, want %x", granted, committed, p.reply, crossings)
		}
	}
	for _, granted := range borders[1:] {
		for _, overdraft := range borders {
			for _, actual := range borders {
				check(granted, overdraft, actual)
			}
		}
	}
}

// The caps of an account are exact at the borders.
func TestCapsAreExactAtTheBorders(t *testing.T) {
	t.Parallel()
	p := newPartition(t)
	for _, limit := range borders {
		for _, cost := range borders[1:] {
			for place, by := range map[int]byte{8: CapHold, 16: CapReserved} {
				field := fmt.Sprintf("at%d", p.number)
				settings := []byte(strings.Repeat("\x00", SettingsBytes))
				copy(settings[place:], be(uint64(limit), 8))
				change := string([]byte{SetCapHold | SetCapReserved, 0}) + string(settings) + "\x00"
				reserve := func() string { return be(uint64(cost), 8) + "h" + testNode + be(p.number<<10+uint64(place), 8) }
				codes := p.send(string([]byte{KindEnsureWith, KindReserve}), "", be(math.MaxInt64, 8)+change+reserve(), 1, field)
				want := string([]byte{CodeCreated, CodeReserved})
				if limit > 0 && cost > limit {
					want = string([]byte{CodeCreated, CodeCapped})
				}
				if codes != want {
					t.Fatalf("cap %c of %d, cost %d: %s, want %s", by, limit, cost, codes, want)
				}
				if want[1] == CodeCapped && !strings.HasSuffix(p.reply, "\x01"+string(by)+be(uint64(limit), 8)) {
					t.Fatalf("cap %c of %d: %x", by, limit, p.reply)
				}
			}
		}
	}
}

// BenchmarkBatch measures Redis' time an operation.
func BenchmarkBatch(b *testing.B) {
	for _, shape := range []struct{ k, tenants int }{{1, 1000}, {4, 1000}, {8, 1000}, {16, 1000}, {32, 1000}, {64, 1000}, {128, 1000}, {128, 1}, {256, 1}} {
		b.Run(fmt.Sprintf("%d ops, %d tenants", shape.k, shape.tenants), func(b *testing.B) {
			p := newPartition(b)
			ctx := b.Context()
			for t := 0; t < shape.tenants; t += 100 {
				kinds, of, args := "", "", ""
				var fields []any
				for i := t; i < min(t+100, shape.tenants); i++ {
					kinds += "e"
					of += string([]byte{byte(i - t + 1)})
					args += be(1e15, 8)
					fields = append(fields, fmt.Sprintf("atenant-%d", i))
				}
				if len(fields) == 1 {
					of = ""
				}
				p.send(kinds, of, args, len(fields), fields...)
			}
			type hold struct {
				field  string
				tenant int
			}
			var open []hold
			next, id := 0, uint64(0)
			p.client.ConfigResetStat(ctx)
			ops := 0
			for range max(4000/shape.k, 200) {
				kinds, of, args := "", []byte{}, ""
				var fields, named []any
				seen := map[int]int{}
				place := func(t int) byte {
					if seen[t] == 0 {
						fields = append(fields, fmt.Sprintf("atenant-%d", t))
						seen[t] = len(fields)
					}
					return byte(seen[t])
				}
				for i := range shape.k {
					if (ops+i)%2 == 1 && len(open) > 8*shape.k {
						h := open[0]
						open = open[1:]
						kinds += "c"
						of = append(of, place(h.tenant))
						args += be(700, 8)
						named = append(named, h.field)
					} else {
						t := (next * 7) % shape.tenants
						next++
						id++
						f := "h" + testNode + be(id, 8)
						kinds += "r"
						of = append(of, place(t))
						args += be(1000, 8) + f
						open = append(open, hold{f, t})
					}
				}
				ops += shape.k
				o := string(of)
				if len(fields) == 1 {
					o = ""
				}
				codes := p.send(kinds, o, args, len(fields), append(fields, named...)...)
				for i := range codes {
					if codes[i] != 'R' && codes[i] != 'C' {
						b.Fatalf("codes %s of %s", codes, kinds)
					}
				}
			}
			info, _ := p.client.Info(ctx, "commandstats").Result()
			var calls, us int
			for _, l := range strings.Split(info, "\n") {
				_, _ = fmt.Sscanf(l, "cmdstat_evalsha:calls=%d,usec=%d", &calls, &us) // of other lines nothing
			}
			b.ReportMetric(float64(us)/float64(ops), "us/op")
			b.ReportMetric(0, "ns/op")
		})
	}
}
