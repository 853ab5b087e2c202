package store

import (
	"fmt"
	"math"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
)

// A thorough snapshot reads each account once more at its end, together with its ended epochs:
// in one page, and so at one sequence, since a roll between two pages moves amounts between
// them. If the account keeps other epochs by then, it is read again.

// rereading is an account that is to be read again, with fields of epochs.
type rereading struct {
	id       AccountID
	epochs   []string
	limits   budget.Periods // of a tenant's base limit
	attempts int
}

const (
	// maxRereadings bounds how often an account is read again because it rolls.
	maxRereadings = 5
	// maxEpochs bounds the epochs that are read in one page. An account with more is not
	// compared with them.
	maxEpochs = 4000
)

// planAgain collects the records to read again: the balanced accounts, and ended epochs whose
// account is missing.
func (s *Snapshot) planAgain() {
	found := s.epochs
	for id, a := range s.Accounts {
		if a.Balanced() { // the other terms of others mean nothing
			s.again = append(s.again, rereading{id: id, epochs: withKept(found[id], id, a.Epochs), limits: a.Settings.Limits})
		}
		delete(found, id)
	}
	for id, epochs := range found {
		if !s.unreadable[id] {
			s.again = append(s.again, rereading{id: id, epochs: epochs})
		}
	}
	s.epochs = nil
}

// withKept adds the epochs that an account keeps to fields, each once.
func withKept(fields []string, id AccountID, e *Epochs) []string {
	if e != nil {
		for _, start := range e.Kept {
			fields = append(fields, id.EpochField(start))
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// nextAgain returns the accounts that the next page reads, and their fields.
func (s *Snapshot) nextAgain() (accounts []rereading, fields []string) {
	for i := 0; i < len(s.again) && len(fields) < rereadFields; i++ {
		r := s.again[i]
		if len(r.epochs) > maxEpochs {
			r.epochs = nil
		}
		if len(fields) > 0 && len(fields)+len(r.epochs) > maxEpochs {
			break
		}
		fields = append(append(fields, r.id.Field()), r.epochs...)
		if r.id.Limit != budget.NoPeriod {
			fields = append(fields, AccountField(r.id.Tenant))
		}
		for _, limit := range r.limits.All() {
			fields = append(fields, AccountID{r.id.Tenant, limit}.Field())
		}
		accounts = append(accounts, r)
	}
	return accounts, fields
}

// endAgain checks the accounts of a page that read them again. Fields that are gone are not
// returned.
func (s *Snapshot) endAgain(page map[string]string) {
	accounts, _ := s.nextAgain()
	s.again = s.again[len(accounts):]
	for _, r := range accounts {
		field := r.id.Field()
		var epochs *Epochs
		if record, exists := page[field]; exists {
			account, _, err := ParseAccount(record)
			if err != nil {
				s.damage(DamagedAccount, field, r.id, err.Error())
				continue
			}
			if text := account.BalanceText(); text != "" {
				s.damage(UnbalancedAccount, field, r.id, text)
			}
			epochs = account.Epochs
			if account.Settings.Limits != r.limits {
				if r.attempts++; r.attempts < maxRereadings {
					r.limits = account.Settings.Limits
					s.again = append(s.again, r)
				}
				continue
			}
			s.checkLimits(r, page)
		}
		s.checkEpochs(r, epochs, page)
	}
}

// checkEpochs compares an account with its ended epochs, all of one page.
func (s *Snapshot) checkEpochs(r rereading, e *Epochs, page map[string]string) {
	all := withKept(slices.Clone(r.epochs), r.id, e)
	if len(all) > len(r.epochs) {
		if r.attempts++; r.attempts < maxRereadings && len(all) <= maxEpochs {
			r.epochs = all
			s.again = append(s.again, r)
		}
		return
	}
	sum, whole, kept := uint64(0), true, make(map[string]bool)
	for i := range numberKept(e) {
		field := r.id.EpochField(e.Kept[i])
		kept[field] = true
		record, exists := page[field]
		epoch, err := ParseEpoch(record)
		next := e.Start
		if i > 0 {
			next = e.Kept[i-1]
		}
		switch {
		case !exists:
			s.damage(DamagedEpoch, field, r.id, "its account keeps it, and it is missing")
		case err != nil:
			s.damage(DamagedEpoch, field, r.id, err.Error())
		case epoch.End <= e.Kept[i] || epoch.End > next:
			s.damage(DamagedEpoch, field, r.id, fmt.Sprintf("it ends at %d, and the next one begins at %d", epoch.End, next))
		}
		whole = whole && exists && err == nil
		if sum += uint64(epoch.Reserved); sum > math.MaxInt64 { //nolint:gosec // not negative
			sum = math.MaxInt64
		}
	}
	if whole && e != nil && sum != uint64(e.Ended) { //nolint:gosec // not negative
		s.damage(WrongEnded, r.id.Field(), r.id, fmt.Sprintf("its holds of ended epochs reserve %d, but its ended epochs (%d) reserve %d%s",
			e.Ended, len(e.Kept), sum, offBy(int64(e.Ended)-int64(sum))))
	}
	for _, field := range r.epochs {
		if record, exists := page[field]; exists && !kept[field] {
			s.damage(OrphanedEpoch, field, r.id, fmt.Sprintf("no account keeps it; its record has %d bytes", len(record)))
		}
	}
}

// checkLimits checks that the tenant of a limit has it, and that a tenant's limits exist.
func (s *Snapshot) checkLimits(r rereading, page map[string]string) {
	if r.id.Limit != budget.NoPeriod {
		record := page[AccountField(r.id.Tenant)]
		tenant, _, err := ParseAccount(record)
		if record == "" || err == nil && !tenant.Settings.Limits.Has(r.id.Limit) {
			s.damage(OrphanedLimit, r.id.Field(), r.id, "its tenant's account doesn't name it, so it limits nothing")
		}
	}
	for _, limit := range r.limits.All() {
		if id := (AccountID{r.id.Tenant, limit}); page[id.Field()] == "" {
			s.damage(DamagedAccount, id.Field(), id, "its tenant's account names it, and it is missing")
		}
	}
}

func numberKept(e *Epochs) int {
	if e == nil {
		return 0
	}
	return len(e.Kept)
}
