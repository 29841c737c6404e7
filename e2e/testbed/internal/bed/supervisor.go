package bed

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ferrogate/e2e/testbed/internal/state"
)

// restartPause keeps a process that cannot start from spinning.
const restartPause = time.Second

// supervisor keeps the processes of the bed running and takes orders for them, so that tests can play
// an API server that is down or hangs.
type supervisor struct {
	dir   state.Dir
	self  string
	fatal chan error

	mu        sync.Mutex
	processes map[string]*process
	order     []string
}

// process is a component and its present run.
type process struct {
	component
	// command is nil while the process does not run.
	command *exec.Cmd
	// wanted: it is started again when it ends.
	wanted bool
	paused bool
	starts int
}

func newSupervisor(dir state.Dir, parts []component) (*supervisor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &supervisor{dir: dir, self: self, fatal: make(chan error, 1), processes: map[string]*process{}}
	for _, part := range parts {
		s.processes[part.name] = &process{component: part}
		s.order = append(s.order, part.name)
	}
	return s, nil
}

// start runs a component until it is told to stop.
func (s *supervisor) start(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.processes[name]
	if !ok {
		return fmt.Errorf("no process %q; there are %v", name, s.order)
	}
	p.wanted = true
	if p.command != nil {
		return nil
	}
	return s.run(p)
}

// run starts a process; s.mu is held, so that reap sees only processes that it can tell from orphans.
func (s *supervisor) run(p *process) error {
	file, err := os.OpenFile(s.dir.Log(p.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	command := exec.Command(s.self, append([]string{p.name}, p.args...)...)
	command.Stdout, command.Stderr = file, file
	// Collected by `testbed exec` and kubectl alike, so nothing of the terminal's settings gets here.
	command.Env = append(os.Environ(), "KUBECONFIG="+s.dir.Kubeconfig())
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.command, p.paused = command, false
	p.starts++
	go s.await(p, command)
	return nil
}

// await handles the end of one run.
func (s *supervisor) await(p *process, command *exec.Cmd) {
	err := command.Wait()
	s.mu.Lock()
	p.command = nil
	wanted := p.wanted
	s.mu.Unlock()
	if !wanted {
		log.Printf("%s: stopped (%v)", p.name, err)
		return
	}
	log.Printf("%s: ended by itself: %v", p.name, err)
	if p.vital {
		s.fatal <- fmt.Errorf("%s ended: %v\n%s", p.name, err, tail(s.dir, p.name))
		return
	}
	time.Sleep(restartPause)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.wanted && p.command == nil {
		if err := s.run(p); err != nil {
			log.Print(err)
		}
	}
}

// stop ends a process and leaves it down.
func (s *supervisor) stop(name string, with syscall.Signal) error {
	return s.signal(name, with, func(p *process) { p.wanted = false })
}

// signal sends a signal to a running process.
func (s *supervisor) signal(name string, signal syscall.Signal, also func(p *process)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.processes[name]
	if !ok {
		return fmt.Errorf("no process %q; there are %v", name, s.order)
	}
	also(p)
	if p.command == nil {
		return nil
	}
	return p.command.Process.Signal(signal)
}

// reap collects orphans that fell to process 1. It leaves processes of the supervisor to their waiters.
func (s *supervisor) reap() {
	children := make(chan os.Signal, 16)
	signal.Notify(children, syscall.SIGCHLD)
	for range children {
		for s.reapOne() {
		}
	}
}

// reapOne reports whether there may be more to collect.
func (s *supervisor) reapOne() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var info unix.Siginfo
	const peek = unix.WEXITED | unix.WNOHANG | unix.WNOWAIT
	if err := unix.Waitid(unix.P_ALL, 0, &info, peek, nil); err != nil || info.Signo == 0 {
		return false
	}
	pid := childOf(&info)
	for _, p := range s.processes {
		if p.command != nil && p.command.Process.Pid == pid {
			// Its waiter collects it; orphans behind it come with the next signal.
			return false
		}
	}
	_, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
	return err == nil
}
