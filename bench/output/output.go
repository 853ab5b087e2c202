package output

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/calybris/bursar/bench/report"
)

// Outputs are the forms in which a report is wanted, and where.
type Outputs []output

type output struct {
	path  string // "" is stdout
	write func(report.Report, io.Writer) error
}

// Flags are those of every command that ends with a report.
func Flags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON, and nothing else, on stdout"},
		&cli.StringFlag{Name: "html", Usage: "write a page with plots that loads nothing to `FILE`, or - for stdout"},
		&cli.StringFlag{Name: "hgrm", Usage: "write the latencies of decisions as HdrHistogram percentiles, in µs, to `FILE`, or - for stdout"},
		&cli.StringFlag{Name: "gobench", Usage: "write Go benchmark text for benchstat to `FILE`, or - for stdout"},
	}
}

// Of returns the forms that the flags ask for; what goes to stdout stands
// there instead of the table. A file that cannot be written is found out now, not
// after the run.
func Of(cc *cli.Context) (Outputs, error) {
	var all Outputs
	var onStdout []string // flags
	if cc.Bool("json") {
		all, onStdout = append(all, output{write: writeJSON}), append(onStdout, "--json")
	}
	for _, form := range []struct {
		flag  string
		write func(report.Report, io.Writer) error
	}{{"html", report.Report.WriteHTML}, {"hgrm", report.Report.WriteHgrm}, {"gobench", report.Report.WriteGoBench}} {
		if !cc.IsSet(form.flag) {
			continue
		}
		path := cc.String(form.flag)
		switch path {
		case "":
			return nil, fmt.Errorf("--%s is empty: give the path of a file, or - for stdout", form.flag)
		case "-":
			path, onStdout = "", append(onStdout, "--"+form.flag)
		default:
			if err := writable(path); err != nil {
				return nil, fmt.Errorf("--%s %s: %w; give a path that can be written", form.flag, path, err)
			}
		}
		all = append(all, output{path, form.write})
	}
	switch len(onStdout) {
	case 0:
		all = append(all, output{write: report.Report.WriteTable})
	case 1:
	default:
		return nil, fmt.Errorf("%s: one at most can go to stdout; give the others a file each", strings.Join(onStdout, ", "))
	}
	return all, nil
}

// Write writes what can be written, whatever becomes of the others.
func (all Outputs) Write(result report.Report, stdout io.Writer) error {
	var errs []error
	for _, o := range all {
		if o.path == "" {
			errs = append(errs, o.write(result, stdout))
			continue
		}
		err := writeWhole(o.path, func(w io.Writer) error { return o.write(result, w) })
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", o.path, err))
		}
	}
	return errors.Join(errs...)
}

func writeJSON(result report.Report, w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(result)
}
