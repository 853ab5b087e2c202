package cli_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/coordinator/redistest/testca"
)

// loads are the command lines of bench and replay to run on each form of Redis.
var loads = []string{
	"bench --duration 200ms --nodes 2 --tenants 4 --concurrency 4 --baselines script,watch,check",
	"bench --duration 200ms --nodes 2 --tenants 4 --concurrency 4 --processes",
	"bench --duration 200ms --tenants 4 --concurrency 4 --prefix mine",
	"bench sweep --over nodes --values 1,2 --rounds 1 --duration 200ms --tenants 4 --concurrency 4",
	"replay TRACE TRACE",
}

// loadsWork runs the loads as separate processes, and checks that they leave no keys.
func loadsWork(t *testing.T, name string, servers []*redis.Client, variables ...string) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace.jsonl")
	if err := os.WriteFile(trace, []byte(`{"op":"ensure","tenant":"acme","budget":100}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, words := range loads {
		command := exec.Command("bursar", strings.Fields(strings.ReplaceAll(words, "TRACE", trace))...)
		command.Env = append(os.Environ(), variables...)
		var stderr strings.Builder
		command.Stderr = &stderr
		stdout, err := command.Output()
		first, _, _ := strings.Cut(string(stdout), "\n")
		printed := strings.HasPrefix(first, "redis engine, "+name+" (BURSAR_REDIS_URL): ") && strings.HasPrefix(stderr.String(), "bursar: the bench runs on "+name+", which BURSAR_REDIS_URL names\n")
		if err != nil || !printed && first != "2 operations, 0 differences" {
			t.Errorf("%s: %v, %q, %s", words, err, first, &stderr)
		}
		for _, server := range servers {
			if keys, err := server.Keys(t.Context(), "*").Result(); err != nil || len(keys) > 0 {
				t.Errorf("%s: %q are left, %v", words, keys, err)
			}
		}
	}
}

func TestLoadsOnSentinel(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("appendonly yes"))
	address := "redis+sentinel://" + redistest.StartSentinels(t, server, 1).Addrs()[0] + "/" + redistest.SentinelName
	loadsWork(t, address, []*redis.Client{server.Client()}, "BURSAR_REDIS_URL="+address)
}

func TestLoadsOnACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, redistest.WithPassword("secret"), redistest.WithConfig("appendonly yes"))
	var masters []*redis.Client
	for _, master := range cluster.Masters() {
		masters = append(masters, master.Client())
	}
	address := "redis+cluster://" + strings.Join(cluster.Addrs(), ",")
	loadsWork(t, address, masters, "BURSAR_REDIS_URL="+address, "BURSAR_REDIS_PASSWORD=secret\n")
}

// secured starts a server that requires client certificates. host is the address of its
// port with TLS.
func secured(t *testing.T) (server *redistest.Server, host string, ca *testca.Authority, own testca.Leaf) {
	t.Helper()
	ca, err := testca.New(t.TempDir(), "a CA of one's own")
	if err != nil {
		t.Fatal(err)
	}
	if own, err = ca.Issue(ca.Until); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	server = redistest.Start(t, redistest.WithConfig("appendonly yes", "tls-port "+strconv.Itoa(free.Addr().(*net.TCPAddr).Port),
		"tls-cert-file "+own.Cert, "tls-key-file "+own.Key, "tls-ca-cert-file "+ca.File, "tls-auth-clients yes"))
	return server, free.Addr().String(), ca, own
}

func TestLoadsWithClientCertificates(t *testing.T) {
	t.Parallel()
	server, host, ca, own := secured(t)
	loadsWork(t, "rediss://"+host, []*redis.Client{server.Client()},
		"BURSAR_REDIS_URL=rediss://"+host, "BURSAR_REDIS_CA="+ca.File, "BURSAR_REDIS_CERT="+own.Cert, "BURSAR_REDIS_KEY="+own.Key)
}

// doctor has the same remedies for TLS as other commands.
func TestDoctorOfTLS(t *testing.T) {
	_, host, ca, own := secured(t)
	must(t, "doctor", "--redis", "rediss://"+host, "--redis-ca", ca.File, "--redis-cert", own.Cert, "--redis-key", own.Key)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"give the CA that signs the servers with --redis-ca", []string{"--redis", "rediss://" + host}},
		{"give --redis-cert and --redis-key", []string{"--redis", "rediss://" + host, "--redis-ca", ca.File}},
		{"if this port expects TLS, write rediss://" + host, []string{"--redis", "redis://" + host}},
	} {
		for _, command := range []string{"doctor", "verify"} {
			code, stdout, stderr := bursar(t.Context(), append([]string{command}, c.args...)...)
			if code != exit.Unavailable || !strings.Contains(stderr.String(), c.want) || command == "doctor" && !strings.Contains(stdout.String(), c.want) {
				t.Errorf("%s %v: code %d, %s%s", command, c.args, code, stdout, stderr)
			}
		}
	}
}

func TestLoadsOnAUnixSocket(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithPassword("secret1"), redistest.WithUser("ann", "secret2", "~*", "+@all"), redistest.WithConfig("appendonly yes"))
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(server.Dir(), "s")
	loadsWork(t, "unix://"+socket+"?db=0", []*redis.Client{server.Client()}, "BURSAR_REDIS_URL=unix://ann@"+socket+"?db=0", "BURSAR_REDIS_PASSWORD_FILE="+file)
}
