package lane

import (
	"testing"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// The account of a limit has settings and a window, and neither flags nor limits of its own: it
// is damaged otherwise. One with limits was asked for in batch after batch, without an end.
func TestDamagedLimit(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(record string) string{
		"without a window": func(r string) string { return r[:64] + "\x04" + r[65:65+luascripts.SettingsBytes] },
		"without settings": func(r string) string { return r[:64] + "\x00" },
		"frozen":           func(r string) string { return r[:64] + "\x0d" + r[65:] },
		"with limits":      func(r string) string { return r[:64] + "\x1c" + r[65:] + "\x01" },
		"of another period": func(r string) string {
			return r[:65+luascripts.SettingsBytes] + "\x01" + r[66+luascripts.SettingsBytes:]
		},
		"with another limit": func(r string) string { return r[:64] + "\x1c" + r[65:] + "\x02" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, client := onRedis(t, nil)
			l := n.Lanes()[0]
			do := func(c *Call) Answer {
				n.AdmitSettlement()
				if err := l.enqueue(c); err != nil {
					t.Fatal(err)
				}
				carry(t, client, l)
				return result(t, c)
			}
			do(configureCall("acme", changeOf(t, limitOf(budget.Day, 500))))
			do(NewCall(luascripts.KindRemaining, "acme", 0, budget.ReservationID{}))
			field := store.AccountID{Tenant: "acme", Limit: budget.Day}.Field()
			record := client.HGet(t.Context(), l.Keys().Ledger, field).Val()
			client.HSet(t.Context(), l.Keys().Ledger, field, damage(record))
			for _, kind := range []byte{luascripts.KindReserve, luascripts.KindRemaining, luascripts.KindListLimits} {
				if a := do(NewCall(kind, "acme", 1, budget.ReservationID{})); a.code != luascripts.CodeCorrupt {
					t.Errorf("%c is answered %c, %v", kind, a.code, a.Err)
				}
			}
		})
	}
}
