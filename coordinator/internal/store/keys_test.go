package store

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// eachPossible calls do for every number of partitions.
func eachPossible(do func(partitions int)) {
	for partitions := 1; partitions <= MaxPartitions; partitions *= 2 {
		do(partitions)
	}
}

func TestKeysAreDistinctAndStable(t *testing.T) {
	t.Parallel()
	eachPossible(func(partitions int) {
		seen := make(map[string]bool)
		for i := range partitions {
			keys := KeysOf("p", partitions, i)
			if seen[keys.Ledger] || seen[keys.Timers] || keys.Ledger == keys.Timers {
				t.Errorf("partition %d of %d: keys %+v are another's too", i, partitions, keys)
			}
			seen[keys.Ledger], seen[keys.Timers] = true, true
		}
	})
	// These are stored permanently.
	for _, c := range []struct {
		partitions, index int
		ledger            string
	}{{1, 0, "p:{1}:ledger"}, {4, 0, "p:{3}:ledger"}, {4, 3, "p:{0}:ledger"}, {1024, 1023, "p:{2927}:ledger"}} {
		if got := KeysOf("p", c.partitions, c.index).Ledger; got != c.ledger {
			t.Errorf("ledger of partition %d of %d is %q, want %q", c.index, c.partitions, got, c.ledger)
		}
	}
}

// defaultRanges returns the last slot of each master, as redis-cli --cluster create
// distributes them.
func defaultRanges(masters int) []int {
	ends := make([]int, masters)
	width := float64(slots) / float64(masters)
	for i := range ends {
		ends[i] = int(math.Round(float64(i+1)*width - 1))
	}
	ends[masters-1] = slots - 1
	return ends
}

// Masters with equal shares of the slots get shares of the partitions that differ by
// at most one.
func TestPartitionsSpreadOverMasters(t *testing.T) {
	t.Parallel()
	for _, masters := range []int{1, 3, 6, 16} {
		ends := defaultRanges(masters)
		eachPossible(func(partitions int) {
			counts := make([]int, masters)
			for i := range partitions {
				master, _ := slices.BinarySearch(ends, SlotOf(partitions, i))
				counts[master]++
			}
			least, most := slices.Min(counts), slices.Max(counts)
			t.Logf("%d masters, %d partitions: %d to %d a master", masters, partitions, least, most)
			limit := 1
			if slots%masters == 0 && partitions%masters == 0 {
				limit = 0
			}
			if most-least > limit {
				t.Errorf("%d masters, %d partitions: %v differ by more than %d", masters, partitions, counts, limit)
			}
		})
	}
}

func TestSlotsAreRedis(t *testing.T) {
	t.Parallel()
	client := redistest.StartCluster(t).Client()
	eachPossible(func(partitions int) {
		var ledgers, timers []*redis.IntCmd
		_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
			for i := range partitions {
				keys := KeysOf("p", partitions, i)
				ledgers = append(ledgers, pipe.ClusterKeySlot(t.Context(), keys.Ledger))
				timers = append(timers, pipe.ClusterKeySlot(t.Context(), keys.Timers))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		width := slots / partitions
		for i := range partitions {
			slot := SlotOf(partitions, i)
			if ledgers[i].Val() != int64(slot) || timers[i].Val() != int64(slot) || slot/width != i {
				t.Errorf("partition %d of %d: slot %d, but Redis computes %d and %d", i, partitions, slot, ledgers[i].Val(), timers[i].Val())
			}
		}
	})
}

func TestPartitionOfSpreads(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"tenant-%d", "%d", "org_%08x", "customer-%d/x"} {
		tenants := make([]budget.TenantID, 1<<17)
		for i := range tenants {
			tenants[i] = budget.TenantID(fmt.Sprintf(pattern, i))
		}
		eachPossible(func(partitions int) {
			counts := make([]int, partitions)
			for _, tenant := range tenants {
				counts[PartitionOf(tenant, partitions)]++
			}
			mean := float64(len(tenants)) / float64(partitions)
			for i, n := range counts {
				if off := math.Abs(float64(n) - mean); off > 6*math.Sqrt(mean) {
					t.Errorf("%s: partition %d of %d has %d tenants, want %.0f ± %.0f", pattern, i, partitions, n, mean, 6*math.Sqrt(mean))
				}
			}
		})
	}
	for _, tenant := range []budget.TenantID{"acme/search", "acme/b/c"} {
		if PartitionOf(tenant, 1024) != PartitionOf("acme", 1024) {
			t.Errorf("%q is in a different partition from its root", tenant)
		}
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "a b", "a{b", "a}b", "ä", string(make([]byte, 65))} {
		if ValidatePrefix(prefix) == nil {
			t.Errorf("prefix %q was accepted", prefix)
		}
	}
	for _, n := range []int{-1, 0, 3, 12, 2048} {
		if ValidatePartitions(n) == nil {
			t.Errorf("%d partitions were accepted", n)
		}
	}
	if got := LedgerPattern("a*b?[c]\\"); got != `a\*b\?\[c\]\\:{*}:ledger` {
		t.Errorf("pattern %q", got)
	}
}
