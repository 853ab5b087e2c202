package connect

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// address is a parsed Redis URL. url.Parse accepts only one host, and its errors repeat
// the text that it cannot parse, including a password.
type address struct {
	tls   bool
	kind  kind
	user  *url.Userinfo
	hosts []string
	unix  bool   // hosts is empty, and path is that of a Unix socket
	path  string // otherwise a database, or the name of a Sentinel's master
	query url.Values
}

// kind is the part of a scheme after its "+".
type kind string

const (
	single   kind = ""
	sentinel kind = "sentinel"
	cluster  kind = "cluster"
)

const remedy = "write redis://host:6379, redis+sentinel://host:26379,host:26379/MASTER or redis+cluster://host:6379,host:6379, and rediss for TLS; or unix:///PATH"

const unixScheme = "unix"

var errLogin = errors.New("the user and password in the Redis URL cannot be read: write special characters as %40 and the like, or set " + passwordVariable)

func split(text string) (address, error) {
	a, rest, err := splitScheme(text)
	if err != nil {
		return a, err
	}
	authority, tail := rest, ""
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		authority, tail = rest[:end], rest[end:]
	}
	userinfo, hosts, hasUser := cutLast(authority, "@")
	// If the tail has an @, the text before that may be a password with an unescaped / or ?.
	// The path of a socket may have an @ if its user is absent or ends before the path.
	if strings.Contains(tail, "@") && !(a.unix && (authority == "" || hasUser)) {
		return a, errLogin
	}
	if hasUser {
		if a.user, err = parseUserinfo(userinfo); err != nil {
			return a, err
		}
	}
	path, query, _ := strings.Cut(tail, "?")
	if path, err = url.PathUnescape(path); err != nil {
		return a, fmt.Errorf("the Redis URL's path cannot be read; %s", remedy)
	}
	if a.query, err = url.ParseQuery(query); err != nil {
		return a, fmt.Errorf("the Redis URL's query cannot be read; %s", remedy)
	}
	if a.unix {
		return a, a.takeSocket(hosts, path)
	}
	a.path = strings.Trim(path, "/")
	a.hosts = append(strings.Split(hosts, ","), a.query["addr"]...)
	delete(a.query, "addr")
	return a, a.checkHosts()
}

// cutLast returns the text before and after the last separator. Without a separator all
// text is after it.
func cutLast(text, separator string) (before, after string, found bool) {
	if at := strings.LastIndex(text, separator); at >= 0 {
		return text[:at], text[at+len(separator):], true
	}
	return "", text, false
}

// takeSocket sets the path of a Unix socket, which has no host.
func (a *address) takeSocket(host, path string) error {
	if host != "" || strings.Trim(path, "/") == "" {
		return errors.New("a Unix socket has a path and no host: write unix:///path/of/redis.sock, and unix://user@/path/of/redis.sock for a user")
	}
	a.path = path
	return nil
}

// hostAndPort matches text without a password, which an error may repeat.
var hostAndPort = regexp.MustCompile(`^[\w.-]*(:\d{1,5})?$`)

func splitScheme(text string) (a address, rest string, err error) {
	scheme, rest, found := strings.Cut(text, "://")
	switch {
	case !found && hostAndPort.MatchString(text):
		return a, "", fmt.Errorf("%q is not a Redis address; %s", text, remedy)
	case !found:
		return a, "", fmt.Errorf("the Redis URL has no scheme; %s", remedy)
	}
	if strings.EqualFold(scheme, unixScheme) {
		a.unix = true
		return a, rest, nil
	}
	base, suffix, _ := strings.Cut(strings.ToLower(scheme), "+")
	a.tls, a.kind = base == "rediss", kind(suffix)
	knownKind := a.kind == single || a.kind == sentinel || a.kind == cluster
	if knownKind && (base == "redis" || a.tls) {
		return a, rest, nil
	}
	if !hostAndPort.MatchString(strings.ReplaceAll(scheme, "+", "")) {
		return a, "", fmt.Errorf("the Redis URL has an unknown scheme; %s", remedy)
	}
	return a, "", fmt.Errorf("%s:// is not a scheme for Redis; %s", scheme, remedy)
}

// parseUserinfo is more lenient than url.Parse, for which a # starts the fragment.
func parseUserinfo(text string) (*url.Userinfo, error) {
	name, password, set := strings.Cut(text, ":")
	name, err1 := url.PathUnescape(name)
	password, err2 := url.PathUnescape(password)
	switch {
	case err1 != nil || err2 != nil:
		return nil, errLogin
	case set:
		return url.UserPassword(name, password), nil
	default:
		return url.User(name), nil
	}
}

func (a address) checkHosts() error {
	for _, host := range a.hosts {
		parsed, err := url.Parse("redis://" + host)
		if err == nil && parsed.Host == host && parsed.Hostname() != "" && validPort(parsed.Port()) {
			continue
		}
		// Without an @ in the address, host may be "user:password".
		if strings.Contains(host, "@") || a.user == nil && !hostAndPort.MatchString(host) {
			return fmt.Errorf("the Redis URL has a host, or a port, that cannot be read; %s", remedy)
		}
		return fmt.Errorf("the Redis URL has the host %q; %s", host, remedy)
	}
	return nil
}

func validPort(port string) bool {
	const most = 1<<16 - 1
	number, err := strconv.Atoi(port)
	return port == "" || err == nil && number > 0 && number <= most
}

// name returns the address without secrets. Its query has the database only.
func (a address) name() string {
	name := a.scheme()
	if a.kind != single {
		name += "+" + string(a.kind)
	}
	name += "://" + strings.Join(a.hosts, ",")
	switch {
	case a.unix:
		name += (&url.URL{Path: a.path}).EscapedPath()
	case a.path != "":
		name += "/" + a.path
	}
	if db := a.query.Get("db"); db != "" {
		name += "?db=" + db
	}
	return name
}

func (a address) scheme() string {
	switch {
	case a.unix:
		return unixScheme
	case a.tls:
		return "rediss"
	default:
		return "redis"
	}
}

// plain returns the URL in go-redis' form, with all hosts but the first in the query.
func (a address) plain(path string) string {
	query := maps.Clone(a.query)
	if a.unix {
		return (&url.URL{Scheme: unixScheme, Path: a.path, RawQuery: query.Encode()}).String()
	}
	for _, host := range a.hosts[1:] {
		query.Add("addr", a.withPort(host))
	}
	return (&url.URL{Scheme: a.scheme(), Host: a.withPort(a.hosts[0]), Path: path, RawQuery: query.Encode()}).String()
}

// withPort adds the default port of the kind of server, unless host has a port.
func (a address) withPort(host string) string {
	port := "6379"
	if a.kind == sentinel {
		port = "26379"
	}
	parsed := url.URL{Host: host}
	if parsed.Port() != "" {
		return host
	}
	return net.JoinHostPort(parsed.Hostname(), port)
}
