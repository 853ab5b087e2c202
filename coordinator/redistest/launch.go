package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// errPortTaken is returned if another process has bound the port after it was chosen.
var errPortTaken = errors.New("another process took the port")

const portAttempts = 20

// startOnFreePort chooses free ports and starts the server. If another process takes a port
// first, it tries again with other ports.
func (s *Server) startOnFreePort(ctx context.Context) error {
	for range portAttempts {
		if err := s.choosePorts(); err != nil {
			return err
		}
		if err := s.writeConfig(); err != nil {
			return err
		}
		err := s.start(ctx)
		if !errors.Is(err, errPortTaken) {
			return s.explain("start", err)
		}
	}
	return s.explain("start", fmt.Errorf("tried %d free ports: %w", portAttempts, errPortTaken))
}

func (s *Server) choosePorts() (err error) {
	returnPort(s.port)
	returnPort(s.busPort)
	s.port, s.busPort = 0, 0
	if s.port, err = s.settings.ports(); err != nil || !s.role.needsBus {
		return err
	}
	s.busPort, err = s.settings.ports()
	return err
}

// writeConfig writes redis.conf. Its paths are relative to the folder, so they need no
// quotes.
func (s *Server) writeConfig() error {
	lines := []string{
		"bind 127.0.0.1",
		fmt.Sprintf("port %d", s.port),
		"unixsocket " + socketName,
		`save ""`,
		"repl-diskless-sync-delay 0",
	}
	if s.role.needsBus {
		lines = append(lines, fmt.Sprintf("cluster-port %d", s.busPort))
	}
	lines = append(lines, s.role.config...)
	lines = append(lines, s.settings.config...)
	text := strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(s.path(configName), []byte(text), 0o600); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	return nil
}

// start starts the process and waits until it answers PING.
func (s *Server) start(ctx context.Context) error {
	log, err := os.OpenFile(s.path(logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Stat()
	if err != nil {
		return err
	}
	p, err := s.runProcess(log)
	if err != nil {
		return err
	}
	if err := s.awaitPing(ctx, p); err != nil {
		p.kill()
		return s.explainLog(err, before.Size())
	}
	return nil
}

// runProcess starts the process. It holds the lock, so that Close and a second Restart
// can't overlook the new process.
func (s *Server) runProcess(log *os.File) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if s.process != nil && s.process.running() {
		return nil, errors.New("it is running already")
	}
	// A killed server leaves a stale socket, which refuses connections.
	if err := os.RemoveAll(s.path(socketName)); err != nil {
		return nil, err
	}
	words := slices.Concat(s.settings.launcher, []string{s.binary, configName}, s.role.args)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	p, err := startProcess(cmd, s.reaper)
	if err != nil {
		return nil, err
	}
	s.process = p
	return p, nil
}

func (s *Server) awaitPing(ctx context.Context, p *process) error {
	client := s.admin()
	defer client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-p.exited:
			cancel() // no process is left to answer
		case <-ctx.Done():
		}
	}()
	err := await(ctx, "PONG", func() error {
		// The client would log each refused dial and, after some of them, wait a second
		// before the next. So dial without it first.
		conn, err := net.Dial("unix", s.path(socketName))
		if err != nil {
			return err
		}
		conn.Close()
		return client.Ping(ctx).Err()
	})
	cancel()
	<-ended
	if err != nil && !p.running() {
		return fmt.Errorf("it exited immediately: %s", p.cmd.ProcessState)
	}
	return err
}

// explainLog adds the log of this run, which begins at offset from, to the error. If the
// log shows that a port was taken, it returns errPortTaken.
func (s *Server) explainLog(err error, from int64) error {
	log, readErr := os.ReadFile(s.path(logName))
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	output := string(log[min(from, int64(len(log))):])
	if strings.Contains(output, "Failed listening on port") || strings.Contains(output, "Address already in use") {
		return fmt.Errorf("%w: %d or %d", errPortTaken, s.port, s.busPort)
	}
	return fmt.Errorf("%w; its log:\n%s", err, strings.TrimSpace(output))
}
