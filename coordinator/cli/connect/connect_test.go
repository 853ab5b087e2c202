package connect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v2"
	"go.uber.org/goleak"

	"github.com/calybris/bursar/coordinator/cli/connect"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open parses flags as a command does. It is not for parallel tests: the variables
// are the process', and urfave/cli keeps its help flag in a global.
func open(t *testing.T, args ...string) (*connect.Connection, error) {
	t.Helper()
	var connection *connect.Connection
	app := &cli.App{
		Name: "bursar", Flags: connect.Flags(), Writer: io.Discard, ErrWriter: io.Discard,
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(cc *cli.Context) (err error) {
			connection, err = connect.Open(cc)
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
	t.Run("wrong", func(t *testing.T) {
		c, err := open(t, "--redis", "redis://:secret9@"+server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if err = c.Ping(t.Context()); exit.Code(err) != exit.Unavailable || strings.Contains(err.Error(), "secret") {
			t.Errorf("code %d, %v", exit.Code(err), err)
		}
	})
}

func TestSentinel(t *testing.T) {
	sentinels := redistest.StartSentinels(t, redistest.Start(t), 2)
	hosts := strings.Join(sentinels.Addrs(), ",")
	address := "redis+sentinel://" + hosts + "/" + sentinels.Options().MasterName
	works(t, address, "--redis", address)
}

func TestCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	address := "redis+cluster://" + strings.Join(cluster.Addrs(), ",")
	works(t, address, "--redis", address)
}

// certificate makes a CA, and a server's certificate for the loopback.
func certificate(t *testing.T) (ca []byte, server tls.Certificate) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA of one's own"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	authorityKey, serverKey := newKey(), newKey()
	authorityDER := sign(authority, authority, authorityKey, authorityKey)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER})
	return ca, tls.Certificate{Certificate: [][]byte{sign(leaf, authority, serverKey, authorityKey)}, PrivateKey: serverKey}
}

// behindTLS is the address of a TLS listener in front of a server.
func behindTLS(t *testing.T, certificate tls.Certificate, server string) string {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			front, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer front.Close()
				back, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer back.Close()
				go func() {
					defer back.Close()
					_, _ = io.Copy(back, front)
				}()
				_, _ = io.Copy(front, back)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestTLS(t *testing.T) {
	ca, leaf := certificate(t)
	address := behindTLS(t, leaf, redistest.Start(t).Addr())
	works(t, "rediss://"+address, "--redis", "rediss://"+address, "--redis-ca", file(t, string(ca)))

	stranger, _ := certificate(t)
	for _, args := range [][]string{
		{"--redis", "rediss://" + address},
		{"--redis", "rediss://" + address, "--redis-ca", file(t, string(stranger))},
	} {
		c, err := open(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ping(t.Context()); exit.Code(err) != exit.Unavailable || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%v: code %d, %v", args, exit.Code(err), err)
		}
	}
}

func TestBadAddresses(t *testing.T) {
	for _, c := range []struct{ address, want string }{
		{"localhost:6379", `"localhost:6379" is no address of a Redis; write redis://host:6379`},
		{"user:secret@localhost", "no scheme that is known"},
		{"http://host", "is no address"},
		{"redis+ring://host", "is no address"},
		{"redis://", `the host ""`},
		{"redis://:secret@host:port", `the host "host:port"`},
		{"redis://us%zer:secret@host", "BURSAR_REDIS_PASSWORD"},
		{"redis://host?%zz=secret", "query cannot be read"},
		{"redis://:secret@host/five", `"five"`},
		{"redis://:secret@host?no_such_option=1", "no_such_option"},
		{"redis://one:1,two:2", "one server too many"},
		{"redis+sentinel://host:26379", "give the name of the master"},
		{"redis+sentinel://host:26379/my/master", "give the name of the master"},
		{"redis+sentinel://host:26379/master?db=x", "invalid database number"},
		{"redis+cluster://host:6379/2", `a Cluster has no database "2"`},
		{"redis+cluster://host:6379?x=secret", "unexpected option: x"},
	} {
		_, err := open(t, "--redis", c.address)
		if exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), c.want) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: code %d, %v; want usage, %q and no secret", c.address, exit.Code(err), err, c.want)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "give --redis URL or set BURSAR_REDIS_URL"},
		{[]string{"--redis", "redis://host", "--prefix", "a b"}, "--prefix: invalid key prefix"},
		{[]string{"--redis", "redis://host", "--redis-password-file", "/nonexistent"}, "no such file"},
		{[]string{"--redis", "redis://host", "--redis-password-file", file(t, "\n")}, "is empty"},
		{[]string{"--redis", "rediss://host", "--redis-ca", "/nonexistent"}, "no such file"},
		{[]string{"--redis", "rediss://host", "--redis-ca", file(t, "hello")}, "no certificate in PEM form"},
		{[]string{"--redis", "redis://host", "--redis-ca", file(t, string(first(certificate(t))))}, "write rediss://host"},
	} {
		if _, err := open(t, c.args...); exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%v: code %d, %v; want usage, %q", c.args, exit.Code(err), err, c.want)
		}
	}
	t.Setenv("BURSAR_REDIS_PASSWORD", "secret")
	_, err := open(t, "--redis", "redis://host", "--redis-password-file", file(t, "secret"))
	if exit.Code(err) != exit.Usage || !strings.Contains(fmt.Sprint(err), "leave one out") {
		t.Errorf("two passwords: %v", err)
	}
}

func first(ca []byte, _ tls.Certificate) []byte { return ca }

// A typing error is answered at once.
func TestNobodyThere(t *testing.T) {
	for _, address := range []string{"redis://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/master", "redis+cluster://127.0.0.1:1"} {
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
			t.Errorf("%s: it took %s to say so", address, took)
		}
	}
}
