package connect_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v2"
	"go.uber.org/goleak"

	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestMain(m *testing.M) {
	for _, name := range []string{ // the tests must not use the developer's Redis
		"BURSAR_REDIS_URL", "BURSAR_REDIS_CA", "BURSAR_REDIS_CERT", "BURSAR_REDIS_KEY", "BURSAR_REDIS_PASSWORD_FILE", "BURSAR_PREFIX", "BURSAR_REDIS_PASSWORD",
		"BURSAR_REDIS_USER", "BURSAR_SENTINEL_PASSWORD", "BURSAR_SENTINEL_USER",
	} {
		_ = os.Unsetenv(name)
	}
	goleak.VerifyTestMain(m)
}

// open parses flags as a command does. It has no help flag, because urfave/cli keeps
// that in a global, which parallel tests would write to.
func open(t *testing.T, args ...string) (*connect.Connection, error) {
	t.Helper()
	var connection *connect.Connection
	app := &cli.App{
		Name: "bursar", HideHelp: true, Flags: connect.Flags(), Writer: io.Discard, ErrWriter: io.Discard,
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(cc *cli.Context) (err error) {
			connection, err = connect.Open(cc, time.Minute)
			return err
		},
	}
	err := app.RunContext(t.Context(), append([]string{"bursar"}, args...))
	if connection != nil {
		t.Cleanup(func() { connection.Close() })
	}
	return connection, err
}

// works opens a connection and uses it.
func works(t *testing.T, wantName string, args ...string) *connect.Connection {
	t.Helper()
	c, err := open(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
	if err := c.Client.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Errorf("a write: %v", err)
	}
	if c.Name != wantName || strings.Contains(c.Name, "secret") {
		t.Errorf("the name is %q, want %q", c.Name, wantName)
	}
	return c
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Tests of variables are not parallel, since the environment is that of the process.
func TestSingleServer(t *testing.T) {
	server := redistest.Start(t)
	c := works(t, "redis://"+server.Addr(), "--redis", "redis://"+server.Addr())
	if c.Prefix != "bursar" {
		t.Errorf("prefix %q", c.Prefix)
	}
	t.Setenv("BURSAR_REDIS_URL", "redis://"+server.Addr()+"/3?read_timeout=9s")
	t.Setenv("BURSAR_PREFIX", "staging")
	if c = works(t, "redis://"+server.Addr()+"/3"); c.Prefix != "staging" {
		t.Errorf("prefix %q", c.Prefix)
	}
	if o := c.Client.(*redis.Client).Options(); o.DB != 3 || o.ReadTimeout != 9*time.Second {
		t.Errorf("database %d, read timeout %s", o.DB, o.ReadTimeout)
	}
}

func TestPasswords(t *testing.T) {
	server := redistest.Start(t, redistest.WithPassword("secret/@:1"), redistest.WithUser("ann", "secret2", "~*", "+@all"))
	url, name := "redis://"+server.Addr(), "redis://"+server.Addr()
	t.Run("by variable", func(t *testing.T) {
		t.Setenv("BURSAR_REDIS_PASSWORD", "secret/@:1")
		works(t, name, "--redis", url)
	})
	t.Run("by file", func(t *testing.T) {
		works(t, name, "--redis", url, "--redis-password-file", file(t, "secret/@:1\n"))
	})
	t.Run("of a user", func(t *testing.T) {
		t.Setenv("BURSAR_REDIS_PASSWORD", "secret2")
		t.Setenv("BURSAR_REDIS_USER", "ann")
		works(t, name, "--redis", url)
	})
	t.Run("of a user in the URL", func(t *testing.T) {
		t.Setenv("BURSAR_REDIS_PASSWORD", "secret2")
		works(t, name, "--redis", "redis://ann@"+server.Addr())
	})
	t.Run("in the URL", func(t *testing.T) {
		works(t, name, "--redis", "redis://:secret%2F%40%3A1@"+server.Addr())
	})
	t.Run("in the URL, before the variable", func(t *testing.T) {
		t.Setenv("BURSAR_REDIS_PASSWORD", "secret3")
		works(t, name, "--redis", "redis://:secret%2F@:1@"+server.Addr())
	})
	t.Run("wrong", func(t *testing.T) {
		t.Parallel()
		refusesLogin(t, "redis://:secret9@"+server.Addr())
		refusesLogin(t, "redis://nobody:secret9@"+server.Addr())
		refusesLogin(t, "redis://"+server.Addr())
	})
}

// refusesLogin expects the server to refuse the login, with an error without the password.
func refusesLogin(t *testing.T, address string) {
	t.Helper()
	c, err := open(t, "--redis", address)
	if err != nil {
		t.Fatal(err)
	}
	if err = c.Ping(t.Context()); exit.Code(err) != exit.Unavailable || strings.Contains(err.Error(), "secret") {
		t.Errorf("%s: code %d, %v; want %d and no secret", address, exit.Code(err), err, exit.Unavailable)
	}
}

// A refusal that is not about the user does not advise to check the password.
func TestRefusalsNameTheirRemedy(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		"LOADING Redis is loading the dataset in memory":                        "wait until it is ready",
		"ERR max number of clients reached":                                     "check the address, and the server's log and settings",
		"NOAUTH Authentication required.":                                       "check the user and the password",
		"WRONGPASS invalid username-password pair or user is disabled.":         "check the user and the password",
		"NOPERM this user has no permissions to run the 'ping' command":         "check the rights of the user",
		"ERR AUTH <password> called without any password configured for a user": "check the user and the password",
	} {
		c, err := open(t, "--redis", "redis://"+errorServer(t, reply))
		if err != nil {
			t.Fatal(err)
		}
		err = c.Ping(t.Context())
		if exit.Code(err) != exit.Unavailable || !strings.Contains(err.Error(), "refuses to answer: "+reply) || !strings.HasSuffix(err.Error(), "; "+want) {
			t.Errorf("%s: code %d, %v; want it to end with %q", reply, exit.Code(err), err, want)
		}
	}
}

