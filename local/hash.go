package local

import "math/bits"

// hash returns a 64-bit hash of a tenant ID by wyhash's method: eight bytes at a time,
// folded by a wide multiplication. hash/maphash takes more than twice as long for a string
// as short as an ID, which shows in the time of a whole reserve and commit. The seed is
// random, so that a client can't choose IDs that collide.
func hash(seed uint64, s string) uint64 {
	const multiplier = 0x9e3779b97f4a7c15
	n := len(s)
	h := seed ^ uint64(n)*multiplier // so that "\x00" and "" differ
	if n >= 8 {
		for i := 0; i < n-8; i += 8 {
			h = fold(h^load64(s[i:]), multiplier)
		}
		h ^= load64(s[n-8:])
	} else if n >= 4 {
		h ^= load32(s) | load32(s[n-4:])<<32
	} else if n > 0 {
		h ^= uint64(s[0]) | uint64(s[n/2])<<8 | uint64(s[n-1])<<16
	}
	return fold(h, multiplier)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func load64(s string) uint64 { return load32(s) | load32(s[4:])<<32 }

func load32(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}
