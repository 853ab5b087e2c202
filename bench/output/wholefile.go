package output

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writable reports why a file could not be written later, and leaves no trace.
func writable(path string) error {
	file, err := openWhole(path)
	if err != nil {
		return err
	}
	return file.discard()
}

// writeWhole writes a file or leaves what was there, so that nobody ever reads a
// half of it. A device or a pipe cannot be replaced and is written as it stands.
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

// wholeFile is a file beside the one that it is to replace, or a device itself.
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
	const readable = 0o666 // less what the umask takes
	beside := filepath.Join(filepath.Dir(path), ".bursar-"+rand.Text())
	file, openErr := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, readable)
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

// unnamed leaves out the path, which may be the one beside; callers name theirs.
func unnamed(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
