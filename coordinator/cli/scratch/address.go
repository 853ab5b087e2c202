package scratch

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/cli/connect"
)

// parseURL reads the address of the user's Redis, which is one server: others would
// have to be cleaned up server by server.
func parseURL(address string) (options *redis.Options, name string, err error) {
	target, err := connect.Parse(address, connect.Environment())
	if err != nil {
		return nil, "", fmt.Errorf("%w; or give spawn for a private redis-server", err)
	}
	if target.Single == nil {
		return nil, "", fmt.Errorf("%s is not one server: give redis://host:6379, or spawn", target.Name)
	}
	return target.Single, target.Name, nil
}
