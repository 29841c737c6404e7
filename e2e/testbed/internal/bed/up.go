// Package bed starts, enters and ends a test bed: one process 1 with everything below it, in namespaces
// of its own.
//
// The kernel ends all processes of a PID namespace with its process 1, and takes networks and mounts away
// with their last user. So a bed is ended by one SIGKILL, and nothing is left whoever died first.
package bed

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ferrogate/e2e/testbed/internal/network"
	"ferrogate/e2e/testbed/internal/pki"
	"ferrogate/e2e/testbed/internal/preflight"
	"ferrogate/e2e/testbed/internal/state"
)

// Options of `up`.
type Options struct {
	// State is the path of the state folder.
	State string
	// Images are files of the image map; a later file comes first.
	Images []string
	// Forwards are LISTEN=TARGET pairs: a host address and where inside of the bed it leads.
	Forwards []string
	// IPv6 gives Pods and Services a second address family.
	IPv6 bool
	// Detach returns once the bed is ready and leaves it running.
	Detach bool
	// Timeout until everything is ready.
	Timeout time.Duration
	// APIReady is called on the host when the API server answers; `up` waits for it.
	APIReady func(dir state.Dir) error
}

// Up starts a bed and prints the time of each part. Without Detach it stays until the bed ends or a
// signal asks for it.
func Up(options Options) error {
	if err := preflight.Check(); err != nil {
		return err
	}
	dir, err := state.Open(options.State)
	if err != nil {
		return err
	}
	if _, running := dir.Running(); running {
		return fmt.Errorf("%s is up already; run: %s down --state %s", dir, os.Args[0], dir)
	}
	// Logs of the bed before were kept until now.
	if err := errors.Join(dir.Clean(), os.RemoveAll(dir.Logs())); err != nil {
		return err
	}
	if dir, err = state.Open(string(dir)); err != nil {
		return err
	}
	began := time.Now()
	root, err := launch(dir, options)
	if err != nil {
		return err
	}
	if err := root.awaitReady(dir, options, began); err != nil {
		return errors.Join(err, Down(string(dir)))
	}
	fmt.Printf("ready      %5.1f s\nkubeconfig %s\nlogs       %s\n", time.Since(began).Seconds(), dir.Kubeconfig(), dir.Logs())
	if options.Detach {
		// Tells the root process to outlive us.
		_, err := root.lifeline.Write([]byte{1})
		return err
	}
	return root.stay(dir)
}

// root is process 1 of a bed, seen by the process that started it.
type root struct {
	command *exec.Cmd
	// progress ends with the root process.
	progress *os.File
	// lifeline: the root process ends when this end is closed without a word.
	lifeline *os.File
}

// launch starts process 1 with the host's listeners: a socket stays in the network namespace that it was
// made in, so the bed accepts on the host's loopback without any process outside.
func launch(dir state.Dir, options Options) (*root, error) {
	api, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer api.Close()
	port := api.Addr().(*net.TCPAddr).Port
	hosts := []string{"127.0.0.1", "localhost", network.NodeIP, network.KubernetesIP, "kubernetes",
		"kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + network.Domain}
	if err := pki.Create(dir, fmt.Sprintf("https://127.0.0.1:%d", port), hosts); err != nil {
		return nil, err
	}
	progressRead, progressWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer progressWrite.Close()
	lifelineRead, lifelineWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer lifelineRead.Close()

	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.Command(self, "inside", "--state", string(dir), "--port", strconv.Itoa(port))
	command.ExtraFiles = []*os.File{progressWrite, lifelineRead}
	targets := []string{fmt.Sprintf("127.0.0.1:%d", port)}
	listeners := []net.Listener{api}
	for _, forward := range options.Forwards {
		listener, target, err := listen(forward)
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		listeners, targets = append(listeners, listener), append(targets, target)
	}
	for i, listener := range listeners {
		file, err := listener.(*net.TCPListener).File()
		if err != nil {
			return nil, err
		}
		defer file.Close()
		command.ExtraFiles = append(command.ExtraFiles, file)
		command.Args = append(command.Args, "--forward", targets[i])
	}
	if options.IPv6 {
		command.Args = append(command.Args, "--ipv6")
	}
	for _, file := range options.Images {
		command.Args = append(command.Args, "--images", file)
	}
	if err := start(command, dir); err != nil {
		return nil, err
	}
	if started, err := state.StartTime(command.Process.Pid); err == nil {
		if err := dir.Save(state.Instance{PID: command.Process.Pid, Started: started, Port: port}); err != nil {
			_ = command.Process.Kill()
			return nil, err
		}
	}
	return &root{command, progressRead, lifelineWrite}, nil
}

// listen opens the host side of LISTEN=TARGET; LISTEN is a port or ADDRESS:PORT, loopback by default.
func listen(forward string) (net.Listener, string, error) {
	from, target, ok := strings.Cut(forward, "=")
	if !ok {
		return nil, "", fmt.Errorf("--forward %q: want LISTEN=TARGET, such as 8080=10.98.0.1:80", forward)
	}
	if !strings.Contains(from, ":") {
		from = "127.0.0.1:" + from
	}
	listener, err := net.Listen("tcp", from)
	return listener, target, err
}

func start(command *exec.Cmd, dir state.Dir) error {
	log, err := os.Create(dir.Log("bed"))
	if err != nil {
		return err
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		// A Ctrl-C of the terminal ends `up`, which ends the bed in order.
		Setsid: true,
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("new namespaces: %w", err)
	}
	return nil
}

// awaitReady prints what the root process reports, and runs APIReady beside it.
func (r *root) awaitReady(dir state.Dir, options Options, began time.Time) error {
	deadline := time.AfterFunc(options.Timeout, func() { _ = r.progress.Close() })
	defer deadline.Stop()
	applied := make(chan error, 1)
	lines := bufio.NewScanner(r.progress)
	for lines.Scan() {
		var event Event
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return err
		}
		if event.Error != "" {
			return fmt.Errorf("%s: %s\n%s", event.Part, event.Error, tail(dir, event.Part))
		}
		if event.Part == "" {
			return <-applied
		}
		fmt.Printf("%-24s %5.1f s\n", event.Part, event.Seconds)
		if event.Part == apiServer {
			go func() {
				err := options.APIReady(dir)
				if err == nil {
					fmt.Printf("%-24s %5.1f s\n", "manifests", time.Since(began).Seconds())
				}
				applied <- err
			}()
		}
	}
	if !deadline.Stop() {
		return fmt.Errorf("not ready after %s; see %s", options.Timeout, dir.Logs())
	}
	return fmt.Errorf("the bed ended while it started\n%s", tail(dir, "bed"))
}

// stay waits for the end of the bed, or for a signal and then ends it.
func (r *root) stay(dir state.Dir) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ended := make(chan error, 1)
	go func() { ended <- r.command.Wait() }()
	select {
	case <-signals:
		err := Down(string(dir))
		<-ended
		return err
	case <-ended:
		if _, err := dir.Load(); errors.Is(err, os.ErrNotExist) {
			return nil // `down` was called
		}
		return fmt.Errorf("the bed ended by itself\n%s", tail(dir, "bed"))
	}
}

// tail returns the last lines of a log.
func tail(dir state.Dir, process string) string {
	const most = 4 << 10
	file, err := os.Open(dir.Log(process))
	if err != nil {
		return ""
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err == nil && size > most {
		_, _ = file.Seek(size-most, io.SeekStart)
	} else {
		_, _ = file.Seek(0, io.SeekStart)
	}
	data, _ := io.ReadAll(file)
	return fmt.Sprintf("--- end of %s\n%s", file.Name(), data)
}
