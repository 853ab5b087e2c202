package books

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
)

// audit gathers a family, and what is wrong with it: certain is what one field shows
// by itself, and sums what needs all of the family to be of one instant.
type audit struct {
	key           string
	root          budget.TenantID
	lists         map[budget.TenantID]*budget.HoldList // nil: its account cannot be read
	seen          map[string]bool                      // HSCAN may repeat a field
	holds         int
	certain, sums []Difference
}

func newAudit(key string, root budget.TenantID) *audit {
	return &audit{key: key, root: root, lists: make(map[budget.TenantID]*budget.HoldList), seen: make(map[string]bool)}
}

// family returns ErrLayout where the rest cannot be read either.
func (a *audit) family(text string) error {
	err := checkLayout(a.key, text)
	if errors.Is(err, ErrLayout) {
		return err
	}
	if err != nil {
		a.certain = append(a.certain, Difference{a.root, err})
	}
	return nil
}

func (a *audit) account(field, text string) {
	if text == layout.DeletedAccount {
		return
	}
	tenant, balance, err := parseAccount(a.root, field, text)
	if err != nil {
		a.certain = append(a.certain, Difference{tenant, err})
		if field == layout.AccountField(tenant) {
			a.lists[tenant] = nil
		}
		return
	}
	a.lists[tenant] = &budget.HoldList{Outcome: budget.Found, Balance: balance}
	if !balance.Conserved() {
		a.certain = append(a.certain, Difference{tenant, a.lists[tenant].Audit()})
	}
}

func (a *audit) hold(field, text string) {
	if a.seen[field] {
		return
	}
	a.seen[field] = true
	hold, open, err := layout.ParseHold(a.root, field, text)
	if err == nil && !open && !isTombstone(text) {
		err = fmt.Errorf("hold %q = %q: neither open nor ended", field, text)
	}
	if err != nil {
		a.certain = append(a.certain, Difference{a.root, err})
		return
	}
	if !open {
		return
	}
	a.holds++
	tenant := hold.ID.Tenant()
	list, exists := a.lists[tenant]
	switch {
	case !belongs(tenant, a.root):
		a.certain = append(a.certain, Difference{a.root, fmt.Errorf("hold %q is of no possible tenant", field)})
	case !exists:
		a.sums = append(a.sums, Difference{tenant, fmt.Errorf("hold %s is of a tenant that does not exist", hold.ID)})
	case list != nil: // else its account is a difference already
		list.Holds = append(list.Holds, hold)
	}
}

// isTombstone: a state, an amount and a time, as endings.lua writes them.
func isTombstone(text string) bool {
	ending := strings.TrimLeft(text, "clx")
	if len(ending) != len(text)-1 {
		return false
	}
	amount, at, _ := strings.Cut(ending, " ")
	_, errAmount := strconv.ParseUint(amount, 10, 63)
	_, errAt := strconv.ParseUint(at, 10, 63)
	return errAmount == nil && errAt == nil
}

// compare sums up the holds of accounts that keep the law.
func (a *audit) compare() {
	for tenant, list := range a.lists {
		if list == nil || !list.Balance.Conserved() {
			continue
		}
		if err := list.Audit(); err != nil {
			a.sums = append(a.sums, Difference{tenant, err})
		}
	}
}

func (a *audit) report() Report {
	r := Report{Root: a.root, Tenants: len(a.lists), Holds: a.holds, Differences: slices.Concat(a.certain, a.sums)}
	slices.SortFunc(r.Differences, func(x, y Difference) int {
		return cmp.Or(cmp.Compare(x.Tenant, y.Tenant), cmp.Compare(x.What.Error(), y.What.Error()))
	})
	return r
}
