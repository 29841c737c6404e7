package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// childFiles are the pipes of a child. They are kept for its whole life: a file that the garbage collector
// finds unused is closed, and its number may then be another file's.
var childFiles struct{ spec, complaint *os.File }

// Run is the child's side of Start: on success it becomes the container's program.
func Run() error {
	runtime.LockOSThread()
	var spec Spec
	return report(func() error {
		if err := readSpec(&spec); err != nil {
			return err
		}
		if err := joinNetwork(spec.Network); err != nil {
			return err
		}
		if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
			return err
		}
		if err := buildRoot(&spec); err != nil {
			return err
		}
		return become(&spec, spec.Args)
	})
}

// Exec is the child's side of Command: a helper that enters the container's namespaces and runs the
// command as its child, because a PID namespace holds for children only.
func Exec() error {
	if len(os.Args) > 2 && os.Args[2] == "inner" {
		return execInner()
	}
	runtime.LockOSThread()
	var spec ExecSpec
	var command *exec.Cmd
	err := report(func() error {
		if err := readSpec(&spec); err != nil {
			return err
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		// /proc/self/exe is looked up before the mount namespace changes.
		binary, err := os.Open(self)
		if err != nil {
			return err
		}
		if err := Enter(spec.PID); err != nil {
			return err
		}
		command = exec.Command(fmt.Sprintf("/proc/self/fd/%d", binary.Fd()), ExecRole, "inner")
		if _, err := childFiles.spec.Seek(0, 0); err != nil {
			return err
		}
		command.ExtraFiles = []*os.File{childFiles.spec, childFiles.complaint}
		command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
		command.Env = []string{}
		return command.Start()
	})
	if err != nil {
		return err
	}
	// The inner child alone holds the pipe now: it ends when the command runs.
	_ = childFiles.complaint.Close()
	exit := exitOf(command.Wait())
	os.Exit(exit.Code)
	return nil
}

// execInner runs inside of all namespaces of the container, with the container's root as its root.
func execInner() error {
	runtime.LockOSThread()
	return report(func() error {
		var spec ExecSpec
		if err := readSpec(&spec); err != nil {
			return err
		}
		return become(&spec.Spec, spec.Args)
	})
}

// report runs a step and tells the parent of its failure.
func report(step func() error) error {
	unix.CloseOnExec(specFD)
	unix.CloseOnExec(errorFD)
	childFiles.spec, childFiles.complaint = os.NewFile(specFD, "spec"), os.NewFile(errorFD, "complaint")
	err := step()
	if err != nil {
		_, _ = childFiles.complaint.WriteString(err.Error())
	}
	return err
}

func readSpec(into any) error {
	return json.NewDecoder(childFiles.spec).Decode(into)
}

func joinNetwork(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer unix.Close(fd)
	return unix.Setns(fd, unix.CLONE_NEWNET)
}

// Enter moves the calling thread into all namespaces of a process, for good: lock the thread before, and never
// unlock it. The PID namespace holds for children.
func Enter(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A thread that shares its root and working directory with others may not change mount namespaces.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	flags := unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if err := unix.Setns(fd, flags); err != nil {
		return fmt.Errorf("enter the namespaces of process %d (root is needed): %w", pid, err)
	}
	return nil
}

// become drops privileges in the order that allows each step, and runs the program.
func become(spec *Spec, args []string) error {
	if len(args) == 0 {
		return errors.New("neither the container nor its image has a command")
	}
	if err := os.Chdir(spec.Dir); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	program, err := lookPath(args[0], spec.Env)
	if err != nil {
		return err
	}
	if spec.LimitCapabilities {
		if err := limitCapabilities(spec.Capabilities); err != nil {
			return err
		}
	}
	if err := syscall.Setgroups(spec.Groups); err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	if err := syscall.Setgid(spec.Group); err != nil {
		return fmt.Errorf("group %d: %w", spec.Group, err)
	}
	if err := syscall.Setuid(spec.User); err != nil {
		return fmt.Errorf("user %d: %w", spec.User, err)
	}
	if spec.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	if err := syscall.Exec(program, args, spec.Env); err != nil {
		return fmt.Errorf("exec %s: %w", program, err)
	}
	return nil
}

// lookPath searches PATH of the container's environment in the container's root.
func lookPath(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, variable := range env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			path = value
		}
	}
	for _, folder := range filepath.SplitList(path) {
		file := filepath.Join(folder, program)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%q is not in PATH %s", program, path)
}

// limitCapabilities takes all others out of the bounding set; exec applies it to root.
func limitCapabilities(keep []uint) error {
	kept := map[uint]bool{}
	for _, capability := range keep {
		kept[capability] = true
	}
	for capability := uint(0); capability <= unix.CAP_LAST_CAP; capability++ {
		if kept[capability] {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0)
		// A kernel that does not know the capability has nothing to drop.
		if err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", capability, err)
		}
	}
	return nil
}
