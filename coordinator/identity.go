package coordinator

import (
	"slices"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
)

// identity is the attributes of what a node observes, which set it apart from every
// other node that is open in the process: a MeterProvider keeps one value of a gauge
// for each set of attributes.
type identity struct {
	server []attribute.KeyValue // of the Redis that the node stands on
	rest   []attribute.KeyValue // the database, the prefix, the node's number if it is not 1
}

// claimed are the identities of the open nodes.
var claimed = struct {
	sync.Mutex
	taken map[attribute.Distinct]bool
}{taken: make(map[attribute.Distinct]bool)}

// claimIdentity returns the node's identity, and the function that gives it up.
func (c *Coordinator) claimIdentity() (id identity, release func()) {
	address, database := addressOf(c.client)
	if c.config.serverName != "" {
		id.server = []attribute.KeyValue{addressKey.String(c.config.serverName)}
	} else {
		id.server = serverAttributes(address)
	}
	if database != "" {
		id.rest = append(id.rest, databaseKey.String(database))
	}
	id.rest = append(id.rest, prefixKey.String(c.config.prefix))
	common := id.rest
	claimed.Lock()
	defer claimed.Unlock()
	for number := 1; ; number++ {
		if number > 1 {
			id.rest = append(slices.Clone(common), numberKey.Int(number))
		}
		set := attribute.NewSet(id.all()...)
		if key := set.Equivalent(); !claimed.taken[key] {
			claimed.taken[key] = true
			return id, func() {
				claimed.Lock()
				defer claimed.Unlock()
				delete(claimed.taken, key)
			}
		}
	}
}

// addressOf returns where a client's server listens, and the number of its database. Of
// the addresses that a Cluster's client was given, in whatever order, it is the first.
func addressOf(client redis.UniversalClient) (address, database string) {
	switch client := client.(type) {
	case interface{ Options() *redis.Options }:
		o := client.Options()
		return o.Addr, strconv.Itoa(o.DB)
	case interface{ Options() *redis.ClusterOptions }:
		if addresses := client.Options().Addrs; len(addresses) > 0 {
			return slices.Min(addresses), ""
		}
	}
	return "", ""
}

// all returns the attributes of what concerns the whole node, and more.
func (id identity) all(more ...attribute.KeyValue) []attribute.KeyValue {
	return slices.Concat(id.server, id.rest, more)
}

// of returns the attributes of what concerns one server. In a Cluster there are several.
func (id identity) of(address string, cluster bool) []attribute.KeyValue {
	if !cluster {
		return id.all()
	}
	return slices.Concat(serverAttributes(address), id.rest)
}
