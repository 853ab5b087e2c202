package report

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/redisinfo"
	"github.com/calybris/bursar/coordinator/wording"
)

// DescribeMachine describes the machine of this process.
func DescribeMachine() Machine {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = cmp.Or(info.Main.Version, version)
	}
	return Machine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		GOGC: cmp.Or(os.Getenv("GOGC"), "100"), GOMEMLIMIT: cmp.Or(os.Getenv("GOMEMLIMIT"), "off"),
		Version: version,
	}
}

// serverSettings decide the speed and the durability of a Redis. None is a secret.
var serverSettings = []string{
	"appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy", "io-threads", "hz",
}

// DescribeServer asks a Redis, or one server of a Cluster. It leaves out what the Redis does
// not allow: CONFIG on many managed services, INFO for some users.
func DescribeServer(ctx context.Context, client redis.UniversalClient) *Server {
	info := serverInfo(ctx, client)
	settings := settingsOfInfo(info)
	for _, name := range serverSettings {
		values, err := client.ConfigGet(ctx, name).Result()
		if err != nil {
			break
		}
		maps.Copy(settings, values)
	}
	name, version := info.Product()
	return &Server{Name: name, Version: version, Mode: info.Mode(), Settings: settings}
}

// settingsOfInfo returns the settings that INFO shows.
func settingsOfInfo(info redisinfo.Info) map[string]string {
	settings := make(map[string]string)
	for setting, field := range map[string]string{
		"maxmemory": "maxmemory", "maxmemory-policy": "maxmemory_policy", "hz": "configured_hz",
	} {
		if value, known := info[field]; known {
			settings[setting] = value
		}
	}
	switch info["aof_enabled"] {
	case "0":
		settings["appendonly"] = "no"
	case "1":
		settings["appendonly"] = "yes"
	}
	return settings
}

func serverInfo(ctx context.Context, client redis.UniversalClient) redisinfo.Info {
	info := make(redisinfo.Info)
	for _, section := range []string{"server", "memory", "persistence"} {
		if text, err := client.Info(ctx, section).Result(); err == nil {
			info.Add(text)
		}
	}
	return info
}

// String describes it in one line.
func (m Machine) String() string {
	cpu := m.CPU
	if cpu == "" {
		cpu = "unknown CPU"
	}
	return fmt.Sprintf("%s, %s, %s, %s, GOMAXPROCS %d, GOGC %s, GOMEMLIMIT %s, bursar %s",
		cpu, wording.Count(m.Cores, "core"), m.OS, m.Go, m.GOMAXPROCS, m.GOGC, m.GOMEMLIMIT, m.Version)
}

// ModeEmbedded is the mode of the embedded server.
const ModeEmbedded = "embedded"

func (s Server) name() string { return cmp.Or(s.Name, "Redis") }

// String describes it in one line.
func (s Server) String() string {
	if s.Mode == ModeEmbedded {
		return "miniredis, in this process: much slower than a real Redis"
	}
	parts := []string{s.name() + " " + s.Version}
	if s.Version == "" {
		parts[0] = s.name() + " of unknown version"
	}
	if s.Mode != "" {
		parts = append(parts, s.Mode)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		value := s.Settings[name]
		if value == "" {
			value = `""`
		}
		parts = append(parts, name+" "+value)
	}
	return strings.Join(parts, ", ")
}
