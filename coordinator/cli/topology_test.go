package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// at returns a command's words with the address as a flag.
func at(address, words string) []string {
	return append(strings.Fields(words), "--redis", address)
}

// Every command works on every form of Redis, with partitions on several servers.
func TestCommandsOnEveryTopology(t *testing.T) {
	sentinels := redistest.StartSentinels(t, redistest.Start(t), 2)
	for name, address := range map[string]string{
		"Sentinel": "redis+sentinel://" + strings.Join(sentinels.Addrs(), ",") + "/" + sentinels.Options().MasterName,
		"Cluster":  "redis+cluster://" + strings.Join(redistest.StartCluster(t).Addrs(), ","),
	} {
		t.Run(name, func(t *testing.T) {
			tenants := []string{"acme", "globex", "initech", "umbrella/eu", "hooli"}
			for _, tenant := range tenants {
				must(t, append(at(address, "tenant ensure"), tenant, "$10")...)
				id, _, _ := strings.Cut(must(t, append(at(address, "reserve"), tenant, "$1")...), "\n")
				must(t, append(at(address, "commit"), id, "50c")...)
				if printed := must(t, append(at(address, "lookup"), id)...); !strings.HasPrefix(printed, "committed $0.50") {
					t.Errorf("%s: lookup prints %s", tenant, printed)
				}
				must(t, append(at(address, "reserve"), tenant, "$1")...)
			}
			if printed := must(t, at(address, "tenant list --json")...); strings.Count(printed, `"committed":50000000}`) != len(tenants) {
				t.Errorf("list prints %s", printed)
			}
			if printed := must(t, at(address, "holds list --json")...); strings.Count(printed, `"held":100000000`) != len(tenants) {
				t.Errorf("holds are %s", printed)
			}
			if printed := must(t, at(address, "verify")...); !strings.HasPrefix(printed, "ok  5 tenants, 5 open holds, ") {
				t.Errorf("verify prints %s", printed)
			}
			if printed := must(t, at(address, "holds release --older-than 1ms --yes")...); strings.Count(printed, "released ") != len(tenants) {
				t.Errorf("release prints %s", printed)
			}
			must(t, append(at(address, "tenant delete --yes"), tenants[0])...)
			must(t, at(address, "verify")...)
		})
	}
}

// An interrupted command does not wait for paused servers, on any form of Redis, and ends
// the same way whenever it is interrupted.
func TestInterruptedOnEveryTopology(t *testing.T) {
	primary := redistest.Start(t)
	sentinels := redistest.StartSentinels(t, primary, 1)
	cluster := redistest.StartCluster(t)
	for name, c := range map[string]struct {
		address string
		stopped []*redistest.Server
	}{
		"Sentinel": {"redis+sentinel://" + sentinels.Addrs()[0] + "/" + sentinels.Options().MasterName, []*redistest.Server{primary}},
		"Cluster":  {"redis+cluster://" + strings.Join(cluster.Addrs(), ","), cluster.Masters()},
	} {
		t.Run(name, func(t *testing.T) {
			for _, server := range c.stopped {
				if err := server.Pause(); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := server.Resume(); err != nil {
						t.Error(err)
					}
				}()
			}
			t.Setenv("BURSAR_REDIS_URL", c.address)
			for _, command := range []string{"doctor", "verify", "tenant list", "reserve acme 1c"} {
				ctx, interrupt := context.WithCancel(t.Context())
				var began time.Time
				time.AfterFunc(200*time.Millisecond, func() {
					began = time.Now()
					interrupt()
				})
				code, _, stderr := bursar(ctx, strings.Fields(command)...)
				<-ctx.Done()
				if took := time.Since(began); code != exit.Unavailable || stderr.String() != "bursar: interrupted\n" || took > 5*time.Second {
					t.Errorf("%s: code %d after %s, %s", command, code, took, stderr)
				}
			}
		})
	}
}

// doctor reports on each server of a Cluster, with its number of partitions. It refuses
// the address of a single one.
func TestDoctorOfACluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	address := "redis+cluster://" + strings.Join(cluster.Addrs(), ",")
	must(t, append(at(address, "tenant ensure --partitions 32"), "acme", "1c")...)
	var got struct {
		Redis  string
		Checks []struct{ Check, Server, Status, Found string }
	}
	if err := json.Unmarshal([]byte(must(t, at(address, "doctor --json")...)), &got); err != nil {
		t.Fatal(err)
	}
	servers := make(map[string]int)
	here, used := 0, 0
	for _, c := range got.Checks {
		servers[c.Server]++
		if c.Check != "partitions" {
			continue
		}
		var n, inUse int
		const want = `layout 4; this server has %d of the 32 partitions of prefix "bursar", %d of them in use`
		if _, err := fmt.Sscanf(c.Found, want, &n, &inUse); err != nil || n < 10 || n > 11 {
			t.Errorf("%s: partitions: %s", c.Server, c.Found)
		}
		here, used = here+n, used+inUse
	}
	if here != 32 || used != 1 {
		t.Errorf("the masters have %d partitions, %d in use; want 32 and 1", here, used)
	}
	for _, master := range cluster.Masters() {
		if servers[master.Addr()] != 11 {
			t.Errorf("of %s there are %d checks", master.Addr(), servers[master.Addr()])
		}
	}
	single := "redis://" + cluster.Masters()[0].Addr()
	code, stdout, stderr := bursar(t.Context(), at(single, "doctor")...)
	if code != exit.Refused || !strings.Contains(stdout.String(), "redis+cluster://") {
		t.Errorf("code %d, %s%s", code, stdout, stderr)
	}
}
