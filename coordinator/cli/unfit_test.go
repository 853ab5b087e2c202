package cli_test

import (
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// On an unfit Redis every command fails with the same code and error. The code is not 3,
// since a retry would not help.
func TestAnUnfitRedis(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t)
	evicting := redistest.Start(t, redistest.WithConfig("maxmemory 100mb", "maxmemory-policy allkeys-lru"))
	cluster := redistest.StartCluster(t)
	sentinels := redistest.StartSentinels(t, primary, 1)
	changing := []string{"tenant ensure acme 1c", "reserve acme 1c", "tenant grant acme 1c", "tenant show acme", "doctor"}
	reading := []string{"tenant list", "holds list", "verify"}
	for name, c := range map[string]struct {
		server   *redistest.Server
		want     string
		commands []string
	}{
		"replica":        {redistest.StartReplica(t, primary), "replica", changing},
		"evicting":       {evicting, "allkeys-lru", changing},
		"Cluster's node": {cluster.Masters()[0], "redis+cluster://", append(reading, changing...)},
		"a Sentinel":     {nil, "redis+sentinel://", append(reading, changing...)},
	} {
		address := "redis://" + sentinels.Addrs()[0]
		if c.server != nil {
			address = c.server.URL()
		}
		for _, words := range c.commands {
			command, given, _ := strings.Cut(words, " acme")
			args := append(strings.Fields(command), "--redis", address)
			if given != "" || strings.HasSuffix(words, " acme") {
				args = append(append(args, "acme"), strings.Fields(given)...)
			}
			code, stdout, stderr := bursar(t.Context(), args...)
			if code != exit.Refused || !strings.Contains(stderr.String(), coordinator.ErrUnfit.Error()) || !strings.Contains(stderr.String()+stdout.String(), c.want) {
				t.Errorf("%s: %s: code %d, %s%s", name, words, code, stdout, stderr)
			}
		}
	}
	for _, words := range []string{"--help", "doctor --help"} {
		if printed := strings.Join(strings.Fields(must(t, strings.Fields(words)...)), " "); !strings.Contains(printed, coordinator.ErrUnfit.Error()) {
			t.Errorf("%s: %s", words, printed)
		}
	}
}

// The error names a master that the Sentinels do not watch.
func TestAMasterThatNoSentinelKnows(t *testing.T) {
	t.Parallel()
	sentinels := redistest.StartSentinels(t, redistest.Start(t), 2)
	address := "redis+sentinel://" + strings.Join(sentinels.Addrs(), ",") + "/nobody"
	for _, words := range []string{"doctor --timeout 2s", "tenant list", "tenant ensure"} {
		args := append(strings.Fields(words), "--redis", address)
		if words == "tenant ensure" {
			args = append(args, "acme", "1c")
		}
		code, stdout, stderr := bursar(t.Context(), args...)
		if code != exit.Unavailable || !strings.Contains(stderr.String(), `the Sentinels watch no master "nobody"`) {
			t.Errorf("%s: code %d, %s%s", words, code, stdout, stderr)
		}
	}
}
