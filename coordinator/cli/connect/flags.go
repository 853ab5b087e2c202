package connect

import (
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

// Category is the heading of the connection's flags in a command's help.
const Category = "Connection"

// Flags are those that every command with a Redis of the operator's has.
func Flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: redisFlag, Category: Category, EnvVars: []string{redisVariable},
			Usage: "`URL` of the Redis: redis://host:6379, redis+sentinel://host:26379,…/MASTER, redis+cluster://host:6379,…; rediss for TLS",
		},
		&cli.StringFlag{Name: caFlag, Category: Category, EnvVars: []string{"BURSAR_REDIS_CA"}, Usage: "PEM `FILE` of the CA that signs the servers, for rediss"},
		&cli.StringFlag{
			Name: passwordFileFlag, Category: Category, EnvVars: []string{"BURSAR_REDIS_PASSWORD_FILE"},
			Usage: "`FILE` with the password; or set " + passwordVariable,
		},
		&cli.StringFlag{
			Name: prefixFlag, Category: Category, EnvVars: []string{"BURSAR_PREFIX"}, Value: layout.DefaultPrefix,
			Usage: "`TEXT` that the keys begin with, for several environments on one Redis",
		},
	}
}
