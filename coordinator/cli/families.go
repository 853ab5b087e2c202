package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/calybris/bursar/coordinator/books"
	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/wording"
)

// eachFamily visits every family, or the one of a tenant. One that cannot be read does
// not hide the others; it is the error at the end.
func eachFamily(ctx context.Context, c *connect.Connection, tenant budget.TenantID, visit func(root budget.TenantID) error) error {
	var first error
	unread := 0
	family := func(root budget.TenantID) error {
		err := visit(root)
		if !errors.Is(err, books.ErrUnreadable) && !errors.Is(err, books.ErrLayout) {
			return err
		}
		if unread++; first == nil {
			first = err
		}
		return nil
	}
	var err error
	if tenant != "" {
		err = family(tenant.Root())
	} else {
		err = books.EachFamily(ctx, c.Client, c.Prefix, func(page []budget.TenantID) error {
			for _, root := range page {
				if err := family(root); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil && unread > 0 {
		err = fmt.Errorf("%s could not be read, first %w; see bursar verify", wording.Count(unread, "family"), first)
	}
	return exit.With(exit.Unavailable, err)
}