// errorServer starts a server that answers every command with an error. It returns the address.
func errorServer(t *testing.T, reply string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { refuse(conn, reply) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	return listener.Addr().String()
}

// refuse answers each command. A command begins with a line "*N", its number of words.
func refuse(conn net.Conn, reply string) {
	defer conn.Close()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "*") {
			continue
		}
		if _, err := fmt.Fprintf(conn, "-%s\r\n", reply); err != nil {
			return
		}
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	sentinels := redistest.StartSentinels(t, redistest.Start(t), 2)
	base := "redis+sentinel://" + strings.Join(sentinels.Addrs(), ",") + "/"
	address := base + redistest.SentinelName
	works(t, address, "--redis", address)
	c := works(t, address+"?db=2", "--redis", address+"?db=2&dial_timeout=4s")
	if o := c.Client.(*redis.Client).Options(); o.DB != 2 || o.DialTimeout != 4*time.Second {
		t.Errorf("database %d, dial timeout %s", o.DB, o.DialTimeout)
	}
	c, err := open(t, "--redis", base+"nobody")
	if err != nil {
		t.Fatal(err)
	}
	if err = c.Ping(t.Context()); exit.Code(err) != exit.Unavailable || !strings.Contains(err.Error(), "no Redis answers at "+base+`nobody: the Sentinels watch no master "nobody"`) {
		t.Errorf("an unknown master: code %d, %v", exit.Code(err), err)
	}
}

