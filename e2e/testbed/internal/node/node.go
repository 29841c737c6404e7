// Package node is a small kubelet: it runs the Pods of its Node as processes of this machine.
//
// One goroutine per Pod (worker) owns the Pod's life; one per container starts, probes and restarts it.
// The state of a Pod is reported as a whole whenever something in it changes, the latest state wins.
package node

import (
	"context"
	"fmt"
	"log"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"ferrogate/e2e/testbed/internal/image"
	"ferrogate/e2e/testbed/internal/network"
	"ferrogate/e2e/testbed/internal/state"
)

// Options of the stand-in.
type Options struct {
	State  string
	Name   string
	Images []string
	// IPv6 gives Pods a second address.
	IPv6 bool
}

// Node runs the Pods bound to it.
type Node struct {
	name   string
	dir    state.Dir
	client *kubernetes.Clientset
	images *image.Map
	// pools of Pod addresses: IPv4, and IPv6 if the bed has it.
	pools   []*network.Pool
	objects *objects

	mu      sync.Mutex
	workers map[types.UID]*worker
	// links counts the veth pairs, whose names must differ.
	links int
}

// Run registers the Node and runs its Pods until ctx ends.
func Run(ctx context.Context, options Options) error {
	dir := state.Dir(options.State)
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig())
	if err != nil {
		return err
	}
	// Statuses of many Pods change at once when a test begins.
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	images, err := image.NewMap(options.Images)
	if err != nil {
		return err
	}
	n := &Node{
		name: options.Name, dir: dir, client: client, images: images,
		pools:   []*network.Pool{network.NewPool(network.PodCIDR, network.FirstPod)},
		workers: map[types.UID]*worker{},
	}
	if options.IPv6 {
		n.pools = append(n.pools, network.NewPool(network.PodCIDR6, network.FirstPod6))
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	n.objects = newObjects(client, factory, n.objectChanged)
	if err := n.watchPods(ctx, factory); err != nil {
		return err
	}
	if err := n.serve(dir); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if err := n.register(ctx); err != nil {
		return err
	}
	log.Printf("Node %s is Ready", n.name)
	n.renewTokens(ctx)
	return ctx.Err()
}

// register creates the Node before any Pod gets a status: controllers skip Pods of unknown Nodes.
func (n *Node) register(ctx context.Context) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: n.name,
		Labels: map[string]string{
			corev1.LabelHostname:       n.name,
			corev1.LabelOSStable:       "linux",
			corev1.LabelTopologyZone:   "zone-a",
			corev1.LabelTopologyRegion: "region-a",
		},
	}}
	node.Spec.PodCIDR, node.Spec.PodCIDRs = network.PodCIDR, []string{network.PodCIDR}
	if len(n.pools) > 1 {
		node.Spec.PodCIDRs = append(node.Spec.PodCIDRs, network.PodCIDR6)
	}
	created, err := n.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the Node: %w", err)
	}
	// Admission taints a new Node as not ready, and no controller of the bed would take that back.
	created.Spec.Taints = nil
	if created, err = n.client.CoreV1().Nodes().Update(ctx, created, metav1.UpdateOptions{}); err != nil {
		return err
	}
	now := metav1.Now()
	created.Status = corev1.NodeStatus{
		Capacity: capacity(), Allocatable: capacity(),
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: network.NodeIP},
			{Type: corev1.NodeHostName, Address: n.name},
		},
		Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "StandIn",
			Message: "Pods run as processes of this machine", LastHeartbeatTime: now, LastTransitionTime: now,
		}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
		NodeInfo: corev1.NodeSystemInfo{
			OperatingSystem: "linux", KubeletVersion: "testbed", ContainerRuntimeVersion: "testbed://1",
			OSImage: "this machine",
		},
	}
	if len(n.pools) > 1 {
		created.Status.Addresses = append(created.Status.Addresses,
			corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: network.NodeIP6})
	}
	_, err = n.client.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{})
	return err
}

func (n *Node) watchPods(ctx context.Context, factory informers.SharedInformerFactory) error {
	_, err := factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.podChanged(ctx, object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { n.podChanged(ctx, object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if pod, ok := object.(*corev1.Pod); ok {
				n.podGone(pod.UID)
			}
		},
	})
	return err
}

func (n *Node) podChanged(ctx context.Context, pod *corev1.Pod) {
	if pod.Spec.NodeName == "" {
		if pod.DeletionTimestamp == nil && len(pod.Spec.SchedulingGates) == 0 {
			go n.bind(ctx, pod)
		}
		return
	}
	if pod.Spec.NodeName != n.name {
		return
	}
	n.mu.Lock()
	known := n.workers[pod.UID]
	finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if known == nil && !(finished && pod.DeletionTimestamp == nil) {
		n.links++
		known = newWorker(n, pod, fmt.Sprintf("pod%d", n.links))
		n.workers[pod.UID] = known
		go known.run()
	}
	n.mu.Unlock()
	if known != nil {
		known.update(pod)
	}
}

// podGone handles a Pod that vanished from the API server: nobody waits for its end any more.
func (n *Node) podGone(uid types.UID) {
	n.mu.Lock()
	known := n.workers[uid]
	n.mu.Unlock()
	if known != nil {
		known.kill()
	}
}

// forget is called by a worker whose Pod is gone.
func (n *Node) forget(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.workers, uid)
}

func (n *Node) all() []*worker {
	n.mu.Lock()
	defer n.mu.Unlock()
	workers := make([]*worker, 0, len(n.workers))
	for _, w := range n.workers {
		workers = append(workers, w)
	}
	return workers
}

// find returns the worker of a Pod by name.
func (n *Node) find(namespace, name string) *worker {
	for _, w := range n.all() {
		if pod := w.current(); pod.Namespace == namespace && pod.Name == name {
			return w
		}
	}
	return nil
}

// objectChanged renders the volumes that show a Secret or ConfigMap anew, at once: a kubelet would take
// up to a minute, which no test shall wait for.
func (n *Node) objectChanged(kind, namespace, name string) {
	for _, w := range n.all() {
		w.objectChanged(kind, namespace, name)
	}
}

// renewTokens looks after the tokens in volumes. Tokens live ten minutes at least and are asked for anew
// after 80 % of that time, so a look every 30 s is early enough.
func (n *Node) renewTokens(ctx context.Context) {
	ticker := time.NewTicker(30 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, w := range n.all() {
				w.renewTokens()
			}
		}
	}
}

// bind puts a Pod on the Node through the same call as a scheduler's, so that webhooks on it run.
func (n *Node) bind(ctx context.Context, pod *corev1.Pod) {
	err := n.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: n.name},
	}, metav1.CreateOptions{})
	if err != nil {
		// The Pod is gone, or was bound by an earlier event.
		log.Printf("bind %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}

// folder holds the volumes and container roots of a Pod.
func (n *Node) folder(uid types.UID) string {
	return filepath.Join(n.dir.Run(), "pods", string(uid))
}
