package connect

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// Until returns a target for clients whose connections are closed when ctx ends. Without
// it go-redis waits for a reply until its own timeout, even if the call's context ends.
func (t Target) Until(ctx context.Context) Target {
	t = t.clone()
	switch {
	case t.Sentinel != nil:
		t.Sentinel.Dialer = dialer{ctx, t.Sentinel.DialTimeout, t.Sentinel.TLSConfig}.dial
	case t.Cluster != nil:
		t.Cluster.Dialer = dialer{ctx, t.Cluster.DialTimeout, t.Cluster.TLSConfig}.dial
	default:
		t.Single.Dialer = dialer{ctx, t.Single.DialTimeout, t.Single.TLSConfig}.dial
	}
	return t
}

// errHungUp is the error of a dial after the context has ended.
var errHungUp = errors.New("the connections were closed")

// dialer dials as go-redis' own dialer does, and closes its connections when until ends.
type dialer struct {
	until   context.Context
	timeout time.Duration // 0 for go-redis' default
	secure  *tls.Config   // nil for a plain connection
}

const (
	defaultDialTimeout = 5 * time.Second
	handshaking        = "TLS handshake: " // prefix of an error in it
)

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.until.Err() != nil {
		return nil, errHungUp
	}
	timeout := cmp.Or(d.timeout, defaultDialTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer context.AfterFunc(d.until, cancel)()
	conn, err := redis.NewDialer(&redis.Options{DialTimeout: timeout})(ctx, network, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(d.until, func() { _ = conn.Close() })
	if d.secure == nil {
		return conn, nil
	}
	return d.handshake(ctx, conn, address)
}

func (d dialer) handshake(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	config := d.secure.Clone()
	host, _, err := net.SplitHostPort(address)
	if err == nil {
		config.ServerName = host
		secured := tls.Client(conn, config)
		if err = secured.HandshakeContext(ctx); err == nil {
			return secured, nil
		}
	}
	_ = conn.Close()
	return nil, fmt.Errorf(handshaking+"%w", err)
}
