package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/calybris/bursar/coordinator/wording"
)

// String is one line for people.
func (m Machine) String() string {
	cpu := m.CPU
	if cpu == "" {
		cpu = "unknown CPU"
	}
	return fmt.Sprintf("%s, %s, %s, %s, GOMAXPROCS %d, GOGC %s, GOMEMLIMIT %s, bursar %s",
		cpu, wording.Count(m.Cores, "core"), m.OS, m.Go, m.GOMAXPROCS, m.GOGC, m.GOMEMLIMIT, m.Version)
}

// ModeEmbedded is the server in this process, whose speed says little of a Redis'.
const ModeEmbedded = "embedded"

func (s Server) name() string { return cmp.Or(s.Name, "Redis") }

// String is one line for people.
func (s Server) String() string {
	if s.Mode == ModeEmbedded {
		return "miniredis, in this process: its speed says little of a Redis'"
	}
	parts := []string{s.name() + " " + s.Version}
	if s.Version == "" {
		parts[0] = s.name() + " of a version that it does not tell"
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
