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
	// maxSocketPath is the longest socket path on macOS, in bytes; Linux allows four more.
	maxSocketPath = 103
)

// Server is a redis-server with its address, its folder and its current or last process.
// Its methods are safe for concurrent use.
type Server struct {
	role     role
	settings settings
	binary   string
	dir      string
	port     int
	busPort  int // 0 outside a Cluster
	reaper   *reaper

	mu      sync.Mutex
	process *process
	clients []io.Closer
	closed  bool
	lastLog string // the result of Log after Close
}

var errClosed = errors.New("it was closed")

// role holds the settings in which replicas, Sentinels and Cluster nodes differ from a
// standalone server.
type role struct {
	name     string // used in messages
	args     []string
	needsBus bool
	config   []string
}

// Spawn starts a standalone server and returns once it answers PING. ctx and a timeout of
// 30 s bound only the start; the server runs until Close.
//
// The server doesn't persist its data unless [WithConfig] configures it ("appendonly yes",
// "save 60 1"), so it is empty after a Kill or Stop and a Restart. Without a usable binary
// the error is [ErrNoServer].
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

// makeHome creates the server's folder, and starts the reaper that removes it.
func (s *Server) makeHome() error {
	dir, err := os.MkdirTemp("", "bursar-redis-")
	if err != nil {
		return fmt.Errorf("redistest: a folder for %s: %w", s.role.name, err)
	}
	s.dir = dir
	if s.reaper, err = startReaper(dir); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	if len(s.path(socketName)) > maxSocketPath {
		return fmt.Errorf("redistest: the folder %s is too long a path for a socket; set TMPDIR to a shorter one", dir)
	}
	return nil
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// Dir returns the server's private folder, which contains its configuration, log and data.
func (s *Server) Dir() string { return s.dir }

// Addr returns the server's address, "127.0.0.1:port". A Restart doesn't change it.
func (s *Server) Addr() string { return loopback(s.port) }

// URL returns the server's URL for redis.ParseURL, including the password, if any.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr(), Path: "/0"}
	if s.settings.password != "" {
		u.User = url.UserPassword("", s.settings.password)
	}
	return u.String()
}

// Options returns the options for a client of this server as the default user, which the
// caller may change.
func (s *Server) Options() *redis.Options {
	return &redis.Options{Addr: s.Addr(), Password: s.settings.password}
}

// Client returns a new client with Options. Close closes it, unless the caller has.
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

// admin returns a client for the commands of this package. It connects to the socket in
// the private folder, so that a reply comes from our process, not from another that has
// taken the port, and shows that our process is listening on the port.
func (s *Server) admin() *redis.Client {
	return redis.NewClient(&redis.Options{
		Network: "unix", Addr: s.path(socketName), Password: s.settings.password,
		DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// PID returns the ID of the current or last process.
func (s *Server) PID() int { return s.current().pid() }

// Log returns the last 8 KiB of the server's log. It also works after Close.
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

// Kill ends the server with SIGKILL, to simulate a crash, and returns once it has exited.
// It has no effect if the server isn't running.
func (s *Server) Kill() { s.current().kill() }

// Stop ends the server with SIGTERM, so that it saves its data if it is configured to, and
// returns once it has exited. If the server doesn't exit within 15 s, Stop kills it and
// returns an error.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return s.explain("stop", s.current().terminate(ctx))
}

// Restart starts the server again, with the same address and the data in its folder, and
// returns once it answers PING. If the server is running, Restart stops it first.
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

// Pause suspends the server with SIGSTOP, to simulate a machine that hangs: connections
// stay open, but commands get no reply.
func (s *Server) Pause() error { return s.explain("pause", s.current().signal(sigPause)) }

// Resume continues a paused server, which then also replies to the commands that it received
// during the pause.
func (s *Server) Resume() error { return s.explain("resume", s.current().signal(sigResume)) }

func (s *Server) explain(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redistest: %s %s on %s: %w", verb, s.role.name, s.Addr(), err)
}

// Close kills the server, closes its clients and removes its folder. If the server had
// crashed, Close returns an error with the end of its log. A second call has no effect.
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

// leave releases the ports, the folder and the reaper of a server whose process has ended.
func (s *Server) leave() error {
	returnPort(s.port)
	returnPort(s.busPort)
	errs := []error{os.RemoveAll(s.dir)}
	if s.reaper != nil {
		errs = append(errs, s.reaper.close())
	}
	return errors.Join(errs...)
}
