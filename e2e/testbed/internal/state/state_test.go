package state

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStartTimeSkipsOddNames(t *testing.T) {
	stat := "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 999 1\n"
	started, err := parseStartTime(stat)
	if err != nil || started != 4711 {
		t.Fatalf("got %d, %v", started, err)
	}
	if _, err := parseStartTime("7 (a) Z 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 999 1\n"); err == nil {
		t.Fatal("a zombie counts as alive")
	}
}

func TestRunningNeedsTheSameProcess(t *testing.T) {
	dir, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, alive := dir.Running(); alive {
		t.Fatal("alive without an instance file")
	}
	started, err := StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		started uint64
		alive   bool
	}{{started, true}, {started + 1, false}} {
		if err := dir.Save(Instance{PID: os.Getpid(), Started: c.started}); err != nil {
			t.Fatal(err)
		}
		if _, alive := dir.Running(); alive != c.alive {
			t.Errorf("started %d: alive %v", c.started, alive)
		}
	}
}

func TestCleanKeepsLogs(t *testing.T) {
	dir, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.Log("etcd"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := dir.Clean(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(string(dir) + "/*")
	if err != nil || len(left) != 1 || left[0] != dir.Logs() {
		t.Fatalf("left: %v, %v", left, err)
	}
}
