package books

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/layout"
	"github.com/calybris/bursar/luascripts"
)

// pageSize is what one SCAN or HSCAN is asked for: Redis looks at about so many keys
// or fields before it answers others.
const pageSize = 1000

// checkFamily reports whether the family is there, in a layout that is known.
func checkFamily(ctx context.Context, client redis.UniversalClient, key string) (exists bool, err error) {
	text, err := client.HGet(ctx, key, layout.FamilyField).Result()
	if errors.Is(err, redis.Nil) {
		size, err := client.HLen(ctx, key).Result()
		if err != nil || size == 0 {
			return false, reading(key, err)
		}
		// A family's field is its first and never goes, so that what has been made
		// since the first look shows it now, and what does not show it is broken.
		text, err = client.HGet(ctx, key, layout.FamilyField).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return false, reading(key, err)
		}
		return true, checkLayout(key, text)
	}
	if err != nil {
		return false, reading(key, err)
	}
	return true, checkLayout(key, text)
}

func checkLayout(key, family string) error {
	version, _, err := layout.ParseFamily(family)
	if err != nil {
		return unreadable(key, err)
	}
	if !luascripts.Known.Readable(version) {
		return reading(key, fmt.Errorf("%w: version %s, and this reads %s: use the bursar that wrote it", ErrLayout, version, luascripts.Known))
	}
	return nil
}

// eachField visits the fields of a hash that match, page by page; a field may come
// more than once.
func eachField(ctx context.Context, client redis.UniversalClient, key, match string, visit func(field, value string) error) error {
	for cursor := uint64(0); ; {
		page, next, err := client.HScan(ctx, key, cursor, match, pageSize).Result()
		if err != nil {
			return reading(key, err)
		}
		for i := 0; i+1 < len(page); i += 2 {
			if err := visit(page[i], page[i+1]); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}

// reading names the key in an error, if there is one.
func reading(key string, err error) error {
	if err == nil {
		return nil
	}
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return unreadable(key, err)
	}
	return fmt.Errorf("reading %s: %w", key, err)
}

func unreadable(key string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnreadable, key, err)
}
