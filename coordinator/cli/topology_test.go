package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/calybris/bursar/coordinator/cli/exit"
	"github.com/calybris/bursar/coordinator/redistest"
)

// at puts the address behind a command's words.
func at(address, words string) []string {
	return append(strings.Fields(words), "--redis", address)
}

// Every command works on every form of Redis, with families on several servers.
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
				if said := must(t, append(at(address, "lookup"), id)...); !strings.HasPrefix(said, "committed $0.50") {
					t.Errorf("%s: lookup says %s", tenant, said)
				}
				must(t, append(at(address, "reserve"), tenant, "$1")...)
			}
			if said := must(t, at(address, "tenant list --json")...); strings.Count(said, `"committed":50000000}`) != len(tenants) {
				t.Errorf("list says %s", said)
			}
			if said := must(t, at(address, "holds list --json")...); strings.Count(said, `"held":100000000`) != len(tenants) {
				t.Errorf("holds are %s", said)
			}
			if said := must(t, at(address, "verify")...); !strings.HasPrefix(said, "sound  5 tenants with 5 open holds") {
				t.Errorf("verify says %s", said)
			}
			if said := must(t, at(address, "holds release --older-than 1ms --yes")...); strings.Count(said, "released ") != len(tenants) {
				t.Errorf("release says %s", said)
			}
			must(t, append(at(address, "tenant delete --yes"), tenants[0])...)
			must(t, at(address, "verify")...)
		})
	}
}

// A doctor tells of each server of a Cluster; the address of one of them is not enough.
func TestDoctorOfACluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	address := "redis+cluster://" + strings.Join(cluster.Addrs(), ",")
	must(t, at(address, "doctor")...)
	var got struct {
		Redis  string
		Checks []struct{ Check, Server, Status string }
	}
	if err := json.Unmarshal([]byte(must(t, at(address, "doctor --json")...)), &got); err != nil {
		t.Fatal(err)
	}
	servers := make(map[string]int)
	for _, c := range got.Checks {
		servers[c.Server]++
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
