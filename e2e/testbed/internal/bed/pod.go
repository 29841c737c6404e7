package bed

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ferrogate/e2e/testbed/internal/state"
)

// InsidePod is the role that runs inside of the bed on behalf of Enter and Signal.
const InsidePod = "inside-pod"

// Enter runs a command as root in the namespaces of a container, with the container's files, and returns
// its exit code. pod is NAMESPACE/NAME.
func Enter(path, pod, container string, args []string) (int, error) {
	return onPod(path, pod, container, append([]string{"exec"}, args...))
}

// Signal sends a signal, such as KILL, to the first process of a container.
func Signal(path, pod, container, signal string) error {
	code, err := onPod(path, pod, container, []string{"signal", signal})
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	return err
}

// onPod starts this binary inside of the bed, where the numbers of processes hold, unless it is there.
func onPod(path, pod, container string, args []string) (int, error) {
	dir, err := state.Resolve(path)
	if err != nil {
		return 0, err
	}
	namespace, name, ok := strings.Cut(pod, "/")
	if !ok {
		return 0, fmt.Errorf("%q is not NAMESPACE/POD", pod)
	}
	args = append([]string{dir.PodPID(namespace, name, container)}, args...)
	if os.Getenv(insideOf) == string(dir) {
		return RunInsidePod(args)
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	return Exec(path, append([]string{self, InsidePod}, args...))
}

// RunInsidePod is the inner side: a file with the number of a process, what to do, and arguments.
func RunInsidePod(args []string) (int, error) {
	if len(args) < 3 {
		return 0, fmt.Errorf("`%s` is started by other commands only", InsidePod)
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return 0, fmt.Errorf("this container does not run: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, err
	}
	if args[1] == "exec" {
		return runIn(pid, "/", args[2:], os.Environ())
	}
	signal := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(args[2]), "SIG"))
	if signal == 0 {
		return 0, fmt.Errorf("unknown signal %q", args[2])
	}
	return 0, syscall.Kill(pid, signal)
}
