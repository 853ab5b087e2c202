package connect

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

func (a address) singleOptions(s Secrets) (*redis.Options, error) {
	if len(a.hosts) > 1 {
		return nil, fmt.Errorf("%d hosts for a single server; %s", len(a.hosts), remedy)
	}
	o, err := redis.ParseURL(a.plain(a.path))
	if err != nil {
		return nil, err
	}
	if o.TLSConfig, err = security(o.TLSConfig, s); err != nil {
		return nil, err
	}
	o.Username, o.Password = s.User, s.Password
	return o, checkDatabase(o.DB)
}

func (a address) failoverOptions(s Secrets) (*redis.FailoverOptions, error) {
	if a.path == "" || strings.Contains(a.path, "/") {
		return nil, errors.New("give the name of the master that the Sentinels watch, as in redis+sentinel://host:26379/mymaster?db=0")
	}
	o, err := redis.ParseFailoverURL(a.plain(""))
	switch {
	case err != nil:
		return nil, err
	case o.MasterName != "":
		return nil, errors.New("leave out master_name: the path is the master's name")
	case o.ReplicaOnly || o.RouteByLatency || o.RouteRandomly:
		return nil, errors.New("leave out replica_only, route_by_latency and route_randomly: replicas may lag, and take no writes")
	}
	if o.TLSConfig, err = security(o.TLSConfig, s); err != nil {
		return nil, err
	}
	o.MasterName = a.path
	o.Username, o.Password = cmp.Or(o.Username, s.User), cmp.Or(o.Password, s.Password)
	o.SentinelUsername, o.SentinelPassword = s.SentinelUser, s.SentinelPassword
	return o, checkDatabase(o.DB)
}

func (a address) clusterOptions(s Secrets) (*redis.ClusterOptions, error) {
	if a.path != "" && a.path != "0" {
		return nil, fmt.Errorf("a Cluster has no database %q: leave it out", a.path)
	}
	o, err := redis.ParseClusterURL(a.plain(""))
	if err != nil {
		return nil, err
	}
	if o.TLSConfig, err = security(o.TLSConfig, s); err != nil {
		return nil, err
	}
	o.Username, o.Password = s.User, s.Password
	return o, nil
}

// checkDatabase rejects negative numbers, which go-redis treats as database 0.
func checkDatabase(number int) error {
	if number < 0 {
		return fmt.Errorf("database %d does not exist: give 0 or more", number)
	}
	return nil
}

// checkSizes rejects sizes at which go-redis panics, a Cluster's client only on its first
// command. Values that are not numbers are left to go-redis.
func (a address) checkSizes() error {
	const most = 1 << 20
	for name, values := range a.query {
		least := -1 // stands for the default, or for none
		switch {
		case name == "pool_size":
			least = 0
		case strings.HasSuffix(name, "_size"), strings.HasSuffix(name, "_conns"), strings.HasSuffix(name, "_dials"):
		default:
			continue
		}
		for _, text := range values {
			if number, err := strconv.Atoi(text); err == nil && (number < least || number > most) {
				return fmt.Errorf("%s=%s: give %d to %d", name, text, least, most)
			}
		}
	}
	return nil
}
