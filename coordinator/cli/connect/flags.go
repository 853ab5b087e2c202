package connect

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/internal/store"
)

const (
	redisFlag        = "redis"
	caFlag           = "redis-ca"
	certFlag         = "redis-cert"
	keyFlag          = "redis-key"
	passwordFileFlag = "redis-password-file"
	prefixFlag       = "prefix"

	redisVariable    = "BURSAR_REDIS_URL"
	caVariable       = "BURSAR_REDIS_CA"
	certVariable     = "BURSAR_REDIS_CERT"
	keyVariable      = "BURSAR_REDIS_KEY"
	passwordVariable = "BURSAR_REDIS_PASSWORD" //nolint:gosec // the name of a variable
)

// Category is the heading of the connection's flags in a command's help.
const Category = "Connection"

// Flags returns the flags of every command that uses the operator's Redis.
func Flags() []cli.Flag {
	return append(
		ServerFlags("", "`URL` of Redis: redis://host:6379, redis+sentinel://host:26379,…/MASTER, redis+cluster://host:6379,…; rediss for TLS; unix:///PATH"),
		&textFlag{StringFlag: cli.StringFlag{
			Name: prefixFlag, Category: Category, EnvVars: []string{"BURSAR_PREFIX"}, Value: store.DefaultPrefix,
			Usage: "`TEXT` that the keys begin with, for several environments on one Redis",
		}})
}

// ServerFlags returns [Flags] without the prefix, and with another default and usage of
// the address. If address is "", it has no default.
func ServerFlags(address, usage string) []cli.Flag {
	return []cli.Flag{
		&textFlag{StringFlag: cli.StringFlag{Name: redisFlag, Category: Category, EnvVars: []string{redisVariable}, Value: address, Usage: usage}},
		&textFlag{StringFlag: cli.StringFlag{Name: caFlag, Category: Category, EnvVars: []string{caVariable}, Usage: "PEM `FILE` of the CA that signs the servers, for rediss"}},
		&textFlag{StringFlag: cli.StringFlag{Name: certFlag, Category: Category, EnvVars: []string{certVariable}, Usage: "PEM `FILE` of the client's certificate, for servers that ask for one"}},
		&textFlag{StringFlag: cli.StringFlag{Name: keyFlag, Category: Category, EnvVars: []string{keyVariable}, Usage: "PEM `FILE` of the key of --" + certFlag}},
		&textFlag{StringFlag: cli.StringFlag{
			Name: passwordFileFlag, Category: Category, EnvVars: []string{"BURSAR_REDIS_PASSWORD_FILE"},
			Usage: "`FILE` with the password; or set " + passwordVariable,
		}},
	}
}

// textFlag is a string flag that trims the white space around the value of its variable,
// as files and secret stores leave it there. A blank variable counts as not set.
type textFlag struct {
	cli.StringFlag

	text  string
	given bool // on the command line
}

// Apply adds the flag to a flag set.
func (f *textFlag) Apply(set *flag.FlagSet) error {
	preset := f.Value
	if err := f.StringFlag.Apply(set); err != nil {
		return err
	}
	if f.HasBeenSet {
		text := strings.TrimSpace(f.Value)
		f.Value, f.HasBeenSet = cmp.Or(text, preset), text != ""
	}
	f.text, f.given = f.Value, false
	for _, name := range f.Names() {
		set.Lookup(name).Value = (*textValue)(f)
	}
	return nil
}

// textValue is a textFlag as a flag.Getter.
type textValue textFlag

func (v *textValue) String() string { return v.text }

// Get returns the value for [cli.Context.Value].
func (v *textValue) Get() any { return v.text }

// Set sets the value from the command line.
func (v *textValue) Set(text string) error {
	v.text, v.given = text, true
	return nil
}

// ByVariable reports whether a flag of the context's command has its value from its
// environment variable.
func ByVariable(cc *cli.Context, name string) bool {
	f := find(cc, name)
	return f != nil && f.HasBeenSet && !f.given
}

// given reports whether a flag is on the command line.
func given(cc *cli.Context, name string) bool {
	f := find(cc, name)
	return f != nil && f.given
}

func find(cc *cli.Context, name string) *textFlag {
	all := cc.App.Flags
	if cc.Command != nil && cc.Command.Flags != nil {
		all = cc.Command.Flags
	}
	for _, f := range all {
		if text, ok := f.(*textFlag); ok && text.Name == name {
			return text
		}
	}
	return nil
}

// AddressOf returns the address of the flag or its variable, or "" if neither is set. The
// variable is "" unless the address comes from it.
func AddressOf(cc *cli.Context) (address, variable string) {
	address = strings.TrimSpace(cc.String(redisFlag))
	if ByVariable(cc, redisFlag) {
		variable = redisVariable
	}
	return address, variable
}

// NoServer returns an error if a flag on the command line is about a server. It is for
// commands that use none of the operator's.
func NoServer(cc *cli.Context) error {
	for _, name := range []string{caFlag, certFlag, keyFlag, passwordFileFlag} {
		if given(cc, name) {
			return exit.With(exit.Usage, fmt.Errorf("--%s applies to your own Redis: give its URL with --%s or %s, or leave it out", name, redisFlag, redisVariable))
		}
	}
	return nil
}

var errNoAddress = errors.New("no Redis is given: give --" + redisFlag + " URL or set " + redisVariable + ", for example redis://localhost:6379")
