package container

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Role and ExecRole are the names of the child's roles on the command line of this binary.
const (
	Role     = "container"
	ExecRole = "container-exec"
)

// Process is a running container.
type Process struct {
	// PID in the namespace of the bed.
	PID int
	// Started is when the program took over.
	Started time.Time
	// Ended is closed after the process and all below it are gone; Exit is valid then.
	Ended chan struct{}
	// Exit is how it ended.
	Exit Exit

	spec Spec
}

// Exit tells how a container ended.
type Exit struct {
	// Code is the exit code, or 128 + Signal.
	Code int
	// Signal that ended it, or 0.
	Signal int
	At     time.Time
}

// specFD and errorFD are the child's descriptors: it reads its Spec and reports why it failed.
const (
	specFD  = 3
	errorFD = 4
)

// Start runs a container with its output going to log. It returns after the program has taken over.
func Start(spec Spec, log *os.File) (*Process, error) {
	if err := os.MkdirAll(spec.Root, 0o755); err != nil {
		return nil, err
	}
	command, complaints, err := child(Role, spec, log, log)
	if err != nil {
		return nil, err
	}
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Setsid:     true,
	}
	if err := begin(command, complaints); err != nil {
		return nil, err
	}
	process := &Process{PID: command.Process.Pid, Started: time.Now(), Ended: make(chan struct{}), spec: spec}
	go func() {
		process.Exit = exitOf(command.Wait())
		close(process.Ended)
	}()
	return process, nil
}

// child prepares this binary in a role; the Spec waits in a pipe.
func child(role string, spec any, out, errs *os.File) (*exec.Cmd, *os.File, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, nil, err
	}
	// A file rather than a pipe: a Spec with Envoy's bootstrap may be larger than a pipe holds.
	fd, err := unix.MemfdCreate("spec", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	input := os.NewFile(uintptr(fd), "spec")
	if _, err := input.WriteAt(data, 0); err != nil {
		return nil, nil, errors.Join(err, input.Close())
	}
	complaints, report, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, input.Close())
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	command := exec.Command(self, role)
	command.Stdout, command.Stderr = out, errs
	command.Env = []string{}
	command.ExtraFiles = []*os.File{input, report}
	return command, complaints, nil
}

// forks are calls for the thread of forker.
var forks = make(chan func())

func init() { go forker() }

// forker starts all children by one thread that never ends. A program may ask to be signalled when its parent ends, as
// Envoy does, and to the kernel the parent is the thread that made it; Go ends threads at will: those that worked in a
// network namespace, for one.
func forker() {
	runtime.LockOSThread()
	for fork := range forks {
		fork()
	}
}

// start starts a command on the thread of forker.
func start(command *exec.Cmd) error {
	result := make(chan error)
	forks <- func() { result <- command.Start() }
	return <-result
}

// begin starts a child and waits until its program runs: then the pipe of complaints ends empty.
func begin(command *exec.Cmd, complaints *os.File) error {
	defer complaints.Close()
	err := start(command)
	for _, file := range command.ExtraFiles {
		_ = file.Close()
	}
	if err != nil {
		return err
	}
	complaint, err := io.ReadAll(complaints)
	if err == nil && len(complaint) > 0 {
		err = errors.New(string(complaint))
	}
	if err != nil {
		_ = command.Process.Kill()
		_ = command.Wait()
	}
	return err
}

func exitOf(err error) Exit {
	exit := Exit{At: time.Now()}
	var failed *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &failed):
		status, ok := failed.Sys().(syscall.WaitStatus)
		if ok && status.Signaled() {
			exit.Signal = int(status.Signal())
			exit.Code = 128 + exit.Signal
		} else {
			exit.Code = failed.ExitCode()
		}
	default:
		exit.Code = -1
	}
	return exit
}

// Signal sends a signal to the container's first process. As process 1 of its namespace it ignores
// signals that it has no handler for, but for SIGKILL: as in any container.
func (p *Process) Signal(signal syscall.Signal) {
	select {
	case <-p.Ended:
	default:
		_ = syscall.Kill(p.PID, signal)
	}
}

// ExecSpec is what `container-exec` needs.
type ExecSpec struct {
	// PID of the container's first process.
	PID int `json:"pid"`
	// Spec of the container: user, environment and limits are the same.
	Spec Spec `json:"spec"`
	// Args replace those of Spec.
	Args []string `json:"args"`
}

// Command prepares a command inside of the container; its output goes to the given files.
func (p *Process) Command(args []string, out, errs *os.File) (*Command, error) {
	inner, complaints, err := child(ExecRole, ExecSpec{p.PID, p.spec, args}, out, errs)
	if err != nil {
		return nil, err
	}
	return &Command{Cmd: inner, complaints: complaints}, nil
}

// Command is a command inside of a container.
type Command struct {
	*exec.Cmd
	complaints *os.File
}

// Run runs the command to its end, or kills it when ctx ends; it fails only if the command could not be
// started or was killed.
func (c *Command) Run(ctx context.Context) (Exit, error) {
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := begin(c.Cmd, c.complaints); err != nil {
		return Exit{}, err
	}
	ended := make(chan Exit, 1)
	go func() { ended <- exitOf(c.Wait()) }()
	select {
	case exit := <-ended:
		return exit, nil
	case <-ctx.Done():
		// The command is in the session that its helper leads.
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		return <-ended, ctx.Err()
	}
}

// Remove deletes the root of an ended container.
func Remove(root string) error {
	// Upper layers may hold files of any owner and mode; as root that is no hindrance.
	return os.RemoveAll(filepath.Clean(root))
}
