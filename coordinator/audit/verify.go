package books

import (
	"context"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
)

// Report is what Verify found in a family.
type Report struct {
	Root           budget.TenantID
	Tenants, Holds int // accounts and open holds, also those that are wrong
	Differences    []Difference
	// Unsettled: the family changes too fast to be read page by page, so the sums of
	// its holds are not vouched for, nor is their number. The law of each account is.
	Unsettled bool
}

// Difference is what is wrong with a tenant, or with the family where Tenant is its
// root: a broken law, a wrong sum, a text that cannot be.
type Difference struct {
	Tenant budget.TenantID
	What   error
}

const (
	// atOnceFields is the size up to which a family is read in one go, which keeps
	// Redis from others for about 1 ms (OPERATIONS.md has the figures).
	atOnceFields = 5000
	// mostReadings bounds how often a family is read in pages until it held still.
	mostReadings = 5
)

// Verify checks a family: the law of every account, and that its open holds sum up to
// what it has reserved. It writes nothing. A family of more than 5,000 fields is read
// in pages, unless atOnce is set: then in one command, and Redis answers nobody else
// meanwhile. An error means that Redis did not answer, or ErrLayout; whatever else is
// stored there is a Difference.
//
// A reading in pages counts where no hold began or ended during it. The accounts'
// texts and the head of the ring of endings, read before and after, say so: a reserve
// changes its account's reserved, an ending moves the head, which never goes back.
func Verify(ctx context.Context, client redis.UniversalClient, prefix string, root budget.TenantID, atOnce bool) (Report, error) {
	key := layout.KeysOf(prefix, root).Books
	size, err := client.HLen(ctx, key).Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return Report{Root: root, Differences: []Difference{{root, reading(key, err)}}}, nil
	}
	if err != nil {
		return Report{}, reading(key, err)
	}
	if atOnce || size <= atOnceFields {
		return verifyAtOnce(ctx, client, key, root)
	}
	return verifyPages(ctx, client, key, root)
}

func verifyAtOnce(ctx context.Context, client redis.UniversalClient, key string, root budget.TenantID) (Report, error) {
	a := newAudit(key, root)
	fields, err := client.HGetAll(ctx, key).Result()
	if err != nil {
		return Report{}, reading(key, err)
	}
	if len(fields) == 0 {
		return a.report(), nil
	}
	if err := a.family(fields[layout.FamilyField]); err != nil {
		return Report{}, err
	}
	for field, text := range fields {
		if _, ok := layout.TenantOfAccount(root, field); ok {
			a.account(field, text)
		}
	}
	for field, text := range fields {
		if layout.IsHold(field) {
			a.hold(field, text)
		}
	}
	a.compare()
	return a.report(), nil
}

func verifyPages(ctx context.Context, client redis.UniversalClient, key string, root budget.TenantID) (Report, error) {
	accounts, err := accountFields(ctx, client, key)
	if err != nil {
		return Report{}, err
	}
	var a *audit
	doubted := false
	for range mostReadings {
		a = newAudit(key, root)
		settled, now, err := a.readPages(ctx, client, accounts)
		if err != nil {
			return Report{}, err
		}
		accounts = now
		if !settled {
			continue
		}
		a.compare()
		// A family that moves to another server while it is scanned seems to lack
		// holds, since a cursor means nothing there. That happens to one reading.
		if len(a.sums) == 0 || doubted {
			return a.report(), nil
		}
		doubted = true
	}
	a.sums = nil // what a moving family seemed to be is no finding
	r := a.report()
	r.Unsettled = true
	return r, nil
}

// readPages reads the accounts of one instant, all holds, and the accounts again; it
// reports whether nothing has begun or ended in between, and which accounts there
// are now. Those are looked for before the second instant: a tenant that came, reserved,
// settled and went since the first has then moved the head.
func (a *audit) readPages(ctx context.Context, client redis.UniversalClient, accounts []string) (settled bool, now []string, err error) {
	before, err := readMarker(ctx, client, a.key, accounts)
	if err != nil {
		return false, nil, err
	}
	family, _ := before[0].(string)
	if err := a.family(family); err != nil {
		return false, nil, err
	}
	for i, field := range accounts {
		if text, ok := before[markerAccounts+i].(string); ok {
			a.account(field, text)
		}
	}
	if err := eachField(ctx, client, a.key, "h*", func(field, text string) error {
		a.hold(field, text)
		return nil
	}); err != nil {
		return false, nil, err
	}
	if now, err = accountFields(ctx, client, a.key); err != nil {
		return false, nil, err
	}
	after, err := readMarker(ctx, client, a.key, accounts)
	return slices.Equal(before, after) && slices.Equal(accounts, now), now, err
}

// markerAccounts is where the accounts begin in a marker.
const markerAccounts = 2

// readMarker reads, at one instant, what changes when a hold begins or ends.
func readMarker(ctx context.Context, client redis.UniversalClient, key string, accounts []string) ([]any, error) {
	fields := append([]string{layout.FamilyField, layout.RingField}, accounts...)
	texts, err := client.HMGet(ctx, key, fields...).Result()
	return texts, reading(key, err)
}

func accountFields(ctx context.Context, client redis.UniversalClient, key string) ([]string, error) {
	texts, err := accountTexts(ctx, client, key)
	return slices.Sorted(maps.Keys(texts)), err
}
