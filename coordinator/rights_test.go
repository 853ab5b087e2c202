package coordinator

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/redistest"
)

// A missing right is reported as such, with its remedy, in the wording of any server.
func TestMissingRightHasItsRemedy(t *testing.T) {
	t.Parallel()
	const raisedAt = " script: 0123456789012345678901234567890123456789, on @user_script:12."
	c, m, _ := intercepted(t)
	ensure(t, c, "acme", 1000)
	for _, text := range []string{
		"-NOPERM this user has no permissions to run the 'evalsha' command",                                // 7.0
		"-NOPERM User default has no permissions to run the 'evalsha' command",                             // 7.2
		"-NOPERM No permissions to access a key",                                                           // 7.2
		"-ERR The user executing the script can't run this command or subcommand" + raisedAt,               // 7.0
		"-ERR The user executing the script can't access at least one of the keys" + raisedAt,              // 7.0
		"-ERR ACL failure in script: User default has no permissions to run the 'hset' command" + raisedAt, // 7.2, Valkey
		"-ERR ACL failure in script: No permissions to access a key" + raisedAt,
		"-NOPERM ACL failure in script: User default has no permissions to run the 'hset' command" + raisedAt,
	} {
		m.next(with("\r\ng\r\n"), text, maxRefusals, 0)
		_, err := c.Grant(t.Context(), "acme", 1)
		lacksRight(t, text, err)
		m.next(with("\r\neval\r\n"), text, maxRefusals, 0)
		_, err = c.Holds(t.Context(), "acme")
		lacksRight(t, "Holds: "+text, err)
		m.next(with("\r\neval\r\n"), text, maxRefusals, 0)
		lacksRight(t, "Ready: "+text, c.Ready(t.Context()))
		m.left.Store(0)
	}
}

func lacksRight(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) || !strings.Contains(err.Error(), "ACL SETUSER") ||
		!strings.Contains(err.Error(), "bursar:*") || strings.Contains(err.Error(), "does not answer") {
		t.Errorf("%s: %v, want the remedy", what, err)
	}
}

// If a right is taken away at run time, each operation that needs it reports it, at each
// step of a lane.
func TestRightTakenAwayAtRunTime(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithUser("bursar", "secret", "~bursar:*", "+@all"))
	o := server.Options()
	o.Username, o.Password = "bursar", "secret"
	client := redisClient(t, o)
	c := node(t, client)
	ensure(t, c, "acme", 1000)
	id := reserve(t, c, 1)
	admin := server.Client()
	for _, right := range []string{"hmget", "hset", "zadd", "evalsha", "eval", "time", "hscan", "zscore"} {
		must(t, admin.Do(t.Context(), "acl", "setuser", "bursar", "-"+right).Err())
		refused := 0
		_, err1 := c.TryReserve(t.Context(), "acme", 1)
		_, err2 := c.Commit(t.Context(), id, 1)
		_, err3 := c.EnsureTenant(t.Context(), "new", 1)
		_, err4 := c.Holds(t.Context(), "acme")
		for what, err := range map[string]error{"reserve": err1, "commit": err2, "ensure": err3, "holds": err4, "ready": c.Ready(t.Context())} {
			if err != nil {
				refused++
				lacksRight(t, what+" without "+right, err)
			}
		}
		if refused == 0 {
			t.Errorf("without %s nothing was refused", right)
		}
		must(t, admin.Do(t.Context(), "acl", "setuser", "bursar", "+"+right).Err())
	}
	must(t, admin.Do(t.Context(), "acl", "setuser", "bursar", "resetkeys", "~other:*").Err())
	_, err := c.TryReserve(t.Context(), "acme", 1)
	lacksRight(t, "reserve without its keys", err)
	must(t, admin.Do(t.Context(), "acl", "setuser", "bursar", "resetkeys", "~bursar:*").Err())
	reserve(t, c, 1)
	audit(t, admin)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func redisClient(t *testing.T, o *redis.Options) *redis.Client {
	t.Helper()
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}
