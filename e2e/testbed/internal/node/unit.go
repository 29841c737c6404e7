package node

import (
	"context"
	"fmt"
	"log"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ferrogate/e2e/testbed/internal/container"
	"ferrogate/e2e/testbed/internal/probe"
)

// Restarts: the first is immediate, the next waits a second, each further one twice as long. A kubelet's
// times are ten times that, which no test shall wait for.
const (
	firstBackOff = time.Second
	mostBackOff  = 30 * time.Second
	// steadyAfter: a container that ran this long starts with a clean record.
	steadyAfter = time.Minute
	// leastGrace remains for SIGTERM when hooks have used up the grace period, as in a kubelet.
	leastGrace = 2 * time.Second
)

// unit is one container of a Pod over all its restarts. Its fields are guarded by worker.mu.
type unit struct {
	spec *corev1.Container
	// ctx ends when the container shall end for good.
	ctx     context.Context
	process *container.Process
	// reason and message say why it waits.
	reason, message string
	// now is how the present run ended, last the one before.
	now, last *corev1.ContainerStateTerminated
	restarts  int32
	runs      int
	isStarted bool
	isReady   bool
	done      bool
	// succeeded tells that an init container has done its work.
	succeeded bool
}

func newUnit(ctx context.Context, spec *corev1.Container) *unit {
	return &unit{ctx: ctx, spec: spec, reason: "ContainerCreating"}
}

func sidecar(spec *corev1.Container) bool {
	return spec.RestartPolicy != nil && *spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// runInits runs the init containers one after the other; true: all did their work. Sidecars go on in
// the background, each one started before the next container begins.
func (w *worker) runInits(all *sync.WaitGroup) bool {
	for _, u := range w.inits {
		if sidecar(u.spec) {
			all.Go(func() { w.runUnit(u) })
			if !w.await(func() bool { return u.isStarted }) {
				return false
			}
			continue
		}
		w.runUnit(u)
		w.mu.Lock()
		u.succeeded = u.now != nil && u.now.ExitCode == 0
		ok := u.succeeded
		w.mu.Unlock()
		w.touch()
		if !ok {
			return false
		}
	}
	return w.ctx.Err() == nil
}

// await waits for a condition on the Pod's state; false: the Pod is to end.
func (w *worker) await(met func() bool) bool {
	for {
		w.mu.Lock()
		ok := met()
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-w.ctx.Done():
			return false
		case <-time.After(checkPause):
		}
	}
}

// checkPause is how often a sidecar's start and the end of containers are looked for.
const checkPause = 20 * time.Millisecond

// awaitApps returns when all app containers have ended for good.
func (w *worker) awaitApps() {
	for _, u := range w.apps {
		for {
			w.mu.Lock()
			done := u.done
			w.mu.Unlock()
			if done {
				break
			}
			time.Sleep(checkPause)
		}
	}
}

// runUnit starts a container again and again, as the restart policy asks.
func (w *worker) runUnit(u *unit) {
	defer func() {
		w.mu.Lock()
		u.done, u.isReady, u.isStarted = true, false, false
		w.mu.Unlock()
		w.touch()
	}()
	var backOff time.Duration
	for u.ctx.Err() == nil {
		began := time.Now()
		failure := w.runOnce(u)
		if failure == nil && !w.restarts(u) {
			return
		}
		if time.Since(began) > steadyAfter {
			backOff = 0
		}
		w.mu.Lock()
		if failure != nil {
			u.reason, u.message = "CreateContainerError", failure.Error()
		} else {
			u.reason = "CrashLoopBackOff"
			u.message = fmt.Sprintf("back-off %s restarting failed container %s", backOff, u.spec.Name)
		}
		w.mu.Unlock()
		if failure != nil {
			log.Printf("%s: container %s: %v", w.name(), u.spec.Name, failure)
			backOff = max(backOff, firstBackOff)
		}
		w.touch()
		select {
		case <-u.ctx.Done():
		case <-time.After(backOff):
		}
		backOff = min(max(2*backOff, firstBackOff), mostBackOff)
	}
}

// restarts decides after a run.
func (w *worker) restarts(u *unit) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.ctx.Err() != nil {
		return false
	}
	if sidecar(u.spec) {
		return true
	}
	isInit := false
	for _, init := range w.inits {
		isInit = isInit || init == u
	}
	policy := w.pod.Spec.RestartPolicy
	if isInit && policy == corev1.RestartPolicyAlways {
		policy = corev1.RestartPolicyOnFailure
	}
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return u.now.ExitCode != 0
	default:
		return true
	}
}

// runOnce starts the container and sees it to its end. An error means that it did not start.
func (w *worker) runOnce(u *unit) error {
	process, err := w.start(u)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(u.ctx)
	defer cancel(nil)
	w.mu.Lock()
	if u.now != nil {
		u.last = u.now
		u.restarts++
	}
	u.process, u.now, u.reason, u.message = process, nil, "", ""
	u.runs++
	u.isStarted, u.isReady = u.spec.StartupProbe == nil, u.spec.StartupProbe == nil && u.spec.ReadinessProbe == nil
	w.mu.Unlock()
	w.touch()

	ended, endProbes := context.WithCancel(context.Background())
	go w.supervise(ctx, ended, u, process, cancel)
	select {
	case <-process.Ended:
	case <-ctx.Done():
		log.Printf("%s: container %s is stopped: %v", w.name(), u.spec.Name, context.Cause(ctx))
		w.stopContainer(u, process)
	}
	endProbes()
	w.recordEnd(u, process, context.Cause(ctx))
	return nil
}

