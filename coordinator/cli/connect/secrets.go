package connect

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// Secrets are what an address should not carry.
type Secrets struct {
	User, Password                 string
	SentinelUser, SentinelPassword string
	CA                             *x509.CertPool // nil for the system's
}

// Environment is what the variables say.
func Environment() Secrets {
	return Secrets{
		User: os.Getenv("BURSAR_REDIS_USER"), Password: os.Getenv(passwordVariable),
		SentinelUser: os.Getenv("BURSAR_SENTINEL_USER"), SentinelPassword: os.Getenv("BURSAR_SENTINEL_PASSWORD"),
	}
}

// after lets the address have its say before the variables.
func (s Secrets) after(user *url.Userinfo) Secrets {
	s.User = cmp.Or(user.Username(), s.User)
	if password, set := user.Password(); set {
		s.Password = password
	}
	return s
}

// secretsOf reads the variables and files.
func secretsOf(cc *cli.Context) (s Secrets, err error) {
	s = Environment()
	if name := cc.String(passwordFileFlag); name != "" {
		if s.Password != "" {
			return s, fmt.Errorf("both --%s and %s are given: leave one out", passwordFileFlag, passwordVariable)
		}
		if s.Password, err = readPassword(name); err != nil {
			return s, fmt.Errorf("--%s: %w", passwordFileFlag, err)
		}
	}
	if name := cc.String(caFlag); name != "" {
		if s.CA, err = readCA(name); err != nil {
			return s, fmt.Errorf("--%s: %w", caFlag, err)
		}
	}
	return s, nil
}

func readPassword(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s is empty: write the password into it", name)
	}
	return password, nil
}

func readCA(name string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no certificate in PEM form in %s", name)
	}
	return pool, nil
}
