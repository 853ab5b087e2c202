package simredis_test

import (
	"fmt"
	"testing"

	"github.com/calybris/bursar/coordinator/simredis"
	"github.com/calybris/bursar/luascripts"
)

func BenchmarkBatch(b *testing.B) {
	s := simredis.NewServer()
	s.Now = 1_700_000_000_000
	set := luascripts.Compose(luascripts.Redis, luascripts.Known)
	s.Store.Set("b", "f", "1 0123456789abcdef")
	do := func(args ...string) any {
		reply, err := s.Do(args)
		if err != nil {
			b.Fatal(err)
		}
		return reply
	}
	b.Log(do("eval", set.Open.Source, "1", "b", "00000000000000aa", "1", ""))
	prev := 1
	b.ResetTimer()
	for i := range b.N {
		kinds, rest := "r", []string{"100", fmt.Sprintf("h%032x", i)}
		if i == 0 {
			kinds, rest = "e", []string{"100000000000"}
		}
		args := []string{"eval", set.Batch.Source, "2", "b", "t", "x", "1 0123456789abcdef", "00000000000000aa", fmt.Sprint(prev), fmt.Sprint(prev + 1), "00000000000000ff", "", "1000", "1", "0", kinds, "0", "600000", "4096", "a"}
		args = append(args, rest...)
		args[5] = fmt.Sprint(len(args) - 6)
		reply := do(args...)
		if i < 2 {
			b.Log(reply)
		}
		prev++
	}
}
