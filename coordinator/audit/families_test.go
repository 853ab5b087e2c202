package books_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/redistest"
)

// Families are found once each, also by pages.
func TestEachFamily(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	pipe := client.Pipeline()
	const families = 3000
	for i := range families {
		pipe.HSet(t.Context(), fmt.Sprintf("bursar:{tenant-%d}:books", i), "f", "1 0123456789abcdef")
		pipe.Set(t.Context(), fmt.Sprintf("other:%d", i), "theirs", time.Hour)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	pages, seen := 0, make(map[budget.TenantID]bool)
	err := books.EachFamily(t.Context(), client, "bursar", func(page []budget.TenantID) error {
		pages++
		for _, root := range page {
			if seen[root] {
				t.Errorf("%s came twice", root)
			}
			seen[root] = true
		}
		return nil
	})
	if err != nil || len(seen) != families || pages < 2 {
		t.Errorf("%d families in %d pages, %v", len(seen), pages, err)
	}
}

// The first error of a visit ends it, also where several masters are being asked.
func TestEachFamilyEndsWithTheFirstError(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t).Client()
	single := redistest.Start(t).Client()
	for i := range 300 {
		key := fmt.Sprintf("bursar:{tenant-%d}:books", i)
		cluster.HSet(t.Context(), key, "f", "1 0123456789abcdef")
		single.HSet(t.Context(), key, "f", "1 0123456789abcdef")
	}
	enough := errors.New("enough")
	var visits atomic.Int64
	visit := func([]budget.TenantID) error {
		visits.Add(1)
		time.Sleep(50 * time.Millisecond) // the other masters answer meanwhile
		return enough
	}
	if err := books.EachFamily(t.Context(), cluster, "bursar", visit); !errors.Is(err, enough) || visits.Load() != 1 {
		t.Errorf("a Cluster: %d visits, %v", visits.Load(), err)
	}
	visits.Store(0)
	if err := books.EachFamily(t.Context(), single, "bursar", visit); !errors.Is(err, enough) || visits.Load() != 1 {
		t.Errorf("one server: %d visits, %v", visits.Load(), err)
	}
}
