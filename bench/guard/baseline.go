package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/calybris/bursar/coordinator/redistest"
)

// build is what the figures depend on beside the project.
type build struct {
	Go    string `json:"go"`    // "go1.26"
	Redis string `json:"redis"` // "7.0", or "Valkey 8.0"
	Arch  string `json:"arch"`  // GOARCH
}

func (b build) ofGo() string    { return b.Go + " on " + b.Arch }
func (b build) ofRedis() string { return b.redis() + " on " + b.Arch }
func (b build) String() string  { return fmt.Sprintf("%s and %s on %s", b.Go, b.redis(), b.Arch) }

func (b build) redis() string {
	if strings.Contains(b.Redis, " ") {
		return b.Redis
	}
	return "Redis " + b.Redis
}

var redisVersion = regexp.MustCompile(`^(\w+) server v=(\d+\.\d+)\.`)

func currentBuild(ctx context.Context) (build, error) {
	binary, err := redistest.Binary(ctx)
	if err != nil {
		return build{}, err
	}
	said, err := exec.CommandContext(ctx, binary, "--version").Output() //nolint:gosec // it is the server that is started
	found := redisVersion.FindSubmatch(said)
	if err != nil || found == nil {
		return build{}, fmt.Errorf("%s --version says %.100q: %w", binary, said, err)
	}
	redis := strings.TrimPrefix(string(found[1])+" "+string(found[2]), "Redis ")
	return build{Go: version.Lang(runtime.Version()), Redis: redis, Arch: runtime.GOARCH}, nil
}

// baseline is the content of bench/baseline.json: the figures that were accepted.
type baseline struct {
	Build   build              `json:"measured_with"`
	Figures map[string]float64 `json:"figures"`
}

func (b baseline) names() []string { return slices.Sorted(maps.Keys(b.Figures)) }

const baselineRemedy = "restore it from git, or run make bench-baseline, and explain it in the commit"

func readBaseline(path string) (baseline, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return baseline{}, fmt.Errorf("no baseline to compare with: %w; %s", err, baselineRemedy)
	}
	var b baseline
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&b)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows its end")
		} else if b.Build.Go == "" || b.Build.Redis == "" || b.Build.Arch == "" || len(b.Figures) == 0 {
			err = errors.New("measured_with (go, redis, arch) or figures is missing")
		}
	}
	if err != nil {
		return baseline{}, fmt.Errorf("%s is no baseline: %w; %s", path, err, baselineRemedy)
	}
	return b, nil
}

func (b baseline) write(path string) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // everybody may read it
}
