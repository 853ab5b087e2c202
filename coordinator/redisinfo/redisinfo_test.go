package redisinfo

import "testing"

func TestInfo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ section, product, version, mode string }{
		"Redis 7.0":                     {"# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n", "Redis", "7.0.15", "standalone"},
		"Valkey 7.2":                    {"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.2.8\r\nredis_mode:sentinel\r\n", "Valkey", "7.2.8", "sentinel"},
		"Valkey 8.0":                    {"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\nserver_mode:cluster\r\n", "Valkey", "8.0.1", "cluster"},
		"a fork without redis_version":  {"server_name:valkey\nvalkey_version:9.1.0\nserver_mode:standalone\n", "Valkey", "9.1.0", "standalone"},
		"a server_name without version": {"redis_version:7.4.1\r\nserver_name:mine\r\nredis_mode:standalone\r\n", "Redis", "7.4.1", "standalone"},
		"nothing":                       {"", "", "", ""},
		"no version":                    {"redis_mode:cluster\r\n", "", "", "cluster"},
	} {
		info := make(Info)
		info.Add(c.section)
		product, version := info.Product()
		if product != c.product || version != c.version || info.Mode() != c.mode {
			t.Errorf("%s: %q %q, mode %q; want %q %q, mode %q", name, product, version, info.Mode(), c.product, c.version, c.mode)
		}
	}
}
