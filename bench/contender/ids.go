package contender

import (
	"math/rand/v2"
	"strconv"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// ids are unique without asking anybody: a random node, and a counter.
type ids struct {
	node    uint64
	counter atomic.Uint64
}

func newIDs() *ids { return &ids{node: rand.Uint64()} }

func (i *ids) next(tenant budget.TenantID) budget.ReservationID {
	return budget.NewReservationID(tenant, i.node, i.counter.Add(1))
}

// holdField is where a hash has a hold.
func holdField(id budget.ReservationID) string {
	hi, lo := id.Bits()
	return "h" + strconv.FormatUint(hi, 16) + "." + strconv.FormatUint(lo, 16)
}
