package redistest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	stopTimeout = 15 * time.Second // more than the 10 s that Redis waits for its replicas
	logTail     = 8 << 10
	configName  = "redis.conf"
	socketName  = "s"
	logName     = "log"
	// maxSocketPath is what macOS can bind; Linux has four bytes more.
	maxSocketPath = 103
)

// Server is one redis-server with its address, its folder, and the process that
// runs it or ran it last. Its methods are safe for concurrent use.
type Server struct {
	role     role
	settings settings
	binary   string
	dir      string
	port     int
	busPort  int // 0 outside a Cluster
	warden   *warden

	mu      sync.Mutex
	process *process
	clients []io.Closer
	closed  bool
	lastLog string // what Log returns once the folder is gone
}

var errClosed = errors.New("it was closed")

// role is what makes a server more than a standalone one.
type role struct {
	name     string // for messages
	args     []string
	needsBus bool
	config   []string
}

// Spawn starts a standalone server and returns when it answers PING. ctx bounds
// the start only, at most 30 s; the server runs until Close.
//
// It keeps nothing on disk unless WithConfig says so ("appendonly yes", "save 60
// 1"): after Kill or Stop, a Restart finds it empty. Without a usable
// redis-server the error is [ErrNoServer].
func Spawn(ctx context.Context, opts ...Option) (*Server, error) {
	set, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	return spawn(ctx, set, role{name: "redis-server"})
}

func spawn(ctx context.Context, set settings, r role) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	binary, err := Binary(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{role: r, settings: set, binary: binary}
	if err := s.makeHome(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.startOnFreePort(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// makeHome makes the folder, and first of all who removes it.
func (s *Server) makeHome() error {
	dir, err := os.MkdirTemp("", "bursar-redis-")
	if err != nil {
		return fmt.Errorf("redistest: a folder for %s: %w", s.role.name, err)
	}
	s.dir = dir
	if s.warden, err = startWarden(dir); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	if len(s.path(socketName)) > maxSocketPath {
		return fmt.Errorf("redistest: the folder %s is too long a path for a socket; set TMPDIR to a shorter one", dir)
	}
	return nil
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// Dir is the server's private folder, with what it has written to disk.
func (s *Server) Dir() string { return s.dir }

// Addr is the server's "127.0.0.1:port". It stays the same over a Restart.
func (s *Server) Addr() string { return loopback(s.port) }

// URL is the form that redis.ParseURL reads, with the password where there is one.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr(), Path: "/0"}
	if s.settings.password != "" {
		u.User = url.UserPassword("", s.settings.password)
	}
	return u.String()
}

// Options returns what a client of this server needs, as the default user, for
// the caller to change.
func (s *Server) Options() *redis.Options {
	return &redis.Options{Addr: s.Addr(), Password: s.settings.password}
}

// Client returns a new client with Options. Close closes it; so may the caller.
func (s *Server) Client() *redis.Client {
	client := redis.NewClient(s.Options())
	s.closeLater(client)
	return client
}

func (s *Server) closeLater(client io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, client)
}

// admin returns a client for this package's own questions. It goes through the
// socket in the private folder: who answers there is our process and no other
// that took the port, and it listens on the port already.
func (s *Server) admin() *redis.Client {
	return redis.NewClient(&redis.Options{
		Network: "unix", Addr: s.path(socketName), Password: s.settings.password,
		DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// PID is the operating system's number of the process that runs or ran last.
func (s *Server) PID() int { return s.current().pid() }

// Log returns the last 8 KiB of what the server has said, also after Close.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.lastLog
	}
	return s.readLog()
}

func (s *Server) readLog() string {
	log, err := os.ReadFile(s.path(logName))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-logTail):])
}

func (s *Server) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// Kill ends the server with SIGKILL, as a crash would, and returns when it is
// gone. It has no effect on a server that is not running.
func (s *Server) Kill() { s.current().kill() }

// Stop ends the server with SIGTERM, so that it saves what it is configured to,
// and returns when it is gone. A server that does not end within 15 s is killed
// and reported.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return s.explain("stop", s.current().terminate(ctx))
}

// Restart starts the server again on the same address and with what is in its
// folder, and returns when it answers PING. A running server is stopped first.
func (s *Server) Restart(ctx context.Context) error {
	if s.current().running() {
		if err := s.Stop(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if s.isClosed() {
		return s.explain("restart", errClosed)
	}
	return s.explain("restart", s.start(ctx))
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Pause stops the server's execution with SIGSTOP: connections stay open and
// nothing answers, as on a machine that hangs.
func (s *Server) Pause() error { return s.explain("pause", s.current().signal(sigPause)) }

// Resume continues a paused server; it answers then what it was asked meanwhile.
func (s *Server) Resume() error { return s.explain("resume", s.current().signal(sigResume)) }

func (s *Server) explain(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redistest: %s %s on %s: %w", verb, s.role.name, s.Addr(), err)
}

// Close kills the server, closes its clients, and removes its folder. It returns
// an error with the log where the server had crashed before. A second call has
// no effect.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, client := range s.clients {
		if err := client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.process != nil {
		if err := s.process.crash(); err != nil {
			errs = append(errs, fmt.Errorf("redistest: %s on %s crashed: %w; its log ends:\n%s", s.role.name, s.Addr(), err, s.readLog()))
		}
		s.process.kill()
		s.lastLog = s.readLog()
	}
	return errors.Join(append(errs, s.leave())...)
}

// leave gives back all that a server without a process still holds.
func (s *Server) leave() error {
	returnPort(s.port)
	returnPort(s.busPort)
	errs := []error{os.RemoveAll(s.dir)}
	if s.warden != nil {
		errs = append(errs, s.warden.close())
	}
	return errors.Join(errs...)
}