// The Sentinels have their own password, and the server may have another.
func TestSentinelPasswords(t *testing.T) {
	primary := redistest.Start(t, redistest.WithPassword("secret1"))
	sentinels := redistest.StartSentinels(t, primary, 1, redistest.WithPassword("secret2"))
	address := "redis+sentinel://" + sentinels.Addrs()[0] + "/" + redistest.SentinelName
	t.Setenv("BURSAR_SENTINEL_PASSWORD", "secret2")
	t.Run("in the URL", func(t *testing.T) {
		works(t, address, "--redis", strings.Replace(address, "://", "://default:secret1@", 1))
	})
	t.Run("in the query", func(t *testing.T) {
		works(t, address, "--redis", address+"?username=default&password=secret1")
	})
	t.Run("by variables", func(t *testing.T) {
		t.Setenv("BURSAR_REDIS_PASSWORD", "secret1")
		t.Setenv("BURSAR_SENTINEL_USER", "default")
		works(t, address, "--redis", address)
	})
	t.Run("wrong", func(t *testing.T) {
		t.Setenv("BURSAR_SENTINEL_PASSWORD", "secret3")
		refusesLogin(t, strings.Replace(address, "://", "://:secret1@", 1))
	})
}

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.WithPassword("secret"))
	hosts := strings.Join(cluster.Addrs(), ",")
	works(t, "redis+cluster://"+hosts, "--redis", "redis+cluster://"+hosts, "--redis-password-file", file(t, "secret\r\n"))
	works(t, "redis+cluster://"+hosts+"/0", "--redis", "redis+cluster://:secret@"+hosts+"/0?max_redirects=4")
	// No server listens at the first host.
	hosts = "127.0.0.1:1," + cluster.Addrs()[2]
	works(t, "redis+cluster://"+hosts, "--redis", "redis+cluster://:secret@127.0.0.1:1?addr="+cluster.Addrs()[2])
	refusesLogin(t, "redis+cluster://:secret9@"+cluster.Addrs()[0])
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	one, other := ca.leaf(t), ca.leaf(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "give --redis URL or set BURSAR_REDIS_URL"},
		{[]string{"--redis", "redis://host", "--prefix", "a b"}, "--prefix: key prefix"},
		{[]string{"--redis", "redis://host", "--prefix", ""}, "--prefix: key prefix"},
		{[]string{"--redis", "redis://host", "--redis-password-file", "/nonexistent"}, "no such file"},
		{[]string{"--redis", "redis://host", "--redis-password-file", file(t, "\n")}, "is empty"},
		{[]string{"--redis", "rediss://host", "--redis-ca", "/nonexistent"}, "no such file"},
		{[]string{"--redis", "rediss://host", "--redis-ca", file(t, "hello")}, "no certificate in PEM form"},
		{[]string{"--redis", "redis://host", "--redis-ca", ca.File}, "--redis-ca is given, and redis://host has no TLS: write rediss://host"},
		{[]string{"--redis", "rediss://host?skip_verify=true", "--redis-ca", ca.File}, "leave one out"},
		{[]string{"--redis", "rediss+sentinel://host/m?skip_verify=true", "--redis-ca", ca.File}, "leave one out"},
		{[]string{"--redis", "unix:///redis.sock", "--redis-ca", ca.File}, "--redis-ca is given, and unix:///redis.sock has no TLS: leave it out"},
		{[]string{"--redis", "redis+cluster://host:1", "--redis-cert", one.Cert, "--redis-key", one.Key}, "--redis-cert is given, and redis+cluster://host:1 has no TLS: write rediss+cluster://host:1"},
		{[]string{"--redis", "rediss://host", "--redis-cert", one.Cert}, "--redis-cert is given without its key: give --redis-key or BURSAR_REDIS_KEY"},
		{[]string{"--redis", "rediss://host", "--redis-key", one.Key}, "--redis-key is given without its certificate: give --redis-cert or BURSAR_REDIS_CERT"},
		{[]string{"--redis", "rediss://host", "--redis-cert", "/nonexistent", "--redis-key", one.Key}, "--redis-cert: open /nonexistent: no such file"},
		{[]string{"--redis", "rediss+sentinel://host/m", "--redis-cert", one.Cert, "--redis-key", "/nonexistent"}, "--redis-key: open /nonexistent: no such file"},
		{[]string{"--redis", "rediss+cluster://host", "--redis-cert", one.Cert, "--redis-key", other.Key}, "private key does not match public key"},
		{[]string{"--redis", "rediss://host", "--redis-cert", one.Key, "--redis-key", one.Cert}, "PEM inputs may have been switched"},
		{[]string{"--redis", "rediss://host", "--redis-cert", one.Cert, "--redis-key", file(t, "hello")}, "failed to find any PEM data in key input"},
		{[]string{"--redis", "rediss://host", "--redis-cert", one.Cert, "--redis-key", file(t, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n")}, "the key is encrypted: decrypt it"},
	} {
		if _, err := open(t, c.args...); exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v: code %d, %v; want usage, %q", c.args, exit.Code(err), err, c.want)
		}
	}
}

