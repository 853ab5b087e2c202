//go:build faults

package audit_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/enginetest"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/luascripts"
)

func cpuOf(t *testing.T, c *redis.Client) float64 {
	var u, s float64
	for _, l := range strings.Split(c.Info(t.Context(), "cpu").Val(), "\r\n") {
		fmt.Sscanf(l, "used_cpu_user_main_thread:%f", &u)
		fmt.Sscanf(l, "used_cpu_sys_main_thread:%f", &s)
	}
	return u + s
}

func be(n uint64, bytes int) string {
	b := make([]byte, bytes)
	for i := range b {
		b[bytes-1-i] = byte(n)
		n >>= 8
	}
	return string(b)
}

func TestTmp(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t, redistest.WithConfig("slowlog-log-slower-than 0", "slowlog-max-len 100000"))
	client := server.Client()
	e := enginetest.Start(t, client, enginetest.Config{})
	keys := e.Keys("x")
	const nt, nh = 2500, 250_000
	do(t, e, luascripts.KindEnsure, "x", 5, budget.ReservationID{})
	pipe := client.Pipeline()
	for i := range nt {
		pipe.HSet(ctx, keys.Ledger, fmt.Sprintf("atenant-%d", i), be(1e9, 8)+be(1e9-10000, 8)+be(10000, 8)+be(0, 8)+be(100, 4)+be(uint64(i+2), 6)+be(1, 6)+"\x00")
	}
	for i := range nh {
		f := "h" + be(rand.Uint64(), 8) + be(uint64(i), 8)
		pipe.HSet(ctx, keys.Ledger, f, "o"+be(100, 8)+be(1.7e12, 6)+be(1.9e12, 6)+be(uint64(i%nt+2), 6)+be(1, 6)+"\x01"+fmt.Sprintf("tenant-%d", i%nt))
		pipe.ZAdd(ctx, keys.Timers, redis.Z{Score: 1.9e12, Member: f})
		if i%5000 == 0 {
			pipe.Exec(ctx)
		}
	}
	pipe.Exec(ctx)
	client.HSet(ctx, keys.Ledger, "c", be(1.75e12, 6)+be(1, 6)+be(10, 6)+be(nt+2, 6)+be(0, 6)+be(0, 6)+be(0, 4)+be(0, 6))
	header := client.HGet(ctx, keys.Ledger, "f").Val()
	for _, fields := range []int{250, 500, 1000, 2000} {
		var least []time.Duration
		var cpu []float64
		var client1 []time.Duration
		for range 7 {
			client.Do(ctx, "slowlog", "reset")
			before := cpuOf(t, client)
			s := store.NewSnapshot(header, "", false)
			s.Thorough, s.PageFields = true, fields
			began := time.Now()
			n := 0
			var own time.Duration
			for !s.Done() {
				n++
				reply, err := pageScr.Run(ctx, client, []string{keys.Ledger, keys.Timers}, s.Args()...).Slice()
				if err != nil {
					t.Fatal(err)
				}
				b := time.Now()
				if err := s.Add(reply); err != nil {
					t.Fatal(err)
				}
				own += time.Since(b)
			}
			_ = began
			client1 = append(client1, own)
			cpu = append(cpu, (cpuOf(t, client)-before)/float64(n)*1e6)
			var d []time.Duration
			for _, entry := range client.SlowLogGet(ctx, 100000).Val() {
				if strings.EqualFold(entry.Args[0], "evalsha") {
					d = append(d, entry.Duration)
				}
			}
			slices.Reverse(d)
			if len(least) == 0 {
				least = d
			}
			for i := range min(len(d), len(least)) {
				least[i] = min(least[i], d[i])
			}
			if s.Open != nh {
				t.Errorf("%d open, %d damages %v", s.Open, len(s.Damages), s.Damages[0])
			}
		}
		slices.Sort(cpu)
		slices.Sort(client1)
		sorted := slices.Sorted(slices.Values(least))
		half := len(least) / 2
		t.Logf("%d fields: %d pages, CPU of redis a page, least run %.0f us; page durations (least of 7): median %v, p99 %v, longest %v; in first half median %v; client %v in all", fields, len(least), cpu[0],
			sorted[len(sorted)/2], sorted[len(sorted)*99/100], sorted[len(sorted)-1], slices.Sorted(slices.Values(least[:half]))[half/2], client1[0])
	}
}

var pageScr = redis.NewScript(luascripts.Compose(luascripts.Redis).Page.Source)
