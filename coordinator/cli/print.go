package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/fatih/color"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// show prints answer as JSON if --json is set, and calls text otherwise.
func (o *output) show(cc *cli.Context, answer any, text func(w io.Writer)) error {
	if !cc.Bool(jsonFlag.Name) {
		text(o)
		return nil
	}
	return json.NewEncoder(o).Encode(answer)
}

// fields are values whose JSON objects are merged into one.
type fields []any

// MarshalJSON returns an object with the fields of all values, in order.
func (f fields) MarshalJSON() ([]byte, error) {
	var all [][]byte
	for _, value := range f {
		object, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		if inner := bytes.TrimSuffix(bytes.TrimPrefix(object, []byte("{")), []byte("}")); len(inner) > 0 {
			all = append(all, inner)
		}
	}
	return slices.Concat([]byte("{"), bytes.Join(all, []byte(",")), []byte("}")), nil
}

// table prints rows as aligned columns, or as JSON objects. JSON is printed row by row,
// columns when the table is closed, since their widths depend on all rows.
type table struct {
	out  *output
	json *json.Encoder
	text *tabwriter.Writer
	page *bufio.Writer // tabwriter writes cell by cell
}

func (o *output) table(cc *cli.Context, header string) *table {
	if cc.Bool(jsonFlag.Name) {
		return &table{out: o, json: json.NewEncoder(o)}
	}
	page := bufio.NewWriter(o)
	t := &table{out: o, text: tabwriter.NewWriter(page, 0, 0, 2, ' ', 0), page: page}
	fmt.Fprintln(t.text, header)
	return t
}

// row adds a row: answer as JSON, or cells as text, with tabs between them.
func (t *table) row(answer any, format string, cells ...any) error {
	if t.json != nil {
		return t.json.Encode(answer)
	}
	fmt.Fprintf(t.text, format+"\n", cells...)
	return t.out.err
}

// closeAfter prints the rows, even if err has cut them short. It returns err, or else the
// error of printing.
func (t *table) closeAfter(err error) error {
	if t.text == nil {
		return err
	}
	flushErr := t.text.Flush()
	if flushErr == nil {
		flushErr = t.page.Flush()
	}
	if err != nil {
		return err
	}
	return flushErr
}

// instant formats a time in UTC, and the zero time as none.
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

// tinted returns the word, coloured if w is a terminal and NO_COLOR is not set.
func tinted(w io.Writer, c color.Attribute, word string) string {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	if !isTerminal(w) || color.NoColor {
		return word
	}
	return color.New(c).Sprint(word)
}