func TestTwoPasswords(t *testing.T) {
	t.Setenv("BURSAR_REDIS_PASSWORD", "secret")
	_, err := open(t, "--redis", "redis://host", "--redis-password-file", file(t, "secret"))
	if exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), "both --redis-password-file and BURSAR_REDIS_PASSWORD") {
		t.Errorf("two passwords: %v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	server := redistest.Start(t, redistest.WithPassword("secret1"), redistest.WithUser("ann", "secret2", "~*", "+@all"))
	socket := filepath.Join(server.Dir(), "s")
	t.Setenv("BURSAR_REDIS_PASSWORD", "secret2\n")
	works(t, "unix://"+socket, "--redis", "unix://ann@"+socket)
	works(t, "unix://"+socket, "--redis", "UNIX://:secret1@"+socket)
	c := works(t, "unix://"+socket+"?db=1", "--redis", "unix://ann:secret2@"+socket+"?db=1&read_timeout=9s")
	if o := c.Client.(*redis.Client).Options(); o.DB != 1 || o.ReadTimeout != 9*time.Second {
		t.Errorf("database %d, read timeout %s", o.DB, o.ReadTimeout)
	}
	refusesLogin(t, "unix://nobody:secret9@"+socket)
	isUnreachable(t, "no Redis answers at unix:///nonexistent/a@b: dial unix /nonexistent/a@b: connect: no such file or directory; check the address", "--redis", "unix:///nonexistent/a@b")
}

// White space that a file or a secret store leaves around a variable is not part of its
// value, except for the blanks of a password.
func TestBlanksAtTheEndsOfVariables(t *testing.T) {
	server := redistest.Start(t, redistest.WithUser("ann", "secret2", "~*", "+@all"))
	admin := server.Client()
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "bob", "on", "> secret 3 ", "~*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BURSAR_REDIS_URL", " Redis://"+server.Addr()+"/3\n")
	t.Setenv("BURSAR_PREFIX", "staging\r\n")
	t.Setenv("BURSAR_REDIS_USER", "ann\n")
	t.Setenv("BURSAR_REDIS_PASSWORD_FILE", file(t, "secret2\n")+"\n")
	if c := works(t, "redis://"+server.Addr()+"/3"); c.Prefix != "staging" {
		t.Errorf("prefix %q", c.Prefix)
	}
	t.Setenv("BURSAR_REDIS_PASSWORD_FILE", " \n")
	t.Setenv("BURSAR_REDIS_PASSWORD", "secret2\r\n")
	t.Setenv("BURSAR_REDIS_CA", "\n")
	t.Setenv("BURSAR_PREFIX", "\n")
	if c := works(t, "redis://"+server.Addr()+"/3"); c.Prefix != "bursar" {
		t.Errorf("prefix %q", c.Prefix)
	}
	t.Setenv("BURSAR_REDIS_USER", " bob ")
	t.Setenv("BURSAR_REDIS_PASSWORD", " secret 3 \n")
	works(t, "redis://"+server.Addr()+"/3")
	t.Setenv("BURSAR_REDIS_URL", "\n")
	if _, err := open(t); exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), "no Redis is given") {
		t.Errorf("a variable without a value: %v", err)
	}
}

// The Sentinels' variables are read in the same way.
func TestBlanksAtTheEndsOfSentinelVariables(t *testing.T) {
	sentinels := redistest.StartSentinels(t, redistest.Start(t), 1, redistest.WithPassword("secret2"))
	address := "redis+sentinel://" + sentinels.Addrs()[0] + "/" + redistest.SentinelName
	t.Setenv("BURSAR_SENTINEL_USER", "default\n")
	t.Setenv("BURSAR_SENTINEL_PASSWORD", "secret2\n")
	works(t, address, "--redis", "Redis+SENTINEL"+strings.TrimPrefix(address, "redis+sentinel"))
}

// A mistyped address fails at once.
func TestUnreachableServer(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"redis://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/master", "redis+cluster://127.0.0.1:1,127.0.0.1:2"} {
		c, err := open(t, "--redis", address)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = c.Ping(t.Context())
		if exit.Code(err) != exit.Unavailable || !strings.Contains(fmt.Sprint(err), "no Redis answers at "+address) {
			t.Errorf("%s: code %d, %v", address, exit.Code(err), err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: the error came after %s", address, took)
		}
	}
}
