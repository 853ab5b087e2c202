package redistest

import (
	"fmt"
	"strings"
)

// Option changes what is started. All nodes of a group or Cluster get the same.
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

// WithConfig adds lines of redis.conf, for example "maxmemory 10mb". They come
// last, so that they win over the lines of this package. The address (bind,
// port, unixsocket) is not theirs to change.
func WithConfig(lines ...string) Option {
	return func(s *settings) { s.config = append(s.config, lines...) }
}

// WithLauncher runs redis-server under another program, which must become it or
// pass signals on: "valgrind", "--tool=callgrind". It is run in the server's folder.
func WithLauncher(command ...string) Option {
	return func(s *settings) { s.launcher = command }
}

// WithPassword protects the default user. URL, Client and replicas know it.
// Default: none.
func WithPassword(password string) Option {
	return func(s *settings) {
		s.password = s.word("password", password)
		s.config = append(s.config, "requirepass "+password, "masterauth "+password)
	}
}

// WithUser adds an ACL user beside the default one, with rules such as "~*" and
// "+@all". Connect as it by changing the answer of [Server.Options].
func WithUser(name, password string, rules ...string) Option {
	return func(s *settings) {
		s.config = append(s.config, fmt.Sprintf("user %s on >%s %s",
			s.word("user name", name), s.word("password", password), strings.Join(rules, " ")))
	}
}

// WithMasters sets how many masters share a Cluster's slots: 1 to 16, default 3.
func WithMasters(count int) Option { return func(s *settings) { s.masters = count } }

// WithReplicas sets how many replicas each master of a Cluster has: 0 to 4,
// default 0.
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

// word refuses what redis.conf would read as more or less than one word.
func (s *settings) word(what, text string) string {
	if text == "" || strings.ContainsAny(text, " \t\r\n\"'\\#") {
		s.problem = fmt.Errorf("redistest: the %s %q is not one plain word of redis.conf; give letters and digits", what, text)
	}
	return text
}
