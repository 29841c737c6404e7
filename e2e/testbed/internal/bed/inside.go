package bed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ferrogate/e2e/testbed/internal/network"
	"ferrogate/e2e/testbed/internal/state"
)

// Event is a line that the root process reports while the bed starts. An empty Part without Error means
// that everything is ready.
type Event struct {
	Part    string  `json:"part,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// InsideOptions are what `up` hands to process 1.
type InsideOptions struct {
	State    string
	Port     int
	Images   []string
	Forwards []string
	IPv6     bool
}

// The descriptors that `up` passes, in the order of ExtraFiles.
const (
	progressFD = 3
	lifelineFD = 4
	listenerFD = 5
)

// Inside is process 1 of the bed: it sets up the namespaces, keeps the processes running, and never
// returns but for an error, which ends the bed.
func Inside(options InsideOptions) error {
	if os.Getpid() != 1 {
		return errors.New("`inside` is started by `up` only")
	}
	reports := &reporter{out: os.NewFile(progressFD, "progress"), began: time.Now()}
	dir := state.Dir(options.State)
	err := inside(dir, options, reports)
	reports.send(Event{Part: "bed", Error: err.Error()})
	return err
}

func inside(dir state.Dir, options InsideOptions, reports *reporter) error {
	go awaitLifeline(os.NewFile(lifelineFD, "lifeline"))
	if err := mounts(dir); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(NodeName)); err != nil {
		return err
	}
	if err := network.SetupRoot(options.IPv6); err != nil {
		return err
	}
	for i, target := range options.Forwards {
		if err := forward(os.NewFile(uintptr(listenerFD+i), target), target); err != nil {
			return fmt.Errorf("forward to %s: %w", target, err)
		}
	}
	reports.ready("namespaces")
	processes, err := newSupervisor(dir, components(dir, options))
	if err != nil {
		return err
	}
	go processes.reap()
	if err := processes.serveOrders(); err != nil {
		return err
	}
	if err := bringUp(dir, options, processes, reports); err != nil {
		return err
	}
	reports.send(Event{})
	return <-processes.fatal
}

// awaitLifeline ends the bed when `up` is gone without having said that the bed shall stay.
func awaitLifeline(lifeline *os.File) {
	if n, _ := lifeline.Read(make([]byte, 1)); n == 0 {
		log.Print("`up` is gone: the bed ends")
		os.Exit(1)
	}
}

// mounts makes the mount namespace private, with a /proc of its own, the tmpfs for everything that is to
// vanish with the bed, and a resolv.conf that names the bed's DNS server.
func mounts(dir state.Dir) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", dir.Run(), "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount %s: %w", dir.Run(), err)
	}
	resolv := filepath.Join(dir.Run(), "resolv.conf")
	content := fmt.Sprintf("nameserver %s\nsearch svc.%s %s\noptions ndots:5\n",
		network.DNSIP, network.Domain, network.Domain)
	if err := os.WriteFile(resolv, []byte(content), 0o644); err != nil {
		return err
	}
	// The file is often a link into /run.
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return fmt.Errorf("/etc/resolv.conf is needed as a mount point: %w", err)
	}
	if err := unix.Mount(resolv, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

// reporter writes events for `up`; after a detached `up` has gone nobody reads them.
type reporter struct {
	mu    sync.Mutex
	out   io.Writer
	began time.Time
}

func (r *reporter) ready(part string) {
	log.Printf("%s: ready", part)
	r.send(Event{Part: part, Seconds: time.Since(r.began).Seconds()})
}

func (r *reporter) send(event Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line, err := json.Marshal(event)
	if err == nil {
		_, _ = r.out.Write(append(line, '\n'))
	}
	if event.Error != "" {
		log.Printf("%s: %s", event.Part, strings.TrimSpace(event.Error))
	}
}
