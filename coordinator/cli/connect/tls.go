package connect

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// checkTLS returns an error for flags that need TLS if the address has none, and for a
// certificate without its key or a key without its certificate.
func (s Secrets) checkTLS(a address) error {
	for _, f := range []struct{ flag, value string }{{caFlag, s.CA}, {certFlag, s.Cert}, {keyFlag, s.Key}} {
		switch {
		case f.value == "" || a.tls:
		case a.unix:
			return fmt.Errorf("--%s is given, and %s has no TLS: leave it out", f.flag, a.name())
		default:
			secure := a
			secure.tls = true
			return fmt.Errorf("--%s is given, and %s has no TLS: write %s", f.flag, a.name(), secure.name())
		}
	}
	switch {
	case s.Cert != "" && s.Key == "":
		return fmt.Errorf("--%s is given without its key: give --%s or %s", certFlag, keyFlag, keyVariable)
	case s.Key != "" && s.Cert == "":
		return fmt.Errorf("--%s is given without its certificate: give --%s or %s", keyFlag, certFlag, certVariable)
	default:
		return nil
	}
}

// security returns the TLS configuration that go-redis made of the URL, with the
// operator's CA and certificate. It leaves out the name of the first host, which go-redis
// sets: each server is verified by the host that was dialled.
func security(parsed *tls.Config, s Secrets) (*tls.Config, error) {
	if parsed == nil {
		return nil, nil
	}
	if parsed.InsecureSkipVerify && s.CA != "" {
		return nil, fmt.Errorf("skip_verify and --%s contradict each other: leave one out", caFlag)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: parsed.InsecureSkipVerify} //nolint:gosec // only if the operator asks for it
	if s.CA != "" {
		pool, err := readCA(s.CA)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", caFlag, err)
		}
		config.RootCAs = pool
	}
	if s.Cert != "" {
		certificate, err := readCertificate(s.Cert, s.Key)
		if err != nil {
			return nil, err
		}
		// Config.Certificates would not be sent to a server that names other CAs, which
		// would then report a missing certificate.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	return config, nil
}

func readCA(name string) (*x509.CertPool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s contains no certificate in PEM form", name)
	}
	return pool, nil
}

func readCertificate(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("--%s: %w", certFlag, err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("--%s: %w", keyFlag, err)
	}
	certificate, err := tls.X509KeyPair(cert, key)
	if err != nil && encrypted(key) {
		err = errors.New("the key is encrypted: decrypt it, for example with openssl pkey")
	}
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("--%s %s, --%s %s: %w", certFlag, certFile, keyFlag, keyFile, err)
	}
	return certificate, nil
}

// encrypted reports whether a key in PEM form needs a password.
func encrypted(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return true
		}
	}
	return false
}
