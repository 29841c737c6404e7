package bed

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"ferrogate/e2e/testbed/internal/gate"
	"ferrogate/e2e/testbed/internal/state"
)

// Order tells the bed what to do with one of its processes.
type Order struct {
	// Verb: list, stop (SIGTERM), kill (SIGKILL, comes back), down (SIGKILL, stays down), start, pause, resume;
	// or fault, compact.
	Verb    string `json:"verb"`
	Process string `json:"process,omitempty"`
	// Faults for the verb `fault`.
	Faults *gate.Faults `json:"faults,omitempty"`
}

// reply is the answer to an Order.
type reply struct {
	Lines []string `json:"lines,omitempty"`
	Error string   `json:"error,omitempty"`
}

// Ask sends an order to a running bed and returns the lines of its answer.
func Ask(path string, order Order) ([]string, error) {
	dir, err := state.Resolve(path)
	if err != nil {
		return nil, err
	}
	short, done, err := shortPath(dir.Control())
	if err != nil {
		return nil, err
	}
	defer done()
	connection, err := net.Dial("unix", short)
	if err != nil {
		return nil, fmt.Errorf("no bed is up in %s: %w", dir, err)
	}
	defer connection.Close()
	if err := json.NewEncoder(connection).Encode(order); err != nil {
		return nil, err
	}
	var answer reply
	if err := json.NewDecoder(connection).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s", answer.Error)
	}
	return answer.Lines, nil
}

// serveOrders listens on the control socket, a file: so it is reached from outside of the bed's network.
func (s *supervisor) serveOrders() error {
	short, done, err := shortPath(s.dir.Control())
	if err != nil {
		return err
	}
	defer done()
	listener, err := net.Listen("unix", short)
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go s.answer(connection)
		}
	}()
	return nil
}

// shortPath names a socket through a descriptor of its folder: socket addresses hold 107 bytes only.
func shortPath(path string) (string, func(), error) {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	short := fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path))
	return short, func() { _ = folder.Close() }, nil
}

func (s *supervisor) answer(connection net.Conn) {
	defer connection.Close()
	var order Order
	var answer reply
	err := json.NewDecoder(bufio.NewReader(connection)).Decode(&order)
	if err == nil {
		answer.Lines, err = s.obey(order)
	}
	if err != nil {
		answer.Error = err.Error()
	}
	_ = json.NewEncoder(connection).Encode(answer)
}

func (s *supervisor) obey(order Order) ([]string, error) {
	pause := func(paused bool) func(*process) { return func(p *process) { p.paused = paused } }
	switch order.Verb {
	case "list":
		return s.list(), nil
	case "start":
		return nil, s.start(order.Process)
	case "stop":
		return nil, s.stop(order.Process, syscall.SIGTERM)
	case "down":
		return nil, s.stop(order.Process, syscall.SIGKILL)
	case "kill":
		return nil, s.signal(order.Process, syscall.SIGKILL, func(*process) {})
	case "pause":
		return nil, s.signal(order.Process, syscall.SIGSTOP, pause(true))
	case "resume":
		return nil, s.signal(order.Process, syscall.SIGCONT, pause(false))
	case "fault":
		if order.Faults == nil {
			return nil, errors.New("no faults given")
		}
		return nil, gate.Write(s.dir.Faults(), *order.Faults)
	case "compact":
		return compact()
	default:
		verbs := []string{"list", "start", "stop", "down", "kill", "pause", "resume"}
		return nil, fmt.Errorf("unknown order %q; there are %s", order.Verb, strings.Join(verbs, ", "))
	}
}

// compact drops all history from etcd. The API server still has the newest events in memory until it is
// started again.
func compact() ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcdURL}, Context: ctx})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	current, err := client.Get(ctx, "compact")
	if err != nil {
		return nil, err
	}
	revision := current.Header.Revision
	if _, err := client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("history before revision %d is gone", revision)}, nil
}

func (s *supervisor) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, name := range s.order {
		p := s.processes[name]
		status := "down"
		switch {
		case p.command != nil && p.paused:
			status = fmt.Sprintf("paused, pid %d", p.command.Process.Pid)
		case p.command != nil:
			status = fmt.Sprintf("up, pid %d", p.command.Process.Pid)
		}
		lines = append(lines, fmt.Sprintf("%-24s %s, started %d times", name, status, p.starts))
	}
	return lines
}
