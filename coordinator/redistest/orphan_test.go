//go:build unix

package redistest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// parentVariable is the environment variable that makes the test binary start servers,
// print their processes, ports and folders, and die in the way that it names.
const parentVariable = "BURSAR_REDISTEST_PARENT"

func TestMain(m *testing.M) {
	if death := os.Getenv(parentVariable); death != "" {
		runParent(death)
	}
	os.Exit(m.Run())
}

type orphan struct {
	PID, Reaper, Port int
	Dir               string
}

func runParent(death string) {
	orphans, err := spawnOrphans(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(orphans); err != nil {
		os.Exit(1)
	}
	if death == "panic" {
		panic("as a test may")
	}
	select {} // until it is killed
}

// spawnOrphans starts one server in each state that is hard to clean up: paused, writing a
// snapshot, restarted, and stopped.
func spawnOrphans(ctx context.Context) ([]orphan, error) {
	var orphans []orphan
	for _, last := range []func(*Server) error{
		(*Server).Pause,
		func(s *Server) error {
			return errors.Join(s.Client().Set(ctx, "k", "v", 0).Err(), s.Client().BgSave(ctx).Err())
		},
		func(s *Server) error { return s.Restart(ctx) },
		(*Server).Stop,
	} {
		s, err := Spawn(ctx, WithConfig("rdb-key-save-delay 60000000"))
		if err != nil {
			return nil, err
		}
		if err := last(s); err != nil {
			return nil, err
		}
		orphans = append(orphans, orphan{PID: s.PID(), Reaper: s.reaper.cmd.Process.Pid, Port: s.port, Dir: s.dir})
	}
	return orphans, nil
}

func TestNothingIsLeftBehindWhenTheParentDies(t *testing.T) {
	t.Parallel()
	for _, death := range []string{"panic", "SIGKILL"} {
		t.Run(death, func(t *testing.T) {
			t.Parallel()
			parent := exec.CommandContext(t.Context(), os.Args[0])
			parent.Env = append(os.Environ(), parentVariable+"="+death)
			output, err := parent.StdoutPipe()
			check(t, err)
			check(t, parent.Start())
			line, err := bufio.NewReader(output).ReadBytes('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if death == "SIGKILL" {
				check(t, parent.Process.Kill())
			}
			if err := parent.Wait(); err == nil {
				t.Fatal("the parent exited normally, want it killed")
			}
			var orphans []orphan
			check(t, json.Unmarshal(line, &orphans))
			if len(orphans) != 4 {
				t.Fatalf("%d servers, want 4", len(orphans))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for _, o := range orphans {
				check(t, await(ctx, "the end of an orphan", o.gone))
			}
		})
	}
}

func (o orphan) gone() error {
	if alive(o.PID) || alive(o.Reaper) {
		return fmt.Errorf("process %d or its reaper %d is alive", o.PID, o.Reaper)
	}
	if err := groupEmpty(o.PID); err != nil {
		return err
	}
	if _, err := os.Stat(o.Dir); err == nil {
		return fmt.Errorf("the folder %s exists", o.Dir)
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if !portFree(o.Port) {
		return fmt.Errorf("port %d is not free", o.Port)
	}
	return nil
}
