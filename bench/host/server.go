package host

import (
	"context"
	"maps"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/bench/report"
	"github.com/calybris/bursar/coordinator/redisinfo"
)

// serverSettings are those that decide how fast a Redis is and what it can lose.
// None of them is a secret.
var serverSettings = []string{
	"appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy", "io-threads", "hz",
}

// Server asks the Redis behind a run, which may not tell all: CONFIG is
// forbidden on many managed services, INFO to some users. Of a Cluster it asks one of
// the servers.
func Server(ctx context.Context, client redis.UniversalClient) *report.Server {
	info := serverInfo(ctx, client)
	settings := settingsOfInfo(info)
	for _, name := range serverSettings {
		told, err := client.ConfigGet(ctx, name).Result()
		if err != nil {
			break
		}
		maps.Copy(settings, told)
	}
	name, version := info.Product()
	return &report.Server{Name: name, Version: version, Mode: info.Mode(), Settings: settings}
}

// settingsOfInfo are the settings that INFO shows as well.
func settingsOfInfo(info redisinfo.Info) map[string]string {
	settings := make(map[string]string)
	for setting, field := range map[string]string{
		"maxmemory": "maxmemory", "maxmemory-policy": "maxmemory_policy", "hz": "configured_hz",
	} {
		if value, told := info[field]; told {
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
