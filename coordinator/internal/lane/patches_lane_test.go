//go:build faults

package lane

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// brokenRule is the environment variable with the number of the patch that a test binary with
// all patches applies, from 1.
const brokenRule = "BURSAR_BROKEN_RULE"

// ruleFile is added to each package with patches.
const ruleFile = `package %s

import (
	"os"
	"strconv"
)

var brokenRule, _ = strconv.Atoi(os.Getenv("` + brokenRule + `"))
`

func TestPatchesToTheLaneAreNoticed(t *testing.T) {
	patches := slices.Concat(goPatches, goWindowPatches, goRollingPatches, goLimitPatches)
	// One binary with all patches takes seconds to build, and a binary for each takes minutes.
	binary := buildPatched(t, patches)
	named := []string{"TestSimulation"}
	for _, p := range patches {
		if p.tests != "" {
			named = append(named, p.tests)
		}
	}
	unbroken := exec.CommandContext(t.Context(), binary, "-test.run", "^("+strings.Join(named, "|")+")$", "-sim.schedules", "20")
	if out, err := unbroken.CombinedOutput(); err != nil {
		t.Fatalf("the tests fail without a patch: %v\n%.2000s", err, out)
	}
	for i, p := range patches {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			tests := p.tests
			if tests == "" {
				tests = "TestSimulation"
			}
			command := exec.CommandContext(ctx, binary, "-test.run", "^("+tests+")$", "-sim.schedules", strconv.Itoa(patchSeeds))
			command.Env = append(command.Environ(), brokenRule+"="+strconv.Itoa(i+1))
			p.check(t, command)
		})
	}
}

// buildPatched builds the tests of the package with all patches; each run applies one or none.
func buildPatched(t *testing.T, patches []patch) (binary string) {
	t.Helper()
	folder := t.TempDir()
	replace := make(map[string]string)
	add := func(path, text string) {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		if replace[path] == "" {
			replace[path] = filepath.Join(folder, strconv.Itoa(len(replace))+".go")
		}
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	byFile := make(map[string][]int)
	for i, p := range patches {
		byFile[p.file] = append(byFile[p.file], i)
	}
	for file, rules := range byFile {
		text, name, err := patchFile(file, patches, rules)
		if err != nil {
			t.Fatal(err)
		}
		add(file, text)
		add(filepath.Join(filepath.Dir(file), "broken_rule.go"), fmt.Sprintf(ruleFile, name))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(folder, "lane.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", path, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building the tests with all patches: %v\n%s", err, out)
	}
	return binary
}

// patchFile returns the text of a file in which the function of each rule begins with its patched
// body, which runs instead of the other if the rule is broken; and the name of the package.
func patchFile(file string, patches []patch, rules []int) (text, name string, err error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.SkipObjectResolution)
	if err != nil {
		return "", "", err
	}
	inserted := make(map[int]string) // by offset in the source
	for _, i := range rules {
		p := patches[i]
		if n := strings.Count(string(source), p.old); n != 1 {
			return "", "", fmt.Errorf("%s has %q %d times, want once", file, p.old, n)
		}
		from := strings.Index(string(source), p.old)
		end := from + len(p.old)
		in := slices.IndexFunc(parsed.Decls, func(d ast.Decl) bool {
			f, ok := d.(*ast.FuncDecl)
			return ok && files.Position(f.Body.Lbrace).Offset < from && end <= files.Position(f.Body.Rbrace).Offset
		})
		if in < 0 {
			return "", "", fmt.Errorf("%s has %q outside of the functions' bodies: patch a function instead", file, p.old)
		}
		f := parsed.Decls[in].(*ast.FuncDecl)
		first, last := files.Position(f.Body.Lbrace).Offset+1, files.Position(f.Body.Rbrace).Offset
		body := string(source[first:from]) + p.broken + string(source[end:last])
		if f.Type.Results == nil {
			body += "\nreturn\n"
		}
		inserted[first] += fmt.Sprintf("\nif brokenRule == %d {%s}\n", i+1, body)
	}
	var b strings.Builder
	at := 0
	for _, offset := range slices.Sorted(maps.Keys(inserted)) {
		b.Write(source[at:offset])
		b.WriteString(inserted[offset])
		at = offset
	}
	b.Write(source[at:])
	return b.String(), parsed.Name.Name, nil
}
