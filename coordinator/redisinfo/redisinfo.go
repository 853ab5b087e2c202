// Package redisinfo parses the reply of INFO, of Redis and of its forks.
package redisinfo

import (
	"cmp"
	"strings"
)

// Info maps the names of INFO fields to their values.
type Info map[string]string

// Add adds the fields of a section.
func (i Info) Add(section string) {
	for line := range strings.Lines(section) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			i[name] = value
		}
	}
}

// Mode returns "standalone", "sentinel" or "cluster", or "" if INFO has no mode. Valkey 8
// and later name the field server_mode.
func (i Info) Mode() string { return cmp.Or(i["redis_mode"], i["server_mode"]) }

// Product returns the name and the version of the server, or empty strings if INFO has no
// version. It prefers the version of a fork to its redis_version, which is that of the
// Redis that the fork is compatible with.
func (i Info) Product() (name, version string) {
	if name = i["server_name"]; name != "" {
		if version = i[name+"_version"]; version != "" {
			return strings.ToUpper(name[:1]) + name[1:], version
		}
	}
	if version = i["redis_version"]; version != "" {
		return "Redis", version
	}
	return "", ""
}
