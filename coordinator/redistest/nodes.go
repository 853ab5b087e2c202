package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// spawnAll starts count servers of one role concurrently. Even with an error it returns
// the servers that run, which the caller must close.
func spawnAll(ctx context.Context, count int, set settings, r role) ([]*Server, error) {
	servers, errs := make([]*Server, count), make([]error, count)
	var starts sync.WaitGroup
	for i := range count {
		starts.Go(func() { servers[i], errs[i] = spawn(ctx, set, r) })
	}
	starts.Wait()
	running := servers[:0]
	for _, s := range servers {
		if s != nil {
			running = append(running, s)
		}
	}
	return running, errors.Join(errs...)
}

// forEach calls ask with a client of each server in turn and stops at the first error.
func forEach(servers []*Server, ask func(*redis.Client) error) error {
	for _, s := range servers {
		client := s.admin()
		err := ask(client)
		if err = errors.Join(err, client.Close()); err != nil {
			return fmt.Errorf("%s on %s: %w", s.role.name, s.Addr(), err)
		}
	}
	return nil
}

func closeAll(servers []*Server) error {
	errs := make([]error, len(servers))
	var closes sync.WaitGroup
	for i, s := range servers {
		closes.Go(func() { errs[i] = s.Close() })
	}
	closes.Wait()
	return errors.Join(errs...)
}

func addrs(servers []*Server) []string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.Addr()
	}
	return list
}

func loopbackText(port string) string { return net.JoinHostPort("127.0.0.1", port) }
