package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/fatih/color"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// show prints an answer: as JSON, or by text.
func (o *output) show(cc *cli.Context, answer any, text func(w io.Writer)) error {
	if !cc.Bool(jsonFlag.Name) {
		text(o)
		return nil
	}
	return json.NewEncoder(o).Encode(answer)
}

// table prints rows in columns; of JSON each row is an object. Rows are printed as
// they come in JSON, and when it is closed otherwise, since only then the columns'
// widths are known.
type table struct {
	out  *output
	json *json.Encoder
	text *tabwriter.Writer
	rows int
}

func (o *output) table(cc *cli.Context, header string) *table {
	if cc.Bool(jsonFlag.Name) {
		return &table{out: o, json: json.NewEncoder(o)}
	}
	t := &table{out: o, text: tabwriter.NewWriter(o, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t.text, header)
	return t
}

// row adds one: an answer for JSON, its cells with tabs between them for people.
func (t *table) row(answer any, format string, cells ...any) error {
	t.rows++
	if t.json != nil {
		return t.json.Encode(answer)
	}
	fmt.Fprintf(t.text, format+"\n", cells...)
	return t.out.err
}

func (t *table) close() error {
	if t.text != nil {
		return t.text.Flush()
	}
	return nil
}

// instant prints a time of Redis, which is UTC.
func instant(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// tinted colours a word on a terminal, unless NO_COLOR says otherwise.
func tinted(w io.Writer, c color.Attribute, word string) string {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	if !isTerminal(w) || color.NoColor {
		return word
	}
	return color.New(c).Sprint(word)
}
