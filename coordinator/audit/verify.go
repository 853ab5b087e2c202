package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Options select what Verify checks. The zero value selects everything under the prefix.
type Options struct {
	// Root limits the report to the tenants of one root tenant. The whole of its
	// partition is read in any case.
	Root budget.TenantID
	// Progress is called after each page with the number of accounts and open holds that
	// were read so far.
	Progress func(tenants, holds int)
}

// Report is the result of Verify.
type Report struct {
	Partitions int      `json:"partitions"`      // existing ones
	Tenants    int      `json:"tenants"`         // with a readable account
	Limits     int      `json:"limits,omitzero"` // beside their base limits
	Holds      int      `json:"holds"`           // open holds
	Damages    []Damage `json:"damages"`
	// Unnamed is the number of damaged holds beyond the first 1,000 of a kind in a
	// partition.
	Unnamed int `json:"unnamed"`
	// Unsettled are the partitions that change faster than they can be read. Their
	// accounts were not compared with their holds.
	Unsettled []int `json:"unsettled"`
}

// maxAttempts is the number of times that a partition is read if it changes too fast, or
// its damages differ each time.
const maxAttempts = 10

// Verify checks every account under a key prefix, those of base limits and of others, exactly,
// while nodes continue to write: remaining + reserved + committed = granted, the open holds add up to reserved, and
// their number is the one counted. It also checks every other record, the timers, and
// that the partitions fit together. It changes nothing, and no call keeps Redis busy for
// more than about two milliseconds.
//
// A change by hand during the run is found unless it is made to a hold that was already
// read. An error means that Redis did not answer, or that the prefix as a whole cannot be
// read (ErrLayout, ErrUnreadable).
func Verify(ctx context.Context, client redis.UniversalClient, prefix string, o Options) (Report, error) {
	p, err := Partitions(ctx, client, prefix)
	if err != nil {
		return Report{}, err
	}
	r := Report{Damages: p.Damages, Unsettled: []int{}}
	for _, i := range p.Existing {
		if o.Root != "" && store.PartitionOf(o.Root, p.Partitions) != i {
			continue
		}
		v := verification{client: client, options: o, prefix: p, index: i, keys: store.KeysOf(prefix, p.Partitions, i), report: &r}
		if err := v.run(ctx); err != nil {
			return r, err
		}
		r.Partitions++
	}
	slices.SortStableFunc(r.Damages, func(a, b Damage) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Subject, b.Subject))
	})
	return r, nil
}

// verification is the verification of one partition.
type verification struct {
	client  redis.UniversalClient
	options Options
	prefix  Prefix
	index   int
	keys    store.Keys
	report  *Report
}

// finding is the result of one reading of a partition.
type finding struct {
	damages        []Damage
	unnamed        int
	tenants, holds int
	limits         int
}

// uncertain are the damages that another reading may not find.
var uncertain = map[Kind]bool{
	store.WrongSum: true, store.WrongDeadline: true, store.OrphanedHold: true, store.UntimedHold: true,
	store.IncompleteTimers: true, store.WrongDue: true, store.LostLedger: true,
}

// run reads the partition until two readings agree. Damages that a partition shows while
// it moves to another server, or while its timers are rebuilt, disappear in the next
// reading. Damages of a single record need no second reading.
func (v *verification) run(ctx context.Context) error {
	var last finding
	for attempt := 1; ; attempt++ {
		f, err := v.read(ctx)
		switch {
		case errors.Is(err, store.ErrBehind) && attempt < maxAttempts:
			continue
		case errors.Is(err, store.ErrBehind):
			v.report.Unsettled = append(v.report.Unsettled, v.index)
			f.damages = slices.DeleteFunc(f.damages, func(d Damage) bool { return uncertain[d.Kind] })
		case err != nil:
			return err
		}
		if err != nil || attempt == maxAttempts || f.certain() || f.confirmedBy(last) {
			v.add(f)
			return nil
		}
		last = f
	}
}

// certain reports whether a second reading would find the same.
func (f finding) certain() bool {
	return !slices.ContainsFunc(f.damages, func(d Damage) bool { return uncertain[d.Kind] })
}

// confirmedBy reports whether an earlier reading found all of these damages, too.
func (f finding) confirmedBy(earlier finding) bool {
	type key struct {
		kind  Kind
		field string
	}
	found := make(map[key]bool, len(earlier.damages))
	for _, d := range earlier.damages {
		found[key{d.Kind, d.field}] = true
	}
	return !slices.ContainsFunc(f.damages, func(d Damage) bool { return !found[key{d.Kind, d.field}] })
}

// add adds a finding to the report, except for damages of other tenants.
func (v *verification) add(f finding) {
	v.report.Tenants += f.tenants
	v.report.Holds += f.holds
	v.report.Limits += f.limits
	v.report.Unnamed += f.unnamed
	for _, d := range f.damages {
		if v.options.Root == "" || d.Tenant == "" || d.Tenant.Root() == v.options.Root {
			v.report.Damages = append(v.report.Damages, d)
		}
	}
}

