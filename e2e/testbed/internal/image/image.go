// Package image maps the names of container images to programs on this machine.
package image

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// Self stands for the test bed's own binary in the map.
const Self = "self"

// Image says what a container of an image finds and runs.
type Image struct {
	// Name is a pattern of image names with path.Match's wildcards, except that `*` also matches `/`.
	// A name without registry, tag or digest matches with any.
	Name string `json:"name"`
	// Files are bound read-only into the container: path there to path here. Paths here are relative to
	// the map's folder; ${NAME} and ${NAME:-default} are expanded; `self` is the test bed's binary.
	Files map[string]string `json:"files,omitempty"`
	// Entrypoint runs where the container has no `command`; default: the only entry of Files.
	Entrypoint []string `json:"entrypoint,omitempty"`
	// Command holds the arguments where the container has no `args` (and no `command`).
	Command []string `json:"command,omitempty"`
	// Env comes before the container's own.
	Env map[string]string `json:"env,omitempty"`
	// User is the numeric user id where no securityContext has one; default 0.
	User int64 `json:"user,omitempty"`
	// WorkingDir where the container has none; default `/`.
	WorkingDir string `json:"workingDir,omitempty"`
}

// file is the document of a map.
type file struct {
	Images []Image `json:"images"`
}

// Map finds images in files that are read anew each time, so that a new build or another program takes
// effect with the next container that starts.
type Map struct {
	files []string
}

// NewMap takes files in order of precedence, the last one first; each has to be readable now.
func NewMap(files []string) (*Map, error) {
	m := &Map{files: files}
	_, err := m.read()
	return m, err
}

// Find returns the first image whose pattern matches name, with absolute paths.
func (m *Map) Find(name string) (Image, error) {
	images, err := m.read()
	if err != nil {
		return Image{}, err
	}
	var known []string
	for _, image := range images {
		if Matches(image.Name, name) {
			return image, nil
		}
		known = append(known, image.Name)
	}
	return Image{}, fmt.Errorf("no image of the map matches %q; it has %s", name, strings.Join(known, ", "))
}

func (m *Map) read() ([]Image, error) {
	var all []Image
	for i := len(m.files) - 1; i >= 0; i-- {
		data, err := os.ReadFile(m.files[i])
		if err != nil {
			return nil, fmt.Errorf("image map: %w", err)
		}
		images, err := parse(data, filepath.Dir(m.files[i]))
		if err != nil {
			return nil, fmt.Errorf("image map %s: %w", m.files[i], err)
		}
		all = append(all, images...)
	}
	return all, nil
}

func parse(data []byte, folder string) ([]Image, error) {
	var document file
	if err := yaml.UnmarshalStrict(data, &document); err != nil {
		return nil, err
	}
	for i := range document.Images {
		image := &document.Images[i]
		if image.Name == "" {
			return nil, fmt.Errorf("images[%d] has no name", i)
		}
		for target, source := range image.Files {
			resolved, err := resolve(source, folder)
			if err != nil {
				return nil, err
			}
			image.Files[target] = resolved
			if len(image.Entrypoint) == 0 && len(image.Files) == 1 {
				image.Entrypoint = []string{target}
			}
		}
	}
	return document.Images, nil
}

func resolve(source, folder string) (string, error) {
	if source == Self {
		return os.Executable()
	}
	var missing []string
	source = os.Expand(source, func(name string) string {
		name, fallback, hasFallback := strings.Cut(name, ":-")
		value, ok := os.LookupEnv(name)
		if ok && value != "" || !hasFallback {
			if !ok {
				missing = append(missing, name)
			}
			return value
		}
		return fallback
	})
	if len(missing) > 0 {
		return "", fmt.Errorf("environment variables are not set: %s", strings.Join(missing, ", "))
	}
	if !filepath.IsAbs(source) {
		source = filepath.Join(folder, source)
	}
	return source, nil
}

// Matches tells whether a pattern covers an image name.
func Matches(pattern, name string) bool {
	if match(pattern, name) {
		return true
	}
	bare, _, _ := strings.Cut(name, "@")
	if colon := strings.LastIndexByte(bare, ':'); colon > strings.LastIndexByte(bare, '/') {
		bare = bare[:colon]
	}
	if match(pattern, bare) {
		return true
	}
	registry, rest, ok := strings.Cut(bare, "/")
	isRegistry := ok && (strings.ContainsAny(registry, ".:") || registry == "localhost")
	return isRegistry && match(pattern, rest)
}

// match replaces the separator, which path.Match's `*` stops at.
func match(pattern, name string) bool {
	const flat = "\x00"
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", flat), strings.ReplaceAll(name, "/", flat))
	return ok && err == nil
}
