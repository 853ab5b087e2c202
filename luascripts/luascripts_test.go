package luascripts

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/redistest"
)

func be(n uint64, bytes int) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return string(b[8-bytes:])
}

// BenchmarkBatch measures Redis' time an operation.
func BenchmarkBatch(b *testing.B) {
	ctx := context.Background()
	for _, shape := range []struct{ k, tenants int }{{1, 1000}, {4, 1000}, {8, 1000}, {16, 1000}, {32, 1000}, {64, 1000}, {128, 1000}, {128, 1}, {256, 1}} {
		b.Run(fmt.Sprintf("%d ops, %d tenants", shape.k, shape.tenants), func(b *testing.B) {
			client := redistest.Start(b).Client()
			s := Compose(Redis)
			const header = "2 1 0 abcdef0123456789"
			client.HSet(ctx, "{p}:ledger", "f", header, "c", string(make([]byte, ControlBytes)))
			client.ZAdd(ctx, "{p}:timers")
			client.Do(ctx, "zadd", "{p}:timers", "+inf", Sentinel)
			node := "nodenode"
			reply, err := client.Eval(ctx, s.Open.Source, []string{"{p}:ledger"}, node, be(1, 8), "", "2 1 0 ").Text()
			if err != nil || reply[:6] != "OPEN \x17" {
				b.Fatalf("%q %v", reply, err)
			}
			session := reply[6 : 6+23]
			config := node + be(900000, 6) + be(600000, 6) + be(16384, 4) + be(100000, 4)
			number := uint64(1)
			send := func(kinds, accountOf string, args string, accounts int, fields []any) string {
				number++
				mark := be(number, 8) + be(number*77, 8)
				all := append([]any{config, "", header, session, mark, be(uint64(time.Now().UnixMilli()+5000), 6) + be(uint64(accounts), 2), kinds, accountOf, args}, fields...)
				reply, err := client.EvalSha(ctx, s.Batch.SHA, []string{"{p}:ledger", "{p}:timers"}, all...).Text()
				if err != nil || reply[0] != 'A' {
					b.Fatalf("%q %v", reply, err)
				}
				session = "a" + mark + reply[1:7]
				return reply[8 : 8+len(kinds)]
			}
			client.ScriptLoad(ctx, s.Batch.Source)
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
				send(kinds, of, args, len(fields), fields)
			}
			type hold struct {
				field  string
				tenant int
			}
			var open []hold
			next, id := 0, uint64(0)
			client.ConfigResetStat(ctx)
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
						f := "h" + node + be(id, 8)
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
				codes := send(kinds, o, args, len(fields), append(fields, named...))
				for i := range codes {
					if codes[i] != 'R' && codes[i] != 'C' {
						b.Fatalf("codes %s of %s", codes, kinds)
					}
				}
			}
			info, _ := client.Info(ctx, "commandstats").Result()
			var calls, us int
			for _, l := range splitLines(info) {
				fmt.Sscanf(l, "cmdstat_evalsha:calls=%d,usec=%d", &calls, &us)
			}
			b.ReportMetric(float64(us)/float64(ops), "us/op")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func splitLines(s string) (l []string) {
	for len(s) > 0 {
		i := 0
		for i < len(s) && s[i] != '\n' {
			i++
		}
		l = append(l, s[:i])
		s = s[min(i+1, len(s)):]
	}
	return l
}
