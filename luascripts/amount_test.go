package luascripts

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/redistest"
)

// sums is what the arithmetic does with each pair of amounts: their sum, their
// difference by limbs, the difference read back from its text, and whether a
// debit of the second from the first is covered.
const sums = `
local out = {}
local function readBack(text)
	local account = readAccount({}, 'a', '0 ' .. text .. ' 0 0') or readAccount({}, 'a', text .. ' ' .. text .. ' 0 0')
	if not account then -- below zero: debt against what is committed
		account = readAccount({}, 'a', '0 ' .. text .. ' 0 ' .. text:sub(2))
	end
	return join(account.rh, account.rl)
end
for i = 1, #ARGV, 2 do
	local ah, al = split(ARGV[i])
	local bh, bl = split(ARGV[i + 1])
	local difference = join(carry(ah - bh, al - bl))
	local account = { rh = ah, rl = al }
	local covered = debitIfAvailable(account, bh, bl)
	out[#out + 1] = join(carry(ah + bh, al + bl)) .. ' ' .. difference .. ' ' ..
		readBack(difference) .. ' ' .. tostring(covered) .. ' ' .. join(account.rh, account.rl)
end
return out`

func TestLimbsAgreeWithBigIntegers(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	amounts := []int64{0, 1, 9, 999_999_999, 1_000_000_000, 1_000_000_001, 1<<53 - 1, 1 << 53, 1<<53 + 1, 1<<63 - 2, 1<<63 - 1}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for range 60 {
		amounts = append(amounts, random.Int64N(1<<63-1)>>random.IntN(63))
	}
	var args []any
	var want []string
	for _, a := range amounts {
		for _, b := range amounts {
			args = append(args, fmt.Sprint(a), fmt.Sprint(b))
			x, y := big.NewInt(a), big.NewInt(b)
			difference := new(big.Int).Sub(x, y)
			left := x
			if a >= b {
				left = difference
			}
			want = append(want, fmt.Sprintf("%v %v %v %v %v", new(big.Int).Add(x, y), difference, difference, a >= b, left))
		}
	}
	const chunk = 4000 // Redis' limit on arguments is far above, Lua's stack is not used
	for start := 0; start < len(args); start += chunk {
		part := args[start:min(start+chunk, len(args))]
		got, err := client.Eval(context.Background(), amountLua+booksLua+familyLua+sums, nil, part...).StringSlice()
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range got {
			if line != want[start/2+i] {
				t.Fatalf("%v and %v: sum, difference, read back, covered, left\n got %s\nwant %s", part[2*i], part[2*i+1], line, want[start/2+i])
			}
		}
	}
}

func TestSplitRefusesWhatIsNoAmount(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client()
	for _, text := range []string{"", " 1", "1 ", "-1", "+1", "1e5", "0x10", "1.0", "nan", "12345678901234567890", "1\n2"} {
		err := client.Eval(context.Background(), amountLua+"return split(ARGV[1])", nil, text).Err()
		if err == nil || !strings.Contains(err.Error(), "BURSAR malformed amount") {
			t.Errorf("split(%q): %v, want a refusal", text, err)
		}
	}
}
