package local

import (
	"math"
	"slices"
)

const (
	// fanOut is the number of bounds below one of the next layer, and of slots in a block.
	fanOut     = 64
	fanOutBits = 6
)

// never is the deadline of a hold without one.
const never = math.MaxInt64

// bounds finds the due ones of many numbered things, of which each has a lower bound of its
// deadlines, Unix ms. bounds[0][i] is the bound of thing i, and bounds[l+1][i] a lower bound
// of the fanOut numbers of bounds[l] from i*fanOut on. The last layer has one number.
type bounds [][]int64

// add adds the bound of one more thing, never.
func (b *bounds) add() {
	i := 0
	if len(*b) > 0 {
		i = len((*b)[0])
	}
	for layer := 0; ; layer, i = layer+1, i/fanOut {
		if layer == len(*b) {
			least := int64(never)
			if layer > 0 {
				least = slices.Min((*b)[layer-1])
			}
			*b = append(*b, []int64{least})
		} else if i == len((*b)[layer]) {
			(*b)[layer] = append((*b)[layer], never)
		}
		if len((*b)[layer]) == 1 {
			return
		}
	}
}

// lower lowers the bound of thing i to at most at.
func (b bounds) lower(i uint64, at int64) {
	for layer := range b {
		least := &b[layer][i]
		if *least <= at {
			return // so the bounds above it are low enough, too
		}
		*least = at
		i >>= fanOutBits
	}
}

// least returns a lower bound of all deadlines.
func (b bounds) least() int64 {
	if len(b) == 0 {
		return never
	}
	return b[len(b)-1][0]
}

// visit calls due for everything whose bound is at most now, and stores the result as its
// new bound.
func (b bounds) visit(now int64, due func(i int) int64) {
	if b.least() <= now {
		b.visitBelow(len(b)-1, 0, now, due)
	}
}

func (b bounds) visitBelow(layer, i int, now int64, due func(i int) int64) {
	if layer == 0 {
		b[0][i] = due(i)
		return
	}
	least, below := int64(never), b[layer-1]
	for j := i * fanOut; j < min((i+1)*fanOut, len(below)); j++ {
		if below[j] <= now {
			b.visitBelow(layer-1, j, now, due)
		}
		least = min(least, below[j])
	}
	b[layer][i] = least
}
