package connect_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
	"github.com/calybris/bursar/coordinator/redistest/testca"
)

// authority is a private CA.
type authority struct{ *testca.Authority }

func newAuthority(t *testing.T) authority { return namedAuthority(t, "a CA of one's own") }

func namedAuthority(t *testing.T, name string) authority {
	t.Helper()
	ca, err := testca.New(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	return authority{ca}
}

func (a authority) issue(t *testing.T, until time.Time) leaf {
	t.Helper()
	issued, err := a.Issue(until)
	if err != nil {
		t.Fatal(err)
	}
	return leaf{issued}
}

func (a authority) leaf(t *testing.T) leaf {
	t.Helper()
	return a.issue(t, a.Until)
}

type leaf struct{ testca.Leaf }

// flags returns the flags of a client with this certificate.
func (l leaf) flags() []string { return []string{"--redis-cert", l.Cert, "--redis-key", l.Key} }

// proxy is a TLS listener in front of a server, which may be started later.
type proxy struct {
	net.Listener
	server chan string // its address, which each receiver puts back
}

// startProxy starts a proxy, which requires client certificates of the CA ofClients unless
// that is nil.
func startProxy(t *testing.T, own leaf, ofClients *authority) *proxy {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{own.Certificate}, MinVersion: tls.VersionTLS12}
	if ofClients != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ofClients.Pool()
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: listener, server: make(chan string, 1)}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			front, err := p.Accept()
			if err != nil {
				return
			}
			go p.serve(front)
		}
	}()
	return p
}

// behind sets the address of the server.
func (p *proxy) behind(server string) *proxy {
	p.server <- server
	return p
}

func (p *proxy) serve(front net.Conn) {
	defer front.Close()
	server := <-p.server
	p.server <- server
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
}

// address returns the address of the proxy.
func (p *proxy) address() string { return p.Addr().String() }

func (p *proxy) port() int { return p.Addr().(*net.TCPAddr).Port }

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server := redistest.Start(t).Addr()
	address := "rediss://" + startProxy(t, ca.leaf(t), nil).behind(server).address()
	works(t, address, "--redis", address, "--redis-ca", ca.File)
	works(t, address, "--redis", address+"?skip_verify=true")
	// A server that does not ask for a certificate accepts a client that has one.
	works(t, address, append(ca.leaf(t).flags(), "--redis", address, "--redis-ca", ca.File)...)

	refusesCertificate(t, "give the CA that signs the servers with --redis-ca", "--redis", address)
	refusesCertificate(t, "give the CA that signs the servers with --redis-ca", "--redis", address, "--redis-ca", newAuthority(t).File)
	// The certificate is for 127.0.0.1.
	refusesCertificate(t, "with a host that the server's certificate names", "--redis", strings.Replace(address, "127.0.0.1", "localhost", 1), "--redis-ca", ca.File)
	expired := "rediss://" + startProxy(t, ca.issue(t, time.Now().Add(-time.Hour)), nil).behind(server).address()
	refusesCertificate(t, "renew the server's certificate", "--redis", expired, "--redis-ca", ca.File)
}

// refusesCertificate expects an error about a certificate with the remedy.
func refusesCertificate(t *testing.T, remedy string, args ...string) {
	t.Helper()
	c, err := open(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Ping(t.Context())
	if exit.Code(err) != exit.Unavailable || !strings.Contains(fmt.Sprint(err), "certificate") || !strings.Contains(fmt.Sprint(err), remedy) {
		t.Errorf("%v: code %d, %v; want %d, the certificate and %q", args, exit.Code(err), err, exit.Unavailable, remedy)
	}
}

// secured starts a redis-server that requires client certificates, and returns it with the
// address of its port with TLS.
func secured(t *testing.T, ca authority, lines ...string) (server *redistest.Server, address string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own, port := ca.leaf(t), free.Addr().(*net.TCPAddr).Port
	free.Close()
	server = redistest.Start(t, redistest.WithConfig(append(lines, "tls-port "+strconv.Itoa(port),
		"tls-cert-file "+own.Cert, "tls-key-file "+own.Key, "tls-ca-cert-file "+ca.File, "tls-auth-clients yes")...))
	return server, free.Addr().String()
}

// TLS as in Redis' documentation, with client certificates. Each mismatch between client
// and server has its remedy.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server, port := secured(t, ca)
	address := "rediss://" + port
	works(t, address, append(ca.leaf(t).flags(), "--redis", address, "--redis-ca", ca.File)...)

	const unaccepted = "the server does not accept the client's certificate of --redis-cert"
	refusesCertificate(t, "the server asks for a client's certificate: give --redis-cert and --redis-key", "--redis", address, "--redis-ca", ca.File)
	for _, name := range []string{"another CA", "a CA of one's own"} { // the second with another key
		isUnreachable(t, unaccepted, append(namedAuthority(t, name).leaf(t).flags(), "--redis", address, "--redis-ca", ca.File)...)
	}
	refusesCertificate(t, unaccepted, append(ca.issue(t, time.Now().Add(-time.Hour)).flags(), "--redis", address, "--redis-ca", ca.File)...)
	isUnreachable(t, "if this port expects TLS, write rediss://"+port+"; else check the address", "--redis", "redis://"+port)
	// A plain port's answer to a handshake depends on the random bytes of the handshake.
	isUnreachable(t, "this port has no TLS", "--redis", "rediss://"+server.Addr()+"?skip_verify=true&dial_timeout=300ms")
}

func isUnreachable(t *testing.T, remedy string, args ...string) {
	t.Helper()
	c, err := open(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); exit.Code(err) != exit.Unavailable || !strings.Contains(fmt.Sprint(err), remedy) {
		t.Errorf("%v: code %d, %v; want %d, %q", args, exit.Code(err), err, exit.Unavailable, remedy)
	}
}