// supervise runs the hook after the start, then the probes. Readiness goes on while the Pod terminates,
// so that endpoints which still serve are told from those that do not.
func (w *worker) supervise(ctx, ended context.Context, u *unit, process *container.Process,
	cancel context.CancelCauseFunc,
) {
	if lifecycle := u.spec.Lifecycle; lifecycle != nil && lifecycle.PostStart != nil {
		if err := w.hook(ctx, u, process, lifecycle.PostStart); err != nil {
			cancel(fmt.Errorf("PostStartHookError: %w", err))
			return
		}
	}
	if p := u.spec.StartupProbe; p != nil {
		passing := false
		probe.Run(ctx, probe.Startup, p, w.try(u, process, p), func(ok bool, err error) {
			if passing = ok; !ok {
				cancel(fmt.Errorf("startup probe failed: %w", err))
			}
		})
		if !passing {
			return
		}
		w.mu.Lock()
		u.isStarted, u.isReady = true, u.spec.ReadinessProbe == nil
		w.mu.Unlock()
		w.touch()
	}
	if p := u.spec.LivenessProbe; p != nil {
		go probe.Run(ctx, probe.Liveness, p, w.try(u, process, p), func(ok bool, err error) {
			if !ok {
				cancel(fmt.Errorf("liveness probe failed: %w", err))
			}
		})
	}
	if p := u.spec.ReadinessProbe; p != nil {
		probe.Run(ended, probe.Readiness, p, w.try(u, process, p), func(ok bool, err error) {
			w.mu.Lock()
			// A late answer says nothing of a container that has ended.
			changed := u.isReady != ok && u.process == process && u.now == nil
			if changed {
				u.isReady = ok
			}
			w.mu.Unlock()
			if changed {
				reason := "the probe succeeds"
				if err != nil {
					reason = err.Error()
				}
				log.Printf("%s: container %s: ready: %v: %s", w.name(), u.spec.Name, ok, reason)
				w.touch()
			}
		})
	}
}

// stopContainer ends a run in order: hook, SIGTERM, and SIGKILL when the grace period is over.
func (w *worker) stopContainer(u *unit, process *container.Process) {
	deadline, retimed := w.end()
	if deadline.IsZero() {
		// Only this container ends, by a probe.
		deadline = time.Now().Add(w.grace(u))
	}
	if lifecycle := u.spec.Lifecycle; lifecycle != nil && lifecycle.PreStop != nil {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		go func() {
			select {
			case <-ctx.Done():
			case <-process.Ended:
				cancel()
			case <-retimed:
				cancel()
			}
		}()
		if err := w.hook(ctx, u, process, lifecycle.PreStop); err != nil {
			log.Printf("%s: container %s: preStop: %v", w.name(), u.spec.Name, err)
		}
		cancel()
	}
	log.Printf("%s: container %s: SIGTERM to %d", w.name(), u.spec.Name, process.PID)
	process.Signal(syscall.SIGTERM)
	least := time.Now().Add(leastGrace)
	for {
		if current, changed := w.end(); !current.IsZero() {
			deadline, retimed = current, changed
		}
		patience := time.Until(deadline)
		if time.Until(least) > patience && !w.current().DeletionTimestamp.IsZero() && w.grace(u) > 0 {
			patience = time.Until(least)
		}
		timer := time.NewTimer(max(patience, 0))
		select {
		case <-process.Ended:
			timer.Stop()
			return
		case <-retimed:
			timer.Stop()
		case <-timer.C:
			process.Signal(syscall.SIGKILL)
			<-process.Ended
			return
		}
	}
}

// grace is the time that a container may take to end.
func (w *worker) grace(u *unit) time.Duration {
	pod := w.current()
	seconds := int64(30)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	if pod.DeletionGracePeriodSeconds != nil {
		seconds = *pod.DeletionGracePeriodSeconds
	} else if p := u.spec.LivenessProbe; p != nil && p.TerminationGracePeriodSeconds != nil {
		seconds = *p.TerminationGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}

// hook runs a lifecycle handler.
func (w *worker) hook(ctx context.Context, u *unit, process *container.Process, handler *corev1.LifecycleHandler) error {
	switch {
	case handler.Exec != nil:
		return w.exec(ctx, process, handler.Exec.Command)
	case handler.HTTPGet != nil:
		return probe.HTTP(ctx, handler.HTTPGet, u.spec, w.address())
	case handler.Sleep != nil:
		return probe.Sleep(ctx, handler.Sleep)
	case handler.TCPSocket != nil:
		return probe.TCP(ctx, handler.TCPSocket, u.spec, w.address())
	}
	return nil
}

// try makes the attempt that a probe describes.
func (w *worker) try(u *unit, process *container.Process, p *corev1.Probe) probe.Try {
	return func(ctx context.Context) error {
		switch {
		case p.Exec != nil:
			return w.exec(ctx, process, p.Exec.Command)
		case p.HTTPGet != nil:
			return probe.HTTP(ctx, p.HTTPGet, u.spec, w.address())
		case p.TCPSocket != nil:
			return probe.TCP(ctx, p.TCPSocket, u.spec, w.address())
		}
		return fmt.Errorf("this kind of probe is not supported by the test bed")
	}
}

// address is the Pod's first address.
func (w *worker) address() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ips) == 0 {
		return ""
	}
	return w.ips[0]
}

// addresses are all of the Pod's, IPv4 first.
func (w *worker) addresses() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ips
}
