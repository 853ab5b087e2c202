package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// SpawnReplica starts a replica of primary, with the same password, and returns once the
// first synchronisation is complete and the link is up.
func SpawnReplica(ctx context.Context, primary *Server, opts ...Option) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if primary.settings.password != "" {
		opts = append([]Option{WithPassword(primary.settings.password)}, opts...)
	}
	set, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	replica, err := spawn(ctx, set, role{
		name:   "replica",
		config: []string{fmt.Sprintf("replicaof 127.0.0.1 %d", primary.port)},
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(replica.awaitLink(ctx), primary.awaitOnline(ctx, replica)); err != nil {
		return nil, errors.Join(err, replica.Close())
	}
	return replica, nil
}

// awaitOnline waits until the primary reports the replica as online, which is later than
// the replica reports its link as up. Before, the replica doesn't count for WAIT or
// min-replicas-to-write.
func (s *Server) awaitOnline(ctx context.Context, replica *Server) error {
	client := s.admin()
	defer client.Close()
	return await(ctx, "the primary to count its replica", func() error {
		return expectInfo(ctx, client, "replication", fmt.Sprintf(",port=%d,state=online,", replica.port))
	})
}

func (s *Server) awaitLink(ctx context.Context) error {
	client := s.admin()
	defer client.Close()
	return await(ctx, "the replica's link", func() error {
		return expectInfo(ctx, client, "replication", "master_link_status:up")
	})
}

// expectInfo returns nil if a section of INFO contains the text.
func expectInfo(ctx context.Context, client *redis.Client, section, text string) error {
	info, err := client.Info(ctx, section).Result()
	if err != nil {
		return err
	}
	if !strings.Contains(info, text) {
		return fmt.Errorf("INFO %s has no %q", section, text)
	}
	return nil
}
