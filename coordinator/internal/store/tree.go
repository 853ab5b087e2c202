package store

import (
	"fmt"
	"maps"
	"slices"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/luascripts"
)

// A Tree reads the accounts of a tenant and of all tenants below it, while batches are
// applied. Send Args and pass the reply to Add, until Done.
//
// It first scans the partition for their names, and then reads up to MaxTreeInstant of them
// by name in one page. Each new account raises the partition's last serial, so if the serial
// is still the same, these are all accounts that exist at the instant of that page.
// Otherwise it scans again, a few times at most. It returns more accounts as it scanned
// them.
type Tree struct {
	// PageFields is the approximate number of fields that a page visits; 0 means a number
	// that costs Redis about a millisecond.
	PageFields int

	// Instant reports whether all accounts were read at one instant.
	Instant bool

	tenant  budget.TenantID
	header  string
	cursor  string
	records map[string]string // of accounts, by field
	control Control           // of the first page of the scan
	now     int64             // partition's time at the last page, Unix ms
	scans   int
	phase   treePhase
}

type treePhase int

const (
	beginningTree treePhase = iota
	scanningTree
	readingTree
	treeDone
)

// treeScans is the maximum number of scans of a tree in which accounts are created.
const treeScans = 5

// NewTree begins to read a tree in a partition with this header, "" if it has none.
func NewTree(header string, tenant budget.TenantID) *Tree {
	return &Tree{tenant: tenant, header: header, cursor: "0", records: make(map[string]string)}
}

// Args returns the arguments for the next page, after the keys.
func (t *Tree) Args() []any {
	pattern, fields := QuotePattern(AccountField(t.tenant+"/"))+"*", t.PageFields
	if fields == 0 {
		fields = pageFields
	}
	named := []string{AccountField(t.tenant)}
	if t.phase == readingTree {
		pattern, named = "", slices.Collect(maps.Keys(t.records))
	}
	args := []any{t.header, t.cursor, pattern, fields, "-1", "-1", "", "0"}
	for _, field := range named {
		args = append(args, field)
	}
	return args
}

// Done reports whether all accounts were read.
func (t *Tree) Done() bool { return t.phase == treeDone }

// Add processes a page.
func (t *Tree) Add(reply []any) error {
	p, err := parsePage(reply)
	if err != nil {
		return err
	}
	control, err := ParseControl(p.control)
	if err != nil && len(p.fields) > 0 {
		return err
	}
	scanned := t.phase == beginningTree
	t.now = control.Time
	switch {
	case t.phase == readingTree:
		clear(t.records) // accounts that were deleted are not returned
	case scanned:
		t.phase, t.control, t.scans = scanningTree, control, t.scans+1
	}
	for i := 0; i < len(p.fields); i += 2 {
		if field := p.fields[i]; field != "" && field[0] == luascripts.FieldAccount {
			t.records[field] = p.fields[i+1]
		}
	}
	t.cursor = p.cursor
	switch {
	case t.phase == readingTree:
		t.end(control.LastSerial == t.control.LastSerial && control.Sequence >= t.control.Sequence)
	case t.cursor == "0" && scanned:
		t.end(len(t.records) <= budget.MaxTreeInstant) // one page has everything
	case t.cursor == "0" && len(t.records) > budget.MaxTreeInstant:
		t.end(false)
	case t.cursor == "0":
		t.phase = readingTree
	}
	return nil
}

// end ends the tree, or begins the next scan if accounts were created during this one. It
// keeps the records: a new scan finds the same accounts, and more.
func (t *Tree) end(instant bool) {
	t.Instant, t.phase = instant, treeDone
	if !instant && t.scans < treeScans && len(t.records) <= budget.MaxTreeInstant {
		t.phase, t.cursor = beginningTree, "0"
	}
}

// Accounts returns the accounts, in the order of their names, or ErrDamaged if the record
// of one can't be read. Those that are behind the time of the last page need an
// operation before their records have their balances.
func (t *Tree) Accounts() (all []budget.Account, behind []budget.TenantID, err error) {
	for field, record := range t.records {
		tenant := budget.TenantID(field[1:])
		a, exists, err := ParseAccount(record)
		if err == nil && exists && !a.Balanced() {
			err = fmt.Errorf("%w: %s", ErrDamaged, a.BalanceText())
		}
		if err != nil {
			return nil, nil, fmt.Errorf("tenant %q: %w", tenant, err)
		}
		if !exists {
			continue
		}
		all = append(all, budget.Account{Tenant: tenant, Balance: a.Balance()})
		if a.Behind(t.now) {
			behind = append(behind, tenant)
		}
	}
	slices.SortFunc(all, func(a, b budget.Account) int { return a.Tenant.Compare(b.Tenant) })
	return all, behind, nil
}
