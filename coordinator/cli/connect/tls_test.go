package connect_test

import (
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
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

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

// proxy is a TLS listener in front of a server, which may be started after it.
type proxy struct {
	net.Listener
	server chan string // its address, again and again
}

func startProxy(t *testing.T, certificate tls.Certificate) *proxy {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
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

// behind names the server.
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

// address is that of the proxy.
func (p *proxy) address() string { return p.Addr().String() }

func (p *proxy) port() int { return p.Addr().(*net.TCPAddr).Port }

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, leaf := certificate(t)
	address := "rediss://" + startProxy(t, leaf).behind(redistest.Start(t).Addr()).address()
	works(t, address, "--redis", address, "--redis-ca", file(t, string(ca)))
	works(t, address, "--redis", address+"?skip_verify=true")

	stranger, _ := certificate(t)
	refusesCertificate(t, "--redis", address)
	refusesCertificate(t, "--redis", address, "--redis-ca", file(t, string(stranger)))
	// The certificate is for 127.0.0.1.
	refusesCertificate(t, "--redis", strings.Replace(address, "127.0.0.1", "localhost", 1), "--redis-ca", file(t, string(ca)))
}

func refusesCertificate(t *testing.T, args ...string) {
	t.Helper()
	c, err := open(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); exit.Code(err) != exit.Unavailable || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v: code %d, %v; want %d and the certificate", args, exit.Code(err), err, exit.Unavailable)
	}
}

// Sentinels and the server that they name have TLS.
func TestTLSOfSentinels(t *testing.T) {
	t.Parallel()
	ca, leaf := certificate(t)
	server := redistest.Start(t)
	sentinels := redistest.StartSentinels(t, server, 1)
	front, frontOfServer := startProxy(t, leaf).behind(sentinels.Addrs()[0]), startProxy(t, leaf).behind(server.Addr())
	admin := redis.NewClient(&redis.Options{Addr: sentinels.Addrs()[0]})
	defer admin.Close()
	// The Sentinel finds no plain Redis there, and one more vote is missing for a failover.
	if err := admin.Do(t.Context(), "SENTINEL", "MONITOR", "safe", "127.0.0.1", frontOfServer.port(), 2).Err(); err != nil {
		t.Fatal(err)
	}
	address := "rediss+sentinel://" + front.address() + "/safe"
	works(t, address, "--redis", address, "--redis-ca", file(t, string(ca)))
	works(t, address, "--redis", address+"?skip_verify=true")
	refusesCertificate(t, "--redis", address)
}

// Every node of a Cluster has TLS, also those that only the Cluster names.
func TestTLSOfACluster(t *testing.T) {
	t.Parallel()
	ca, leaf := certificate(t)
	front := startProxy(t, leaf)
	cluster := redistest.StartCluster(t, redistest.WithMasters(1),
		redistest.WithConfig("cluster-announce-ip 127.0.0.1", fmt.Sprintf("cluster-announce-port %d", front.port())))
	front.behind(cluster.Addrs()[0])
	first := startProxy(t, leaf).behind(cluster.Addrs()[0])
	address := "rediss+cluster://" + first.address()
	works(t, address, "--redis", address, "--redis-ca", file(t, string(ca)))
	refusesCertificate(t, "--redis", address)
}
