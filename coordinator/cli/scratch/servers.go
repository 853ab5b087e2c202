package scratch

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// EachMaster calls visit for the server of a space's client, or concurrently for each
// master of a Cluster.
func EachMaster(ctx context.Context, client redis.UniversalClient, visit func(ctx context.Context, master *redis.Client) error) error {
	switch c := client.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, visit)
	case *redis.Client:
		return visit(ctx, c)
	default:
		return errKind
	}
}

// PoolSize returns the pool size of a space's client, which on a Cluster is that of each
// server.
func PoolSize(client redis.UniversalClient) int {
	switch c := client.(type) {
	case *redis.ClusterClient:
		return c.Options().PoolSize
	case *redis.Client:
		return c.Options().PoolSize
	default:
		return 0
	}
}

// Dialer returns a function that connects to the server, to the primary that the Sentinels
// name, or to the first of a Cluster's servers in the address that accepts a connection.
func (s *Space) Dialer() func(ctx context.Context) (net.Conn, error) {
	switch c := s.ClientOf(1).(type) {
	case *redis.ClusterClient:
		o := c.Options()
		return func(ctx context.Context) (conn net.Conn, err error) {
			for _, host := range o.Addrs {
				if conn, err = o.Dialer(ctx, "tcp", host); err == nil {
					break
				}
			}
			return conn, err
		}
	case *redis.Client:
		o := c.Options()
		return func(ctx context.Context) (net.Conn, error) { return o.Dialer(ctx, o.Network, o.Addr) }
	default:
		return func(context.Context) (net.Conn, error) { return nil, errKind }
	}
}

var errKind = errors.New("the client has an unknown type")
