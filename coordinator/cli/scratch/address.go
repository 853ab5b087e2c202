package scratch

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/redis/go-redis/v9"
)

// parseURL reads the address of the user's Redis. Neither the name nor an error
// shows a password.
func parseURL(address string) (options *redis.Options, name string, err error) {
	const remedy = "give redis://host:6379, rediss://host:6379 for TLS, or spawn"
	parsed, err := url.Parse(address)
	if err != nil {
		var failure *url.Error // its text repeats the whole URL
		if errors.As(err, &failure) {
			err = failure.Err
		}
		return nil, "", fmt.Errorf("the Redis URL cannot be read: %w; %s", err, remedy)
	}
	if parsed.Scheme != "redis" && parsed.Scheme != "rediss" {
		return nil, "", fmt.Errorf("%q is no address of a Redis; %s", parsed.Redacted(), remedy)
	}
	options, err = redis.ParseURL(address)
	if err != nil {
		return nil, "", fmt.Errorf("the Redis URL %s: %w; %s", parsed.Redacted(), err, remedy)
	}
	shown := url.URL{Scheme: parsed.Scheme, Host: options.Addr, Path: fmt.Sprintf("/%d", options.DB)}
	return options, shown.String(), nil
}