// read reads the partition once.
func (v *verification) read(ctx context.Context) (f finding, err error) {
	header, readable, err := v.checkKeys(ctx, &f)
	if err != nil || !readable {
		return f, err
	}
	s := store.NewSnapshot(header, "", false)
	s.Thorough, s.Partitions, s.Index = true, v.prefix.Partitions, v.index
	err = v.readPages(ctx, s)
	if refusal := store.Refusal(""); errors.As(err, &refusal) {
		err = store.ErrBehind // recreated or lost since its header was read
	}
	if err != nil && !errors.Is(err, store.ErrBehind) {
		return f, err
	}
	v.take(&f, s)
	return f, err
}

func (v *verification) readPages(ctx context.Context, s *store.Snapshot) error {
	for !s.Done() {
		reply, err := readPage(ctx, v.client, v.keys, s.Args())
		if err != nil {
			return reading(v.keys.Ledger, err)
		}
		if err := s.Add(reply); err != nil {
			return err
		}
		if v.options.Progress != nil {
			v.options.Progress(v.report.Tenants+len(s.Accounts), v.report.Holds+s.Open)
		}
	}
	return nil
}

// take adds the damages and counts of a snapshot to a finding.
func (v *verification) take(f *finding, s *store.Snapshot) {
	if !s.TimersWhole && !slices.ContainsFunc(f.damages, func(d Damage) bool { return d.Kind == store.WrongType }) {
		f.damages = append(f.damages, v.damage(store.IncompleteTimers, "timers", v.keys.Ledger, "they are missing, or not rebuilt yet: key "+v.keys.Timers))
	}
	for _, d := range s.Damages {
		damage := v.damage(d.Kind, store.NameField(d.Field, d.Tenant), v.keys.Ledger, d.What)
		damage.Tenant, damage.Limit, damage.field = d.Tenant, d.Limit, d.Field
		id := store.AccountID{Tenant: d.Tenant, Limit: d.Limit}
		if a := s.Accounts[id]; a != nil && d.Field == id.Field() {
			damage.Figures = &Figures{
				Granted: a.Granted, Remaining: a.Remaining, Reserved: a.Reserved, Committed: a.Committed,
				Counted: a.Account.Holds, Sum: a.Sum, Holds: a.Count, Sequence: a.Sequence,
			}
		}
		f.damages = append(f.damages, damage)
	}
	for _, n := range s.Unnamed {
		f.unnamed += max(0, n-store.MaxNamed)
	}
	for id, a := range s.Accounts {
		switch {
		case v.options.Root != "" && id.Tenant.Root() != v.options.Root:
		case id.Limit != budget.NoPeriod:
			f.limits++
		default:
			f.tenants++
			f.holds += a.Count
		}
	}
}

func (v *verification) damage(kind Kind, subject, key, what string) Damage {
	return Damage{Partition: v.index, Kind: kind, Subject: subject, What: what, Remedy: remedyOf(kind, key)}
}

// checkKeys checks header, types and layout. It reports whether the rest can be read.
func (v *verification) checkKeys(ctx context.Context, f *finding) (header string, readable bool, err error) {
	bad := func(kind Kind, subject, key, what string) {
		f.damages = append(f.damages, v.damage(kind, subject, key, what))
	}
	switch err := v.client.ZScore(ctx, v.keys.Timers, luascripts.Sentinel).Err(); {
	case isWrongType(err):
		bad(store.WrongType, "timers", v.keys.Timers, "key "+v.keys.Timers+" is not a sorted set")
	case err != nil && !errors.Is(err, redis.Nil):
		return "", false, reading(v.keys.Timers, err)
	}
	header, err = v.client.HGet(ctx, v.keys.Ledger, store.HeaderField).Result()
	switch {
	case isWrongType(err):
		bad(store.WrongType, "ledger", v.keys.Ledger, "key "+v.keys.Ledger+" is not a hash")
		return "", false, nil
	case errors.Is(err, redis.Nil):
		exists, err := v.client.Exists(ctx, v.keys.Ledger).Result()
		if err != nil {
			return "", false, reading(v.keys.Ledger, err)
		}
		if exists == 0 {
			bad(store.LostLedger, "ledger", v.keys.Ledger, "key "+v.keys.Ledger+" is missing, although its timers are there")
			return "", false, nil
		}
		bad(store.DamagedHeader, "header", v.keys.Ledger, "it is missing")
		return "", true, nil
	case err != nil:
		return "", false, reading(v.keys.Ledger, err)
	}
	switch h, err := store.ParseHeader(header); {
	case err != nil:
		bad(store.DamagedHeader, "header", v.keys.Ledger, err.Error())
	case h.Layout != luascripts.Layout:
		bad(store.UnknownLayout, "header", v.keys.Ledger, fmt.Sprintf("layout %d, and this program reads %d", h.Layout, luascripts.Layout))
		return header, false, nil
	case h.Partitions != v.prefix.Partitions || h.Index != v.index:
		bad(store.DamagedHeader, "header", v.keys.Ledger, foreignHeader(v.keys.Ledger, h, v.prefix.Partitions, v.index))
	}
	return header, true, nil
}
