package redisclient

import (
	"testing"

	"github.com/redis/go-redis/v9"
)

type (
	aroundCluster   struct{ *redis.ClusterClient }
	aroundClient    struct{ *redis.Client }
	aroundRing      struct{ *redis.Ring }
	aroundUniversal struct {
		name string
		redis.UniversalClient
	}
)

// otherOptions hides the Options method of the client that it embeds.
type otherOptions struct{ *redis.ClusterClient }

func (otherOptions) Options() string { return "" }

func TestClientKinds(t *testing.T) {
	t.Parallel()
	single := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": "127.0.0.1:1"}})
	t.Cleanup(func() { single.Close(); cluster.Close(); ring.Close() })
	universal := func(client redis.UniversalClient) redis.UniversalClient {
		return &aroundUniversal{"twice", aroundUniversal{"once", client}}
	}
	for name, c := range map[string]struct {
		client                redis.UniversalClient
		single, cluster, ring bool
	}{
		"single":                                   {client: single, single: true},
		"single embedded":                          {client: aroundClient{single}, single: true},
		"single embedded as an interface":          {client: universal(single), single: true},
		"cluster":                                  {client: cluster, cluster: true},
		"cluster embedded":                         {client: &aroundCluster{cluster}, cluster: true},
		"cluster embedded twice":                   {client: universal(&aroundCluster{cluster}), cluster: true},
		"cluster embedded as an interface":         {client: universal(cluster), cluster: true},
		"cluster embedded with options of its own": {client: otherOptions{cluster}, cluster: true},
		"ring":                          {client: ring, ring: true},
		"ring embedded":                 {client: aroundRing{ring}, ring: true},
		"ring embedded as an interface": {client: universal(ring), ring: true},
	} {
		if (OptionsOf(c.client) != nil) != c.single || (ClusterOf(c.client) != nil) != c.cluster || IsRing(c.client) != c.ring || IsNil(c.client) {
			t.Errorf("%s: single %v, cluster %v, ring %v, nil %v", name, OptionsOf(c.client) != nil, ClusterOf(c.client) != nil, IsRing(c.client), IsNil(c.client))
		}
	}
	for name, client := range map[string]redis.UniversalClient{
		"nil": nil, "nil client": (*redis.Client)(nil), "nil cluster": (*redis.ClusterClient)(nil), "nil ring": (*redis.Ring)(nil),
		"nil embedded": aroundCluster{}, "pointer to nil embedded": &aroundClient{}, "nil interface embedded": universal(nil),
		"nil client as an interface": universal((*redis.Client)(nil)), "nil wrapper": (*aroundCluster)(nil),
	} {
		if !IsNil(client) {
			t.Errorf("IsNil is false for a %s", name)
		}
	}
}
