package report

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
)

// Outputs are the forms of a report, with their destinations.
type Outputs []output

type output struct {
	path  string // "" is stdout
	write func(Report, io.Writer) error
}

// OutputFlags returns the flags of every command that writes a report.
func OutputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print the report as JSON instead of the table"},
		&cli.StringFlag{Name: "html", Usage: "write a self-contained page with plots to `FILE`, or - for stdout"},
		&cli.StringFlag{Name: "hgrm", Usage: "write HdrHistogram percentiles of the decisions, in µs, to `FILE`, or - for stdout"},
		&cli.StringFlag{Name: "gobench", Usage: "write Go benchmark text for benchstat to `FILE`, or - for stdout"},
	}
}

// OutputsOf returns the outputs of the flags. One of them on stdout replaces the table. A file
// that cannot be written is an error now, not after the run.
func OutputsOf(cc *cli.Context) (Outputs, error) {
	var all Outputs
	var onStdout []string // flags
	if cc.Bool("json") {
		all, onStdout = append(all, output{write: writeJSON}), append(onStdout, "--json")
	}
	for _, form := range []struct {
		flag  string
		write func(Report, io.Writer) error
	}{{"html", Report.WriteHTML}, {"hgrm", Report.WriteHgrm}, {"gobench", Report.WriteGoBench}} {
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
		all = append(all, output{write: Report.WriteTable})
	case 1:
	default:
		return nil, fmt.Errorf("%s: only one can go to stdout; give the others a file each", strings.Join(onStdout, ", "))
	}
	return all, nil
}

// Write writes all outputs, even if some fail.
func (all Outputs) Write(result Report, stdout io.Writer) error {
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

func writeJSON(result Report, w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(result)
}

// writable returns an error if a file cannot be written, and changes nothing.
func writable(path string) error {
	file, err := openWhole(path)
	if err != nil {
		return err
	}
	return file.discard()
}

// writeWhole replaces a file by a whole one, or leaves it unchanged. A device or a pipe is
// written directly.
func writeWhole(path string, write func(io.Writer) error) error {
	file, err := openWhole(path)
	if err != nil {
		return err
	}
	if err := unnamed(write(file)); err != nil {
		return errors.Join(err, file.discard())
	}
	return file.keep()
}

// wholeFile is a temporary file in the directory of the one that it replaces, or a device.
type wholeFile struct {
	*os.File
	replaces string // "" of a device
}

func openWhole(path string) (wholeFile, error) {
	if behind, err := filepath.EvalSymlinks(path); err == nil {
		path = behind
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return wholeFile{}, errors.New("it is a directory")
	}
	if err == nil && !info.Mode().IsRegular() {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		return wholeFile{File: file}, unnamed(err)
	}
	const readable = 0o666 // before umask
	temporary := filepath.Join(filepath.Dir(path), ".bursar-"+rand.Text())
	file, openErr := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, readable)
	whole := wholeFile{file, path}
	if openErr == nil && err == nil {
		if err := unnamed(file.Chmod(info.Mode().Perm())); err != nil {
			return wholeFile{}, errors.Join(err, whole.discard())
		}
	}
	return whole, unnamed(openErr)
}

func (f wholeFile) keep() error {
	err := unnamed(f.Close())
	if f.replaces == "" {
		return err
	}
	if err == nil {
		err = os.Rename(f.Name(), f.replaces)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (f wholeFile) discard() error {
	err := unnamed(f.Close())
	if f.replaces != "" {
		err = errors.Join(err, unnamed(os.Remove(f.Name())))
	}
	return err
}

// unnamed removes the path of the temporary file from an error.
func unnamed(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
