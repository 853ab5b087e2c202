package host

import (
	"cmp"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/calybris/bursar/bench/report"
)

// Machine is what this process runs on.
func Machine() report.Machine {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = cmp.Or(info.Main.Version, version)
	}
	return report.Machine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Go: runtime.Version(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		GOGC: cmp.Or(os.Getenv("GOGC"), "100"), GOMEMLIMIT: cmp.Or(os.Getenv("GOMEMLIMIT"), "off"),
		Version: version,
	}
}
