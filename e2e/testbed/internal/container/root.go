package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// shared are the folders of the machine that containers see: programs and libraries. All others are
// empty, so that nothing passes between containers but by volumes.
var shared = map[string]bool{
	"bin": true, "sbin": true, "lib": true, "lib32": true, "lib64": true, "libx32": true,
	"usr": true, "etc": true,
}

// writable for everybody, as in images.
var writable = []string{"tmp", "var/tmp"}

// buildRoot makes the container's root an overlay over the machine's, binds the mounts, and moves in.
func buildRoot(spec *Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	root, err := overlay(spec.Root)
	if err != nil {
		return err
	}
	if err := kernelFiles(root); err != nil {
		return err
	}
	for _, mount := range spec.Mounts {
		if err := bind(root, mount); err != nil {
			return fmt.Errorf("mount %s: %w", mount.Target, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, spec.Dir), 0o755); err != nil {
		return err
	}
	if spec.ReadOnlyRoot {
		if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("read-only root: %w", err)
		}
	}
	return pivot(root)
}

// overlay hides all folders of the machine but the shared ones: an opaque folder of the upper layer
// covers the lower one.
func overlay(folder string) (string, error) {
	upper, work, root := filepath.Join(folder, "upper"), filepath.Join(folder, "work"), filepath.Join(folder, "root")
	for _, path := range []string{upper, work, root} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return "", err
		}
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		if shared[entry.Name()] || !entry.IsDir() {
			continue
		}
		path := filepath.Join(upper, entry.Name())
		if err := os.Mkdir(path, 0o755); err != nil {
			return "", err
		}
		if err := unix.Setxattr(path, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return "", fmt.Errorf("hide /%s: %w", entry.Name(), err)
		}
	}
	for _, path := range writable {
		if err := os.MkdirAll(filepath.Join(upper, path), 0o755); err != nil {
			return "", err
		}
		if err := os.Chmod(filepath.Join(upper, path), 0o777|os.ModeSticky); err != nil {
			return "", err
		}
	}
	options := fmt.Sprintf("lowerdir=/,upperdir=%s,workdir=%s", escape(upper), escape(work))
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	return root, nil
}

// escape protects a path from being read as several options.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`).Replace(path)
}

// kernelFiles gives the container /proc of its PID namespace, /sys of its network, and the few devices
// that programs expect.
func kernelFiles(root string) error {
	for _, mount := range []struct {
		kind, target, options string
		flags                 uintptr
	}{
		{"proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "sys", "", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "dev", "mode=0755,size=64k", unix.MS_NOSUID},
	} {
		target := filepath.Join(root, mount.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(mount.kind, target, mount.kind, mount.flags, mount.options); err != nil {
			return fmt.Errorf("mount /%s: %w", mount.target, err)
		}
	}
	for _, device := range []string{"null", "zero", "full", "random", "urandom"} {
		path := filepath.Join("dev", device)
		if err := bind(root, Mount{Source: "/" + path, Target: path}); err != nil {
			return fmt.Errorf("device %s: %w", device, err)
		}
	}
	shm := filepath.Join(root, "dev/shm")
	if err := os.Mkdir(shm, 0o777|os.ModeSticky); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", shm, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	var errs []error
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		errs = append(errs, os.Symlink(target, filepath.Join(root, "dev", name)))
	}
	return errors.Join(errs...)
}

// bind mounts a file or folder at a target below root, which is created if needed.
func bind(root string, mount Mount) error {
	info, err := os.Stat(mount.Source)
	if err != nil {
		return err
	}
	target, err := within(root, mount.Target)
	if err != nil {
		return err
	}
	if err := mountPoint(target, info.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(mount.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !mount.ReadOnly {
		return nil
	}
	return unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

// within resolves links of target as the container will see them: /var/run is often a link to /run, and
// an absolute link must not lead out of root.
func within(root, target string) (string, error) {
	resolved := "/"
	rest := strings.Split(filepath.Clean("/"+target), "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		next := filepath.Join(resolved, name)
		link, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			resolved = next
			continue
		}
		if links++; links > 40 {
			return "", fmt.Errorf("too many links in %s", target)
		}
		if filepath.IsAbs(link) {
			resolved = "/"
		}
		rest = append(strings.Split(link, "/"), rest...)
	}
	return filepath.Join(root, resolved), nil
}

func mountPoint(target string, folder bool) error {
	if folder {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(target, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}

// pivot makes root the root of the mount namespace and lets go of the machine's.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Chdir("/")
}
