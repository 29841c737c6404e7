package node

import (
	"context"
	"log"
	"net/netip"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ferrogate/e2e/testbed/internal/network"
	"ferrogate/e2e/testbed/internal/volume"
)

// retryPause is the time between two attempts at something that a Pod waits for, such as a Secret.
const retryPause = 500 * time.Millisecond

// worker runs one Pod from its network to its last status.
type worker struct {
	node   *Node
	link   string
	folder string
	// ctx ends when the Pod shall end: on deletion, or when it vanished.
	ctx  context.Context
	stop context.CancelFunc
	// stopSidecars ends the init containers that run beside the others.
	stopSidecars context.CancelFunc
	// dirty wakes the reporter, ended lets it write the last status and stop.
	dirty, ended chan struct{}
	// objectsMu orders the rendering of volumes, which may be asked for from several sides.
	objectsMu sync.Mutex
	// cleaned: the folder is gone and stays so. Guarded by objectsMu.
	cleaned bool

	mu  sync.Mutex
	pod *corev1.Pod
	// retimed is closed and replaced when the deadline of termination changes.
	retimed chan struct{}
	// deadline for the Pod's processes, once it is terminating.
	deadline time.Time
	ips      []string
	network  *network.PodNamespace
	started  metav1.Time
	// waiting is why no container runs yet.
	waiting string
	// rendered tells that volumes have been made, so that changes of objects matter.
	rendered bool
	finished bool
	// transitions remembers since when conditions have their status.
	transitions []corev1.PodCondition
	inits       []*unit
	apps        []*unit
}

func newWorker(node *Node, pod *corev1.Pod, link string) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	sidecars, stopSidecars := context.WithCancel(context.Background())
	w := &worker{
		node: node, link: link, folder: node.folder(pod.UID), ctx: ctx, stop: cancel, stopSidecars: stopSidecars,
		dirty: make(chan struct{}, 1), ended: make(chan struct{}), retimed: make(chan struct{}), pod: pod, started: metav1.Now(),
	}
	for i := range pod.Spec.InitContainers {
		spec := &pod.Spec.InitContainers[i]
		if sidecar(spec) {
			w.inits = append(w.inits, newUnit(sidecars, spec))
		} else {
			w.inits = append(w.inits, newUnit(ctx, spec))
		}
	}
	for i := range pod.Spec.Containers {
		w.apps = append(w.apps, newUnit(ctx, &pod.Spec.Containers[i]))
	}
	return w
}

// current returns the Pod as last seen; it must not be changed.
func (w *worker) current() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

// update takes in a change of the Pod: its labels, or that it is to end.
func (w *worker) update(pod *corev1.Pod) {
	w.mu.Lock()
	changed := w.pod.ResourceVersion != pod.ResourceVersion
	w.pod = pod
	if pod.DeletionTimestamp != nil {
		// The timestamp is when the grace period ends.
		w.retime(pod.DeletionTimestamp.Time)
	}
	rendered := w.rendered
	w.mu.Unlock()
	if pod.DeletionTimestamp != nil {
		w.stop()
	} else if changed && rendered {
		w.renderAgain(func(v *corev1.Volume) bool { return v.DownwardAPI != nil || v.Projected != nil })
	}
}

// kill ends everything at once.
func (w *worker) kill() {
	w.mu.Lock()
	w.retime(time.Now())
	w.mu.Unlock()
	w.stop()
}

// retime brings the deadline forward; w.mu is held.
func (w *worker) retime(deadline time.Time) {
	if !w.deadline.IsZero() && !deadline.Before(w.deadline) {
		return
	}
	w.deadline = deadline
	close(w.retimed)
	w.retimed = make(chan struct{})
}

// end returns the deadline and a channel that closes when it changes.
func (w *worker) end() (time.Time, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deadline, w.retimed
}

// touch asks for a report of the Pod's state.
func (w *worker) touch() {
	select {
	case w.dirty <- struct{}{}:
	default:
	}
}

// run is the Pod's life.
func (w *worker) run() {
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		w.report()
	}()
	w.live()
	w.mu.Lock()
	w.finished = true
	w.mu.Unlock()
	close(w.ended)
	<-reported
	w.cleanUp()
	// A Pod that came to its end by itself stays as an object until somebody deletes it.
	<-w.ctx.Done()
	w.removeObject()
	w.node.forget(w.current().UID)
}

