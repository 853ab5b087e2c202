package connect

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// Secrets are the credentials for an address, which should not be in the address itself.
type Secrets struct {
	User, Password                 string
	SentinelUser, SentinelPassword string
	CA, Cert, Key                  string // names of PEM files; "" for the system's CAs, and for no client certificate
}

// after returns the secrets with the user and the password of the URL, if it has them.
func (s Secrets) after(user *url.Userinfo) Secrets {
	s.User = cmp.Or(user.Username(), s.User)
	if password, set := user.Password(); set {
		s.Password = password
	}
	return s
}

// SecretsOf reads the secrets from flags and variables. Errors carry exit.Usage.
func SecretsOf(cc *cli.Context) (Secrets, error) {
	s := Secrets{
		User: name("BURSAR_REDIS_USER"), Password: password(passwordVariable),
		SentinelUser: name("BURSAR_SENTINEL_USER"), SentinelPassword: password("BURSAR_SENTINEL_PASSWORD"),
		CA: cc.String(caFlag), Cert: cc.String(certFlag), Key: cc.String(keyFlag),
	}
	file := cc.String(passwordFileFlag)
	if file == "" {
		return s, nil
	}
	if s.Password != "" {
		return s, exit.With(exit.Usage, fmt.Errorf("both --%s and %s are given: leave one out", passwordFileFlag, passwordVariable))
	}
	var err error
	if s.Password, err = readPassword(file); err != nil {
		return s, exit.With(exit.Usage, fmt.Errorf("--%s: %w", passwordFileFlag, err))
	}
	return s, nil
}

// name returns the value of a variable, trimmed as by textFlag.
func name(variable string) string { return strings.TrimSpace(os.Getenv(variable)) }

// password returns the value of a variable without newlines at its end. Blanks may be
// part of the password.
func password(variable string) string { return withoutNewline(os.Getenv(variable)) }

func withoutNewline(text string) string { return strings.TrimRight(text, "\r\n") }

func readPassword(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	password := withoutNewline(string(text))
	if password == "" {
		return "", fmt.Errorf("%s is empty: write the password into it", name)
	}
	return password, nil
}
