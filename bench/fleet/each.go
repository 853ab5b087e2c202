package fleet

import (
	"context"
	"sync"
)

// eachWidth is how many tenants are asked for at once.
const eachWidth = 64

// ForEach calls do for 0 to count-1, some at a time, until one fails.
func ForEach(ctx context.Context, count int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for first := range min(eachWidth, count) {
		all.Go(func() {
			for i := first; i < count && ctx.Err() == nil; i += eachWidth {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
