package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"

	"github.com/calybris/bursar/coordinator/cli/exit"
)

// NodeCommand is what, after "bench", makes this program a node.
const NodeCommand = "node"

// member is a node that is a process of its own.
type member struct {
	number  int // from 1, for people
	process *exec.Cmd
	words   chan word // closed when the process has ended
	ended   error     // how; to be read once words is closed
	missed  bool      // what it failed at was told

	mu     sync.Mutex // of what is written
	orders *json.Encoder
	input  io.WriteCloser
}

// startMember starts a process, and tells it what it must know.
func startMember(a Assignment) (*member, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to start it as a node: %w", err)
	}
	m := &member{number: a.Node + 1, process: exec.Command(program, "bench", NodeCommand), words: make(chan word)} //nolint:gosec // it is this program
	m.process.Stderr = os.Stderr                                                                                   // nothing is written there, unless it crashes
	m.process.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return variable == "OTEL_METRICS_EXPORTER=prometheus" // its port is this process'
	})
	if m.input, err = m.process.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := m.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.process.Start(); err != nil {
		return nil, fmt.Errorf("starting node %d: %w", m.number, err)
	}
	go m.listen(output)
	m.orders = json.NewEncoder(m.input)
	m.say(a)
	return m, nil
}

func (m *member) listen(output io.Reader) {
	defer close(m.words)
	decoder := json.NewDecoder(output)
	var unreadable error
	for {
		var w word
		if unreadable = decoder.Decode(&w); unreadable != nil {
			break
		}
		m.words <- w
	}
	_, _ = io.Copy(io.Discard, output) // what is no JSON must not keep it from ending
	m.ended = m.process.Wait()
	if m.ended == nil && !errors.Is(unreadable, io.EOF) {
		m.ended = unreadable
	}
}

// say leaves it to listen to notice that a process has ended.
func (m *member) say(what any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.orders.Encode(what)
}

// gone is the error of a process that ended by itself.
func (m *member) gone() error {
	m.missed = true
	how := "without a word"
	if m.ended != nil {
		how = m.ended.Error()
	}
	return exit.With(exit.Unavailable, fmt.Errorf("node %d (process %d) has ended: %s", m.number, m.process.Process.Pid, how))
}

// named says which node's an error is.
func (m *member) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("node %d: %w", m.number, err)
}

func (m *member) kill() { _ = m.process.Process.Kill() }

// leave lets the process go, and returns when it has ended.
func (m *member) leave() error {
	m.mu.Lock()
	_ = m.input.Close() // of a process that has ended it is closed
	m.mu.Unlock()
	var closed bool
	var failed error
	for w := range m.words {
		closed = closed || w.Closed
		if w.Failure != nil {
			failed = m.named(w.Failure.err())
		}
	}
	switch {
	case m.missed:
		return nil
	case failed == nil && !closed:
		return m.gone()
	default:
		return failed
	}
}
