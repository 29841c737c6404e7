package container

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWithinFollowsLinksInsideOfTheRoot(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "var"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"var/run": "/run", "var/up": "../../../etc", "var/loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for target, want := range map[string]string{
		"/var/run/secrets/token": "/run/secrets/token",
		"/var/up/x":              "/etc/x",
		"certs/../sds":           "/sds",
		"/../../certs":           "/certs",
	} {
		got, err := within(root, target)
		if err != nil || got != root+want {
			t.Errorf("%s: %s, %v", target, got, err)
		}
	}
	if got, err := within(root, "/var/loop/x"); err == nil {
		t.Errorf("a loop leads to %s", got)
	}
}

func TestLookPathUsesTheContainersPath(t *testing.T) {
	folder := t.TempDir()
	program := filepath.Join(folder, "envoy")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := lookPath("envoy", []string{"PATH=/nowhere:" + folder}); err != nil || got != program {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := lookPath("envoy", []string{"PATH=/nowhere"}); err == nil {
		t.Errorf("found %s", got)
	}
	if got, err := lookPath("/x/envoy", nil); err != nil || got != "/x/envoy" {
		t.Errorf("got %s, %v", got, err)
	}
}
