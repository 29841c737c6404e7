package image

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMatches(t *testing.T) {
	const name = "registry.example/gateway-api/echo-basic:v1"
	for pattern, want := range map[string]bool{
		name:                             true,
		"*/echo-basic:*":                 true,
		"gateway-api/echo-basic":         true,
		"gateway-api/*":                  true,
		"echo-basic":                     false,
		"*/echo-basic:v2":                false,
		"registry.example/gateway-api/*": true,
	} {
		if got := Matches(pattern, name); got != want {
			t.Errorf("%s: %v", pattern, got)
		}
	}
	if !Matches("envoy", "envoy@sha256:00") || !Matches("a/b", "localhost:5000/a/b") || Matches("b", "a/b") {
		t.Error("digests and ports")
	}
}

func TestLaterFilesComeFirstAndAreReadAgain(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first := write("a.yaml", "images:\n- {name: '*', files: {/bin/a: a}}\n")
	second := write("b.yaml", "images:\n- {name: 'x/*', files: {/bin/b: sub/b}, entrypoint: [b, -v]}\n")
	images, err := NewMap([]string{first, second})
	if err != nil {
		t.Fatal(err)
	}
	image, err := images.Find("x/y:1")
	if err != nil || image.Files["/bin/b"] != filepath.Join(folder, "sub/b") || len(image.Entrypoint) != 2 {
		t.Fatalf("got %+v, %v", image, err)
	}
	if image, err = images.Find("z"); err != nil || image.Entrypoint[0] != "/bin/a" {
		t.Fatalf("got %+v, %v", image, err)
	}
	write("a.yaml", "images: []\n")
	if image, err = images.Find("z"); err == nil {
		t.Fatalf("the old map still serves %+v", image)
	}
}

func TestVariables(t *testing.T) {
	t.Setenv("SET", "set")
	text := "images:\n- {name: a, files: {/a: 'x/${SET}', /b: '${SET:-no}', /c: '${UNSET:-../d}/c', /d: /e}}\n"
	images, err := parse([]byte(text), "/map")
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{"/a": "/map/x/set", "/b": "/map/set", "/c": "/d/c", "/d": "/e"} {
		if got := images[0].Files[target]; got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for _, text := range []string{
		"images:\n- {files: {/a: a}}\n",
		"images:\n- {name: a, fils: {/a: a}}\n",
		"images:\n- {name: a, files: {/a: '${NO_SUCH_VARIABLE}/a'}}\n",
	} {
		if images, err := parse([]byte(text), "/"); err == nil {
			t.Errorf("%q gave %+v", text, images)
		}
	}
}
