package connect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
)

// The secrets here begin with "secret". Errors must not contain them.
func TestBadAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ address, want string }{
		{"localhost:6379", `"localhost:6379" is not a Redis address; write redis://host:6379`},
		{"localhost?password=secret", "has no scheme"},
		{"user:secret@localhost", "has no scheme"},
		{"ann:secret://host", "an unknown scheme"},
		{"http://user:secret@host", "http:// is not a scheme for Redis"},
		{"redis+ring://host?password=secret", "redis+ring:// is not a scheme for Redis"},
		{"redis://", `the host ""`},
		{"redis+cluster://one:1,,two:2", `the host ""`},
		{"redis://:secret@host:port", `the host "host:port"`},
		{"redis://host:65536", `the host "host:65536"`},
		{"redis://host:0", `the host "host:0"`},
		{"redis://:secret", "a host, or a port, that cannot be read"},
		{"redis://ann:secret", "a host, or a port, that cannot be read"},
		{"redis+cluster://host:1?addr=:secret%40host:2", "a host, or a port, that cannot be read"},
		{"redis://us%zer:secret@host", "BURSAR_REDIS_PASSWORD"},
		{"redis://ann:secret%@host", "write special characters as %40"},
		{"redis://:secret/1@host", "write special characters as %40"},
		{"redis://ann:1/secret@host", "write special characters as %40"},
		{"redis://ann:secret@1/secret@host", "write special characters as %40"},
		{"redis://:secret?1@host", "write special characters as %40"},
		{"redis://host?%zz=secret", "query cannot be read"},
		{"redis://:secret@host/%zz", "path cannot be read"},
		{"redis://:secret@host/five", `"five"`},
		{"redis://:secret@host/1/2", "invalid URL path"},
		{"redis://:secret@host/-1", "database -1 does not exist"},
		{"redis://:secret@host?no_such_option=1", "no_such_option"},
		{"redis://:secret@host?password=secret", "unexpected option: password"},
		{"redis://:secret@host?pool_size=-1", "pool_size=-1: give 0 to 1048576"},
		{"redis://one:1,two:2", "2 hosts for a single server"},
		{"redis://one:1?addr=two:2", "2 hosts for a single server"},
		{"redis+sentinel://host:26379", "give the name of the master"},
		{"redis+sentinel://host:26379/my/master", "give the name of the master"},
		{"redis+sentinel://host:26379/master?db=x", "invalid database number"},
		{"redis+sentinel://host:26379/master?db=-2", "database -2 does not exist"},
		{"redis+sentinel://host/master?master_name=other", "leave out master_name"},
		{"redis+sentinel://host/master?route_by_latency=true", "leave out replica_only, route_by_latency"},
		{"redis+sentinel://host/master?route_randomly=true", "leave out replica_only, route_by_latency"},
		{"redis+sentinel://host/master?replica_only=true", "leave out replica_only, route_by_latency"},
		{"redis+cluster://host:6379/2", `a Cluster has no database "2"`},
		{"redis+cluster://host:6379?db=1", "unexpected option: db"},
		{"redis+cluster://host:6379?min_idle_conns=9999999", "give -1 to 1048576"},
		{"redis+cluster://host:6379?x=secret", "unexpected option: x"},
		{"rediss+cluster://host:6379?skip_verify=true", "unexpected option: skip_verify"},
		{"Redis+Ring://host", "Redis+Ring:// is not a scheme for Redis"},
		{"unix://", "write unix:///path/of/redis.sock"},
		{"unix:///", "write unix:///path/of/redis.sock"},
		{"unix://?db=1", "write unix:///path/of/redis.sock"},
		{"unix://redis.sock", "write unix:///path/of/redis.sock"},
		{"unix://secret/redis.sock", "write unix:///path/of/redis.sock"},
		{"unix://ann:secret@host/redis.sock", "write unix:///path/of/redis.sock"},
		{"unix://ann:sec/ret@/redis.sock", "write special characters as %40"},
		{"unix:///redis.sock?db=-1", "database -1 does not exist"},
		{"unix:///redis.sock?db=x", "invalid database number"},
		{"unix:///redis.sock?pool_size=-1", "pool_size=-1: give 0 to 1048576"},
		{"unix:///redis.sock?password=secret", "unexpected option: password"},
		{"unix:///%zz", "path cannot be read"},
		{"unix+cluster:///redis.sock", "unix+cluster:// is not a scheme for Redis"},
	} {
		_, err := open(t, "--redis", c.address)
		text := fmt.Sprint(err)
		if exit.Code(err) != exit.Usage || !strings.Contains(text, c.want) || strings.Contains(text, "secret") {
			t.Errorf("%s: code %d, %v; want usage, %q and no secret", c.address, exit.Code(err), err, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ address, name, hosts string }{
		{"redis://ann:secret@host", "redis://host", "host:6379"},
		{"redis://:secret@[::1]/3", "redis://[::1]/3", "[::1]:6379"},
		{"rediss://host:7000?db=3&client_name=secret", "rediss://host:7000?db=3", "host:7000"},
		{"redis+sentinel://:secret@one,two:7/m%2e1?password=secret", "redis+sentinel://one,two:7/m.1", "one:26379,two:7"},
		{"REDIS://host/3", "redis://host/3", "host:6379"},
		{"Rediss+Cluster://Host", "rediss+cluster://Host", "Host:6379"},
		{" redis://host\n", "redis://host", "host:6379"},
		{"unix:///run/a b/%25?db=3&client_name=secret", "unix:///run/a%20b/%25?db=3", "/run/a b/%"},
		{"unix://ann:secret@/run/redis@1.sock", "unix:///run/redis@1.sock", "/run/redis@1.sock"},
		{"rediss+cluster://:secret@one,two?addr=three", "rediss+cluster://one,two,three", "one:6379,two:6379,three:6379"},
	} {
		target, err := connect.Parse(c.address, connect.Secrets{Password: "secret"})
		if err != nil || target.Name != c.name || hosts(target) != c.hosts {
			t.Errorf("%s: name %q, hosts %s, %v; want %q, %s", c.address, target.Name, hosts(target), err, c.name, c.hosts)
		}
	}
}

func hosts(t connect.Target) string {
	switch {
	case t.Sentinel != nil:
		return strings.Join(t.Sentinel.SentinelAddrs, ",")
	case t.Cluster != nil:
		return strings.Join(t.Cluster.Addrs, ",")
	case t.Single != nil:
		return t.Single.Addr
	default:
		return "none"
	}
}

// A password may have characters that are special in a URL.
func TestLogins(t *testing.T) {
	t.Parallel()
	variables := connect.Secrets{User: "bob", Password: "secret1"}
	for _, c := range []struct{ userinfo, user, password string }{
		{"", "bob", "secret1"},
		{"ann@", "ann", "secret1"},
		{"ann:secret2@", "ann", "secret2"},
		{":secret2@", "bob", "secret2"},
		{"ann:se@cret#2:,%2F%3F@", "ann", "se@cret#2:,/?"},
	} {
		target, err := connect.Parse("redis://"+c.userinfo+"host", variables)
		if err != nil {
			t.Errorf("%s: %v", c.userinfo, err)
		} else if o := target.Single; o.Username != c.user || o.Password != c.password || o.Addr != "host:6379" {
			t.Errorf("%s: user %q, password %q at %s; want %q, %q", c.userinfo, o.Username, o.Password, o.Addr, c.user, c.password)
		}
	}
}

// For any address, Parse returns a target from which a client can be made, or an error.
// Neither shows the password.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"redis://host:6379/1?pool_size=3", "rediss+sentinel://one,two/m?db=1", "redis+cluster://one:1,two:2?max_redirects=2", "host", "redis://[::1",
		"unix:///run/redis.sock?db=1", "UNIX://ann@/a@b",
	} {
		f.Add(seed, "secret")
	}
	f.Fuzz(func(t *testing.T, address, tail string) {
		const secret = "sEcReT"
		for _, text := range []string{address, strings.Replace(address, "://", "://ann:"+secret+tail+"@", 1)} {
			target, err := connect.Parse(text, connect.Secrets{})
			if shown := target.Name + fmt.Sprint(err); strings.Contains(shown, secret) && !strings.Contains(address+tail, secret) {
				t.Fatalf("%q shows the password: %s", text, shown)
			}
			if err == nil && !strings.Contains(text, "idle") { // those dial at once
				_ = target.Client().Close()
			}
		}
	})
}
