package budgettest

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/trace"
)

//go:embed testdata/vectors/*.jsonl
var vectors embed.FS

// vectorCount is the number of vectors, to detect a missing file.
const vectorCount = 40

func vectorChecks() []check {
	files, err := fs.Glob(vectors, "testdata/vectors/*.jsonl")
	if err != nil || len(files) != vectorCount {
		panic(fmt.Sprintf("budgettest: %d vectors are embedded, want %d: %v", len(files), vectorCount, err))
	}
	checks := make([]check, 0, len(files))
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".jsonl")
		checks = append(checks, check{name: name, run: func(x *fixture) { replayVector(x, file) }})
	}
	return checks
}

func replayVector(x *fixture, file string) {
	recorded, err := parseVector(file)
	if err != nil {
		x.t.Fatal(err)
	}
	operations, differences, err := trace.Replay(x.ctx, x.engine, recorded)
	if err != nil {
		x.t.Fatal(err)
	}
	if operations != len(recorded.Operations) {
		x.t.Errorf("%d operations were applied, want %d", operations, len(recorded.Operations))
	}
	for _, d := range differences {
		x.t.Error(d)
	}
	known := make(map[budget.TenantID]bool)
	for _, op := range recorded.Operations {
		if op.Kind == trace.Ensure && !known[op.Tenant] {
			known[op.Tenant] = true
			x.tenants = append(x.tenants, op.Tenant)
		}
	}
}

func parseVector(file string) (trace.Trace, error) {
	reader, err := vectors.Open(file)
	if err != nil {
		return trace.Trace{}, err
	}
	recorded, err := trace.Parse(file, reader)
	if closing := reader.Close(); err == nil {
		err = closing
	}
	return recorded, err
}
