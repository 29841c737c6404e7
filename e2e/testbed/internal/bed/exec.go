package bed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"ferrogate/e2e/testbed/internal/container"
	"ferrogate/e2e/testbed/internal/state"
)

// insideOf is the variable that tells a command the bed that it runs in.
const insideOf = "TESTBED_INSIDE"

// Exec runs a command in the bed's root namespaces, with KUBECONFIG set, and returns its exit code.
// The command sees the host's files but for /proc and /etc/resolv.conf; it ends with the bed.
func Exec(path string, args []string) (int, error) {
	dir, err := state.Resolve(path)
	if err != nil {
		return 0, err
	}
	instance, running := dir.Running()
	if !running {
		return 0, fmt.Errorf("no bed is up in %s", dir)
	}
	folder, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	env := append(os.Environ(), "KUBECONFIG="+dir.Kubeconfig(), "TESTBED_STATE="+string(dir), insideOf+"="+string(dir))
	return runIn(instance.PID, folder, args, env)
}

// runIn runs a command in the namespaces of a process and returns its exit code.
func runIn(pid int, folder string, args, env []string) (int, error) {
	// Only this thread changes its namespaces; it is never unlocked, so nothing else runs on it.
	runtime.LockOSThread()
	if err := container.Enter(pid); err != nil {
		return 0, err
	}
	// Entering a mount namespace moves to its root.
	if err := os.Chdir(folder); err != nil {
		return 0, err
	}
	command := exec.Command(args[0], args[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.Env = env
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := command.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = command.Process.Signal(s)
		}
	}()
	err := command.Wait()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil // as shells report it
		}
		return failed.ExitCode(), nil
	}
	return 0, err
}
