package coordinator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/redistest"
)

// certified writes a certificate for the loopback with its key, and returns a pool that
// trusts it.
func certified(t *testing.T) (certFile, keyFile string, trusted *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	trusted = x509.NewCertPool()
	certFile = write("cert.pem", "CERTIFICATE", der)
	keyFile = write("key.pem", "PRIVATE KEY", keyDER)
	text, err := os.ReadFile(certFile)
	if err != nil || !trusted.AppendCertsFromPEM(text) {
		t.Fatal("the certificate cannot be read back", err)
	}
	return certFile, keyFile, trusted
}

// A node works over TLS with redis-server's own, and trusts no other certificate.
func TestTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile, trusted := certified(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	server := redistest.Start(t, redistest.WithConfig("tls-port "+strconv.Itoa(free.Addr().(*net.TCPAddr).Port),
		"tls-cert-file "+certFile, "tls-key-file "+keyFile, "tls-ca-cert-file "+certFile, "tls-auth-clients no"))
	client := redis.NewClient(&redis.Options{Addr: address, TLSConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}})
	t.Cleanup(func() { client.Close() })
	c := node(t, client)
	ensure(t, c, "acme", 1000)
	commit(t, c, reserve(t, c, 10), 7)
	if b := audit(t, server.Client())["acme"].Balance; b.Committed != 7 {
		t.Errorf("%+v", b)
	}
	strangers := redis.NewClient(&redis.Options{Addr: address, TLSConfig: &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}, MaxRetries: -1})
	t.Cleanup(func() { strangers.Close() })
	refusedStart(t, strangers, ErrUnavailable, "certificate signed by unknown authority")
	plain := redis.NewClient(&redis.Options{Addr: address, MaxRetries: -1, ReadTimeout: time.Second})
	t.Cleanup(func() { plain.Close() })
	if _, err := New(t.Context(), plain, quiet()); err == nil || strings.Contains(err.Error(), "acme") {
		t.Errorf("without TLS: %v", err)
	}
}
