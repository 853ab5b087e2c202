package load

import (
	"math"
	"slices"
)

// zipf draws tenants so that the k-th is as likely as 1/k^exponent, the first the
// hottest. rand.Zipf knows no exponent of 1 or below, which is where published
// traffic lies, so this is a table: exact for any exponent, one binary search a draw.
type zipf struct {
	upTo []uint32 // of 2^32, the likelihood of this tenant and all before it
}

func newZipf(tenants int, exponent float64) zipf {
	sums := make([]float64, tenants)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -exponent)
		sums[i] = sum
	}
	z := zipf{upTo: make([]uint32, tenants)}
	for i := range sums {
		z.upTo[i] = uint32(sums[i] / sum * math.MaxUint32)
	}
	return z
}

// tenant is the one that 32 random bits fall on.
func (z zipf) tenant(bits uint32) int {
	i, _ := slices.BinarySearch(z.upTo, bits)
	return i
}
