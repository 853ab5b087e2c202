package books

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/layout"
)

// EachHold visits the open holds of a family, page by page, each once. What begins or
// ends meanwhile is visited or not; if the family moves to another server meanwhile,
// some may be passed over. It ends with the first error of visit, which it returns as
// it is.
func EachHold(ctx context.Context, client redis.UniversalClient, prefix string, root budget.TenantID, visit func(h budget.Hold) error) error {
	key := layout.KeysOf(prefix, root).Books
	if exists, err := checkFamily(ctx, client, key); err != nil || !exists {
		return err
	}
	seen := make(map[string]bool) // HSCAN may repeat a field
	return eachField(ctx, client, key, "h*", func(field, text string) error {
		hold, open, err := layout.ParseHold(root, field, text)
		if err != nil {
			return unreadable(key, err)
		}
		if !open || seen[field] {
			return nil
		}
		seen[field] = true
		return visit(hold)
	})
}