// live returns when all containers have ended for good.
func (w *worker) live() {
	w.touch()
	if !w.attempt("network", w.connect) || !w.attempt("volumes", w.makeVolumes) {
		return
	}
	w.mu.Lock()
	w.waiting, w.rendered = "", true
	w.mu.Unlock()
	w.touch()
	var all sync.WaitGroup
	if w.runInits(&all) {
		for _, unit := range w.apps {
			all.Go(func() { w.runUnit(unit) })
		}
		w.awaitApps()
	}
	// Sidecars end after the containers that they serve.
	w.stopSidecars()
	all.Wait()
}

// attempt repeats a step until it succeeds; false: the Pod is to end.
func (w *worker) attempt(what string, step func() error) bool {
	for {
		if w.ctx.Err() != nil {
			return false
		}
		err := step()
		if err == nil {
			return true
		}
		w.mu.Lock()
		news := w.waiting != err.Error()
		w.waiting = err.Error()
		w.mu.Unlock()
		if news {
			log.Printf("%s: %s: %v", w.name(), what, err)
			w.touch()
		}
		select {
		case <-w.ctx.Done():
		case <-time.After(retryPause):
		}
	}
}

func (w *worker) name() string {
	pod := w.current()
	return pod.Namespace + "/" + pod.Name
}

func (w *worker) connect() error {
	if w.current().Spec.HostNetwork {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ips = []string{network.NodeIP}
		return nil
	}
	var addresses []netip.Addr
	for _, pool := range w.node.pools {
		address, err := pool.Take(w.link)
		if err != nil {
			w.releaseAddresses()
			return err
		}
		addresses = append(addresses, address)
	}
	namespace, err := network.NewPodNamespace(addresses, w.link)
	if err != nil {
		w.releaseAddresses()
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.network, w.ips = namespace, nil
	for _, address := range addresses {
		w.ips = append(w.ips, address.String())
	}
	return nil
}

func (w *worker) releaseAddresses() {
	for _, pool := range w.node.pools {
		pool.Release(w.link)
	}
}

// makeVolumes fills all volumes of the Pod.
func (w *worker) makeVolumes() error {
	pod := w.current()
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !volume.Rendered(v) {
			continue
		}
		if err := w.render(pod, v); err != nil {
			return err
		}
	}
	return w.podFiles(pod)
}

func (w *worker) render(pod *corev1.Pod, v *corev1.Volume) error {
	w.objectsMu.Lock()
	defer w.objectsMu.Unlock()
	if w.cleaned {
		return nil
	}
	files, err := volume.Render(w.ctx, w.node.objects, pod, v)
	if err != nil {
		return err
	}
	return volume.Write(volume.Folder(w.folder, v.Name), files, fsGroup(pod))
}

// renderAgain brings the chosen volumes up to date; a failure leaves the old files, as in a kubelet.
func (w *worker) renderAgain(chosen func(*corev1.Volume) bool) {
	pod := w.current()
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; volume.Rendered(v) && chosen(v) && w.ctx.Err() == nil {
			if err := w.render(pod, v); err != nil {
				log.Printf("%s: %v", w.name(), err)
			}
		}
	}
}

func (w *worker) objectChanged(kind, namespace, name string) {
	w.mu.Lock()
	concerned := w.rendered && w.pod.Namespace == namespace
	w.mu.Unlock()
	if concerned {
		w.renderAgain(func(v *corev1.Volume) bool { return volume.Names(v, kind, name) })
	}
}

func (w *worker) renewTokens() {
	w.mu.Lock()
	rendered := w.rendered
	w.mu.Unlock()
	if rendered {
		w.renderAgain(volume.HasToken)
	}
}

// cleanUp gives back the Pod's network and files.
func (w *worker) cleanUp() {
	w.mu.Lock()
	namespace := w.network
	w.network, w.rendered = nil, false
	w.mu.Unlock()
	if namespace != nil {
		if err := namespace.Close(); err != nil {
			log.Printf("%s: network: %v", w.name(), err)
		}
		w.releaseAddresses()
	}
	w.objectsMu.Lock()
	defer w.objectsMu.Unlock()
	w.cleaned = true
	if err := os.RemoveAll(w.folder); err != nil {
		log.Printf("%s: %v", w.name(), err)
	}
	w.node.objects.forget(w.current().UID)
}

func fsGroup(pod *corev1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}
