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

// show prints an answer: as JSON, or by text.
func (o *output) show(cc *cli.Context, answer any, text func(w io.Writer)) error {
	if !cc.Bool(jsonFlag.Name) {
		text(o)
		return nil
	}
	return json.NewEncoder(o).Encode(answer)
}

// fields are values whose objects are one in JSON.
type fields []any

// MarshalJSON writes the fields of all values, in their order.
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

// table prints rows in columns; of JSON each row is an object. Rows are printed as
// they come in JSON, and when it is closed otherwise, since only then the columns'
// widths are known.
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

// row adds one: an answer for JSON, its cells with tabs between them for people.
func (t *table) row(answer any, format string, cells ...any) error {
	if t.json != nil {
		return t.json.Encode(answer)
	}
	fmt.Fprintf(t.text, format+"\n", cells...)
	return t.out.err
}

// closeAfter prints what there is also where err is why it is not all.
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
