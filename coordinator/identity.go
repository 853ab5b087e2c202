package coordinator

import (
	"slices"
	"strconv"
	"sync"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
)

// identity holds the attributes that separate a node's observations from those of every
// other node open in the process: a MeterProvider keeps one value of a gauge for each set
// of attributes.
type identity struct {
	server []attribute.KeyValue // of the node's Redis
	rest   []attribute.KeyValue // database, prefix, and the node's number if it is not 1
}

// claimed holds the identities of the open nodes.
var claimed = struct {
	sync.Mutex
	taken map[attribute.Distinct]bool
}{taken: make(map[attribute.Distinct]bool)}

// claimIdentity returns the node's identity, and a function that gives it up.
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

// addressOf returns the address of a client's server and the number of its database. For
// a Cluster's client it is the first of its addresses in sorted order, so that their
// order doesn't matter.
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

// all returns the attributes of observations of the whole node, followed by more.
func (id identity) all(more ...attribute.KeyValue) []attribute.KeyValue {
	return slices.Concat(id.server, id.rest, more)
}

// of returns the attributes of observations that concern one server, of which a Cluster
// has several.
func (id identity) of(address string, cluster bool) []attribute.KeyValue {
	if !cluster {
		return id.all()
	}
	return slices.Concat(serverAttributes(address), id.rest)
}
