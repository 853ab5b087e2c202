package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// Target is where a Redis is, and how to get in. Exactly one of the options is set.
type Target struct {
	Name string // the address without secrets

	Single   *redis.Options
	Sentinel *redis.FailoverOptions
	Cluster  *redis.ClusterOptions
}

// address is a URL taken apart; url.Parse knows one host only, and its errors repeat
// what they cannot read, password and all.
type address struct {
	tls   bool
	kind  string // "", "sentinel" or "cluster"
	user  *url.Userinfo
	hosts []string
	path  string
	query url.Values
}

const remedy = "write redis://host:6379, redis+sentinel://host:26379,host:26379/MASTER or redis+cluster://host:6379,host:6379, and rediss for TLS"

// Parse reads an address. Its query has the options that go-redis knows.
func Parse(text string, secrets Secrets) (Target, error) {
	a, err := split(text)
	if err != nil {
		return Target{}, err
	}
	if secrets.CA != nil && !a.tls {
		return Target{}, fmt.Errorf("a CA is given, and %s has no TLS: write %s", a.name(), strings.Replace(a.name(), "redis", "rediss", 1))
	}
	a.login(&secrets)
	target := Target{Name: a.name()}
	switch a.kind {
	case "sentinel":
		target.Sentinel, err = a.sentinel(secrets)
	case "cluster":
		target.Cluster, err = a.cluster(secrets)
	default:
		target.Single, err = a.single(secrets)
	}
	if err != nil {
		return Target{}, fmt.Errorf("the Redis URL %s: %w", a.name(), err)
	}
	return target, nil
}

func split(text string) (address, error) {
	scheme, rest, found := strings.Cut(text, "://")
	a := address{}
	base, kind, _ := strings.Cut(scheme, "+")
	a.tls, a.kind = base == "rediss", kind
	if !found || base != "redis" && base != "rediss" || kind != "" && kind != "sentinel" && kind != "cluster" {
		shown := fmt.Sprintf("%q is no address of a Redis", text)
		if strings.Contains(text, "@") { // there may be a password in it
			shown = "the Redis URL has no scheme that is known"
		}
		return a, fmt.Errorf("%s; %s", shown, remedy)
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	a.path = strings.Trim(path, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, err := url.Parse("redis://" + authority[:at] + "@host")
		if err != nil {
			return a, errors.New("the user and password in the Redis URL cannot be read: write special characters as %40 and the like, or set " + passwordVariable)
		}
		a.user, authority = user.User, authority[at+1:]
	}
	a.hosts = strings.Split(authority, ",")
	for _, host := range a.hosts {
		if parsed, err := url.Parse("redis://" + host); err != nil || parsed.Hostname() == "" || parsed.Host != host {
			return a, fmt.Errorf("the Redis URL has the host %q; %s", host, remedy)
		}
	}
	var err error
	if a.query, err = url.ParseQuery(query); err != nil {
		return a, fmt.Errorf("the Redis URL's query cannot be read; %s", remedy)
	}
	return a, nil
}

// name is the address without secrets: a query may have some.
func (a address) name() string {
	name := "redis"
	if a.tls {
		name = "rediss"
	}
	if a.kind != "" {
		name += "+" + a.kind
	}
	name += "://" + strings.Join(a.hosts, ",")
	if a.path != "" {
		name += "/" + a.path
	}
	return name
}

// login lets the address have its say before the variables.
func (a address) login(s *Secrets) {
	if a.user == nil {
		return
	}
	if name := a.user.Username(); name != "" {
		s.User = name
	}
	if password, set := a.user.Password(); set {
		s.Password = password
	}
}

// plain is the URL of one host, as go-redis reads it, with the others as it wants them.
func (a address) plain(path string) string {
	query := url.Values{}
	for key, values := range a.query {
		query[key] = values
	}
	for _, host := range a.hosts[1:] {
		query.Add("addr", host)
	}
	scheme := "redis"
	if a.tls {
		scheme = "rediss"
	}
	return (&url.URL{Scheme: scheme, Host: a.hosts[0], Path: path, RawQuery: query.Encode()}).String()
}

func (a address) security(s Secrets) *tls.Config {
	if !a.tls {
		return nil
	}
	// Without a name of its own, each server is held to the host it was dialled by.
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.CA}
}

func (a address) single(s Secrets) (*redis.Options, error) {
	if len(a.hosts) > 1 {
		return nil, fmt.Errorf("%d hosts are one server too many; %s", len(a.hosts), remedy)
	}
	o, err := redis.ParseURL(a.plain(a.path))
	if err != nil {
		return nil, err
	}
	o.Username, o.Password, o.TLSConfig = s.User, s.Password, a.security(s)
	return o, nil
}

func (a address) sentinel(s Secrets) (*redis.FailoverOptions, error) {
	if a.path == "" || strings.Contains(a.path, "/") {
		return nil, errors.New("give the name of the master that the Sentinels watch, as in redis+sentinel://host:26379/mymaster?db=0")
	}
	o, err := redis.ParseFailoverURL(a.plain(""))
	if err != nil {
		return nil, err
	}
	o.MasterName = a.path
	o.Username, o.Password, o.TLSConfig = s.User, s.Password, a.security(s)
	o.SentinelUsername, o.SentinelPassword = s.SentinelUser, s.SentinelPassword
	return o, nil
}

func (a address) cluster(s Secrets) (*redis.ClusterOptions, error) {
	if a.path != "" && a.path != strconv.Itoa(0) {
		return nil, fmt.Errorf("a Cluster has no database %q: leave it out", a.path)
	}
	o, err := redis.ParseClusterURL(a.plain(""))
	if err != nil {
		return nil, err
	}
	o.Username, o.Password, o.TLSConfig = s.User, s.Password, a.security(s)
	return o, nil
}

// Client makes a client; the caller closes it.
func (t Target) Client() redis.UniversalClient {
	switch {
	case t.Sentinel != nil:
		return redis.NewFailoverClient(t.Sentinel)
	case t.Cluster != nil:
		return redis.NewClusterClient(t.Cluster)
	default:
		return redis.NewClient(t.Single)
	}
}

// Ping asks once, with short patience. The error carries exit.Unavailable.
func (t Target) Ping(ctx context.Context) error {
	client := t.impatient().Client()
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return exit.With(exit.Unavailable, fmt.Errorf("no Redis answers at %s: %w; check the address, and that the server runs", t.Name, err))
	}
	return nil
}

// impatient is the target for a client that tries each server once.
func (t Target) impatient() Target {
	switch {
	case t.Sentinel != nil:
		o := *t.Sentinel
		o.MaxRetries, o.DialerRetries = -1, 1
		return Target{Sentinel: &o}
	case t.Cluster != nil:
		o := *t.Cluster
		o.MaxRedirects, o.DialerRetries = 1, 1
		return Target{Cluster: &o}
	default:
		o := *t.Single
		o.MaxRetries, o.DialerRetries = -1, 1
		return Target{Single: &o}
	}
}
