package connect

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/layout"
)

const (
	redisFlag        = "redis"
	caFlag           = "redis-ca"
	passwordFileFlag = "redis-password-file"
	prefixFlag       = "prefix"

	redisVariable    = "BURSAR_REDIS_URL"
	passwordVariable = "BURSAR_REDIS_PASSWORD" //nolint:gosec // the name of a variable
)

// Flags are those that every command with a Redis of the operator's has.
func Flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: redisFlag, EnvVars: []string{redisVariable},
			Usage: "`URL` of the Redis: redis://host:6379, redis+sentinel://host:26379,…/MASTER, redis+cluster://host:6379,…; rediss for TLS",
		},
		&cli.StringFlag{Name: caFlag, EnvVars: []string{"BURSAR_REDIS_CA"}, Usage: "PEM `FILE` of the CA that signs the servers, for rediss"},
		&cli.StringFlag{
			Name: passwordFileFlag, EnvVars: []string{"BURSAR_REDIS_PASSWORD_FILE"},
			Usage: "`FILE` with the password; or set " + passwordVariable,
		},
		&cli.StringFlag{
			Name: prefixFlag, EnvVars: []string{"BURSAR_PREFIX"}, Value: layout.DefaultPrefix,
			Usage: "`TEXT` that the keys begin with, for several environments on one Redis",
		},
	}
}

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

// secretsOf reads the variables and files.
func secretsOf(cc *cli.Context) (Secrets, error) {
	s := Environment()
	if name := cc.String(passwordFileFlag); name != "" {
		if s.Password != "" {
			return s, fmt.Errorf("both --%s and %s are given: leave one out", passwordFileFlag, passwordVariable)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return s, fmt.Errorf("--%s: %w", passwordFileFlag, err)
		}
		if s.Password = strings.TrimRight(string(text), "\r\n"); s.Password == "" {
			return s, fmt.Errorf("--%s: %s is empty", passwordFileFlag, name)
		}
	}
	if name := cc.String(caFlag); name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return s, fmt.Errorf("--%s: %w", caFlag, err)
		}
		s.CA = x509.NewCertPool()
		if !s.CA.AppendCertsFromPEM(pem) {
			return s, fmt.Errorf("--%s: %s: %w", caFlag, name, errors.New("there is no certificate in PEM form in it"))
		}
	}
	return s, nil
}