// The remedies are the same with TLS 1.2, in which servers refuse with other errors.
func TestClientCertificatesOfTLS12(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	_, port := secured(t, ca, "tls-protocols TLSv1.2")
	address := "rediss://" + port
	works(t, address, append(ca.leaf(t).flags(), "--redis", address, "--redis-ca", ca.File)...)
	isUnreachable(t, "the server asks for a client's certificate: give --redis-cert and --redis-key", "--redis", address, "--redis-ca", ca.File)
	isUnreachable(t, "the server does not accept the client's certificate of --redis-cert", append(namedAuthority(t, "another CA").leaf(t).flags(), "--redis", address, "--redis-ca", ca.File)...)
}

// The server's answer, or its silence, shows which side has no TLS.
func TestRemediesForMismatchedTLS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scheme, answer string
		close          bool
		want           string
	}{
		{"rediss", "", false, "if this port has no TLS, write redis://HOST; else check the address"},
		{"rediss", "", true, "if this port has no TLS, write redis://HOST; else check the address"},
		{"rediss", "-ERR unknown command\r\n", true, "this port has no TLS: write redis://HOST, or"},
		{"redis", "", true, "if this port expects TLS, write rediss://HOST; else check the address"},
		{"redis", "\x15\x03\x01\x00\x02\x02\x46", true, "if this port expects TLS, write rediss://HOST; else check the address"},
		{"redis", "", false, "; check the address, and that the server runs"},
		{"redis+cluster", "", true, "if this port expects TLS, write rediss+cluster://HOST; else"},
		{"rediss+cluster", "", false, "if this port has no TLS, write redis+cluster://HOST; else"},
	} {
		host := answering(t, c.answer, c.close)
		isUnreachable(t, strings.ReplaceAll(c.want, "HOST", host), "--redis", c.scheme+"://"+host+"?dial_timeout=200ms&read_timeout=200ms")
	}
	host := answering(t, "", true)
	isUnreachable(t, "if this port expects TLS, write rediss+sentinel://"+host+"/m; else", "--redis", "redis+sentinel://"+host+"/m")
	host = answering(t, "", false)
	isUnreachable(t, "if this port has no TLS, write redis+sentinel://"+host+"/m; else", "--redis", "rediss+sentinel://"+host+"/m?dial_timeout=200ms")
}

// answering starts a listener and returns its address. The listener answers the first
// bytes of each connection, and then closes it or stays silent.
func answering(t *testing.T, answer string, closes bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	ended := make(chan struct{})
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, answer)
				if !closes {
					<-ended
				}
			})
		}
	})
	t.Cleanup(func() {
		close(ended)
		listener.Close()
		group.Wait()
	})
	return listener.Addr().String()
}

// Sentinels and the server that they name use TLS with client certificates.
func TestTLSOfSentinels(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server := redistest.Start(t)
	sentinels := redistest.StartSentinels(t, server, 1)
	front, frontOfServer := startProxy(t, ca.leaf(t), &ca).behind(sentinels.Addrs()[0]), startProxy(t, ca.leaf(t), &ca).behind(server.Addr())
	admin := redis.NewClient(&redis.Options{Addr: sentinels.Addrs()[0]})
	defer admin.Close()
	// The Sentinel cannot reach a plain Redis there, but has too few votes for a failover.
	if err := admin.Do(t.Context(), "SENTINEL", "MONITOR", "safe", "127.0.0.1", frontOfServer.port(), 2).Err(); err != nil {
		t.Fatal(err)
	}
	address := "rediss+sentinel://" + front.address() + "/safe"
	works(t, address, append(ca.leaf(t).flags(), "--redis", address, "--redis-ca", ca.File)...)
	works(t, address, append(ca.leaf(t).flags(), "--redis", address+"?skip_verify=true")...)
	refusesCertificate(t, "give the CA that signs the servers with --redis-ca", append(ca.leaf(t).flags(), "--redis", address)...)
	refusesCertificate(t, "give --redis-cert and --redis-key", "--redis", address, "--redis-ca", ca.File)
}

// Every node of a Cluster uses TLS with client certificates, including nodes that only the
// Cluster names.
func TestTLSOfACluster(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	front := startProxy(t, ca.leaf(t), &ca)
	cluster := redistest.StartCluster(t, redistest.WithMasters(1),
		redistest.WithConfig("cluster-announce-ip 127.0.0.1", fmt.Sprintf("cluster-announce-port %d", front.port())))
	front.behind(cluster.Addrs()[0])
	first := startProxy(t, ca.leaf(t), &ca).behind(cluster.Addrs()[0])
	address := "rediss+cluster://" + first.address()
	works(t, address, append(ca.leaf(t).flags(), "--redis", address, "--redis-ca", ca.File)...)
	refusesCertificate(t, "give the CA that signs the servers with --redis-ca", append(ca.leaf(t).flags(), "--redis", address)...)
	refusesCertificate(t, "give --redis-cert and --redis-key", "--redis", address, "--redis-ca", ca.File)
}

// TLS by variables, with white space around their values as from files and secret stores.
func TestTLSByVariables(t *testing.T) {
	ca := newAuthority(t)
	_, port := secured(t, ca)
	own := ca.leaf(t)
	t.Setenv("BURSAR_REDIS_URL", "\tREDISS://"+port+"\n")
	t.Setenv("BURSAR_REDIS_CA", ca.File+"\n")
	t.Setenv("BURSAR_REDIS_CERT", own.Cert+" \n")
	t.Setenv("BURSAR_REDIS_KEY", own.Key+"\r\n")
	works(t, "rediss://"+port)
}
