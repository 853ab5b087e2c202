package report

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// After an intended change, `go test ./bench/report -update` writes the new files.
var update = flag.Bool("update", false, "write the files that results are compared with")

func compareFile(t *testing.T, path, got string) {
	t.Helper()
	path = filepath.Join("testdata", path)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: - want, + got:\n%s", path, diff)
	}
}

func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var out strings.Builder
	if err := write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestHTML(t *testing.T) {
	t.Parallel()
	broken := exampleReport()
	broken.Conserved, broken.BrokenAll, broken.Overspent = false, 1, 8
	broken.Broken = []BrokenBook{{"<b>tenant-1</b>", "the law is broken"}}
	unread := exampleReport()
	unread.Audited, unread.Conserved = false, false
	for name, report := range map[string]Report{"full": fullReport(), "sweep": sweptReport(), "broken": broken, "unread": unread} {
		compareFile(t, "html/"+name+".html", written(t, report.WriteHTML))
	}
}

func TestEveryFormReportsAFullDisk(t *testing.T) {
	t.Parallel()
	r := fullReport()
	for form, write := range map[string]func(io.Writer) error{
		"table": r.WriteTable, "html": r.WriteHTML, "hgrm": r.WriteHgrm, "gobench": r.WriteGoBench,
	} {
		if err := write(fullDisk{}); !errors.Is(err, errFull) {
			t.Errorf("%s: got %v", form, err)
		}
	}
}

// No attribute or style names an address, except the empty icon, which keeps browsers from
// requesting one.
func TestHTMLLoadsNothing(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Report{"full": fullReport(), "sweep": sweptReport()} {
		if found := references(t, written(t, r.WriteHTML)); len(found) > 0 {
			t.Errorf("%s: %q", name, found)
		}
	}
}

// references finds everything that would be loaded or run.
func TestReferencesAreFound(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`<img src="x.png">`, `<a href="//host/x">x</a>`, `<a href="page.html">x</a>`, `<link rel="stylesheet" href="x.css">`,
		`<style>@import "x.css";</style>`, `<style>p { background: url(x.png) }</style>`, `<p style="background:URL(x)">`,
		`<script>fetch("x")</script>`, `<p onclick="x()">`, `<svg><use xlink:href="x.svg#a"/></svg>`, `<form action="/x">`, `<iframe srcdoc="x">`,
		`<meta http-equiv="refresh" content="0; url=x">`,
	} {
		if len(references(t, text)) == 0 {
			t.Errorf("not found: %s", text)
		}
	}
	if found := references(t, `<a href="#top">x</a><link rel="icon" href="data:,">`); len(found) > 0 {
		t.Errorf("found %q", found)
	}
}

func references(t *testing.T, text string) (found []string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?i)url\s*[(=]|@import|//`)
	loads := map[string]bool{"src": true, "srcset": true, "srcdoc": true, "action": true, "formaction": true, "data": true, "poster": true, "background": true, "ping": true}
	for node := range doc.Descendants() {
		if node.Type == html.ElementNode && (node.Data == "script" || node.Data == "base") {
			found = append(found, node.Data)
		}
		if node.Type == html.TextNode && node.Parent.Data == "style" && names.MatchString(node.Data) {
			found = append(found, node.Data)
		}
		for _, a := range node.Attr {
			link := strings.HasSuffix(a.Key, "href") && !strings.HasPrefix(a.Val, "#") && a.Val != "data:,"
			if link || loads[a.Key] || strings.HasPrefix(a.Key, "on") || a.Key != "aria-label" && names.MatchString(a.Val) {
				found = append(found, a.Key+"="+a.Val)
			}
		}
	}
	return found
}

// Names given by users are escaped everywhere.
func TestHTMLEscapes(t *testing.T) {
	t.Parallel()
	const evil = `<script>alert(1)</script>"onload="x`
	r := fullReport()
	r.Command, r.Redis, r.Trace, r.Workload.Name = evil, evil, evil, evil
	r.Machine.CPU, r.Server.Settings = evil, map[string]string{evil: evil}
	r.Drains[0].Tenant, r.Candidates[0].Name, r.Candidates[0].Describe = evil, evil, evil
	r.Conserved, r.BrokenAll, r.Broken = false, 1, []BrokenBook{{evil, evil}}
	r.Sweep = &Sweep{Over: evil, Points: sweptReport().Sweep.Points, Said: evil}
	text := written(t, r.WriteHTML)
	if strings.Contains(text, "<script") {
		t.Error("a name has become an element")
	}
	if found := references(t, text); len(found) > 0 {
		t.Errorf("a name has become an attribute: %q", found)
	}
	if !strings.Contains(text, "&lt;script&gt;alert(1)") {
		t.Error("the name is not shown at all")
	}
}
