// Package testca issues certificates for the servers and clients of tests.
package testca

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
	"time"
)

// Authority is a certificate authority for a test.
type Authority struct {
	File  string // path of its certificate in PEM form
	Until time.Time

	dir      string
	template *x509.Certificate
	key      *ecdsa.PrivateKey
	issued   int64
}

// New returns an authority that is valid for an hour and writes its files to the folder dir.
func New(dir, name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	a := &Authority{dir: dir, key: key, Until: now.Add(time.Hour), template: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(time.Hour),
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.template, a.template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	if a.template, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	a.File, err = a.write("ca.pem", "CERTIFICATE", der)
	return a, err
}

// Pool returns a certificate pool that contains the authority's certificate.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.template)
	return pool
}

// Leaf is a certificate for 127.0.0.1, for a server or a client, with the paths of its
// files.
type Leaf struct {
	tls.Certificate

	Cert, Key string
}

// Issue issues a certificate that is valid until the given time.
func (a *Authority) Issue(until time.Time) (Leaf, error) {
	a.issued++
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Leaf{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1 + a.issued), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: a.template.NotBefore, NotAfter: until,
	}, a.template, &key.PublicKey, a.key)
	if err != nil {
		return Leaf{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Leaf{}, err
	}
	leaf, number := Leaf{Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, strconv.FormatInt(a.issued, 10)
	if leaf.Cert, err = a.write("cert"+number+".pem", "CERTIFICATE", der); err != nil {
		return Leaf{}, err
	}
	leaf.Key, err = a.write("key"+number+".pem", "PRIVATE KEY", keyDER)
	return leaf, err
}

func (a *Authority) write(name, kind string, der []byte) (string, error) {
	path := filepath.Join(a.dir, name)
	return path, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
