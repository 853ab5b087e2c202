package redistest

import (
	"fmt"
	"strings"
)

// Option configures the servers. It applies to all nodes of a Sentinel group or Cluster.
type Option func(*settings)

type settings struct {
	config   []string
	launcher []string
	password string
	masters  int
	replicas int
	ports    portSource
	problem  error
}

// WithConfig adds lines to redis.conf, for example "maxmemory 10mb". They come last, so
// they override the lines of this package. They must not change the address (bind, port,
// unixsocket).
func WithConfig(lines ...string) Option {
	return func(s *settings) { s.config = append(s.config, lines...) }
}

// WithLauncher runs redis-server under another program, for example "valgrind",
// "--tool=callgrind". The program runs in the server's folder, and must exec the server or
// forward signals to it.
func WithLauncher(command ...string) Option {
	return func(s *settings) { s.launcher = command }
}

// WithPassword sets the password of the default user, which URL, Client and replicas use.
// Defaults to none.
func WithPassword(password string) Option {
	return func(s *settings) {
		s.password = s.word("password", password)
		s.config = append(s.config, "requirepass "+password, "masterauth "+password)
	}
}

// WithUser adds an ACL user with rules such as "~*" and "+@all". To connect as this user,
// change the result of [Server.Options].
func WithUser(name, password string, rules ...string) Option {
	return func(s *settings) {
		s.config = append(s.config, fmt.Sprintf("user %s on >%s %s",
			s.word("user name", name), s.word("password", password), strings.Join(rules, " ")))
	}
}

// WithMasters sets the number of masters of a Cluster, 1 to 16. Defaults to 3.
func WithMasters(count int) Option { return func(s *settings) { s.masters = count } }

// WithReplicas sets the number of replicas of each master of a Cluster, 0 to 4. Defaults
// to 0.
func WithReplicas(count int) Option { return func(s *settings) { s.replicas = count } }

const (
	defaultMasters = 3
	maxMasters     = 16
	maxReplicas    = 4
)

func newSettings(opts []Option) (settings, error) {
	s := settings{masters: defaultMasters, ports: takePort}
	for _, opt := range opts {
		opt(&s)
	}
	if s.masters < 1 || s.masters > maxMasters {
		s.problem = fmt.Errorf("redistest: a Cluster of %d masters; give 1 to %d", s.masters, maxMasters)
	}
	if s.replicas < 0 || s.replicas > maxReplicas {
		s.problem = fmt.Errorf("redistest: %d replicas a master; give 0 to %d", s.replicas, maxReplicas)
	}
	return s, s.problem
}

// word returns text, and records an error if redis.conf would not read it as one word.
func (s *settings) word(what, text string) string {
	if text == "" || strings.ContainsAny(text, " \t\r\n\"'\\#") {
		s.problem = fmt.Errorf("redistest: the %s %q is not one plain word of redis.conf; give letters and digits", what, text)
	}
	return text
}
