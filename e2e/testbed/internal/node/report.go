package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ferrogate/e2e/testbed/internal/container"
	"ferrogate/e2e/testbed/internal/network"
)

// messageLimit is the size of a termination message that Kubernetes keeps.
const messageLimit = 4096

// report writes the Pod's status whenever it changed, until the worker is finished.
func (w *worker) report() {
	var written []byte
	for {
		select {
		case <-w.dirty:
			written = w.write(written)
		case <-w.ended:
			w.write(written)
			return
		}
	}
}

// write patches the status if it differs from what was written last. Without success it is tried again
// with the state as it is then.
func (w *worker) write(written []byte) []byte {
	for {
		w.mu.Lock()
		pod, status := w.pod, w.status()
		w.mu.Unlock()
		patch, err := json.Marshal(map[string]any{
			// The uid keeps the status off another Pod of the same name.
			"metadata": map[string]any{"uid": pod.UID}, "status": status,
		})
		if err != nil || bytes.Equal(patch, written) {
			return written
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_, err = w.node.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name,
			types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		cancel()
		if err == nil {
			return patch
		}
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return patch
		}
		log.Printf("%s: status: %v", w.name(), err)
		time.Sleep(retryPause)
	}
}

// status is the Pod's state in the API's words; w.mu is held.
func (w *worker) status() corev1.PodStatus {
	status := corev1.PodStatus{
		HostIP: network.NodeIP, HostIPs: []corev1.HostIP{{IP: network.NodeIP}}, StartTime: &w.started,
	}
	for _, ip := range w.ips {
		status.PodIP = w.ips[0]
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: ip})
	}
	initialized := true
	for _, u := range w.inits {
		s := w.containerStatus(u, initialized)
		if sidecar(u.spec) {
			initialized = initialized && u.isStarted
		} else {
			s.Ready = u.succeeded
			initialized = initialized && u.succeeded
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, s)
	}
	ready := len(w.ips) > 0 && !w.finished
	for _, u := range w.apps {
		s := w.containerStatus(u, initialized)
		ready = ready && s.Ready
		status.ContainerStatuses = append(status.ContainerStatuses, s)
	}
	for _, u := range w.inits {
		ready = ready && (!sidecar(u.spec) || u.isReady)
	}
	status.Phase = w.phase(initialized)
	status.Conditions = w.conditions(initialized, ready)
	return status
}

func (w *worker) containerStatus(u *unit, initialized bool) corev1.ContainerStatus {
	started := u.isStarted
	s := corev1.ContainerStatus{
		Name: u.spec.Name, Image: u.spec.Image, ImageID: "testbed://" + u.spec.Image,
		Ready: u.isReady, Started: &started, RestartCount: u.restarts,
	}
	if u.process != nil {
		s.ContainerID = containerID(w.pod, u)
	}
	switch {
	case u.process != nil && u.now == nil:
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(u.process.Started)}
	case u.now != nil && (u.done || u.reason == ""):
		s.State.Terminated = u.now
	default:
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: u.reason, Message: u.message}
		if u.reason == "ContainerCreating" {
			s.State.Waiting.Message = w.waiting
			if !initialized {
				s.State.Waiting.Reason = "PodInitializing"
			}
		}
	}
	if u.last != nil {
		s.LastTerminationState.Terminated = u.last
	}
	if u.now != nil && s.State.Waiting != nil {
		s.LastTerminationState.Terminated = u.now
	}
	return s
}

// phase follows the rules of kubelets: Failed and Succeeded only when nothing will run again.
func (w *worker) phase(initialized bool) corev1.PodPhase {
	if !w.finished {
		if !initialized {
			return corev1.PodPending
		}
		for _, u := range w.apps {
			if u.runs == 0 {
				return corev1.PodPending
			}
		}
		return corev1.PodRunning
	}
	for _, u := range append(append([]*unit{}, w.inits...), w.apps...) {
		if sidecar(u.spec) {
			continue
		}
		if u.now == nil || u.now.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	return corev1.PodSucceeded
}

func (w *worker) conditions(initialized, ready bool) []corev1.PodCondition {
	condition := func(kind corev1.PodConditionType, met bool, reason string) corev1.PodCondition {
		c := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue}
		if !met {
			c.Status, c.Reason = corev1.ConditionFalse, reason
			if w.finished {
				c.Reason = "PodCompleted"
			}
		}
		c.LastTransitionTime = w.transition(c)
		return c
	}
	gates := ready
	for _, gate := range w.pod.Spec.ReadinessGates {
		met := false
		for _, c := range w.pod.Status.Conditions {
			met = met || c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue
		}
		gates = gates && met
	}
	reason := "ContainersNotReady"
	if ready {
		reason = "ReadinessGatesNotReady"
	}
	return []corev1.PodCondition{
		condition(corev1.PodReadyToStartContainers, len(w.ips) > 0, ""),
		condition(corev1.PodInitialized, initialized, "ContainersNotInitialized"),
		condition(corev1.ContainersReady, ready, "ContainersNotReady"),
		condition(corev1.PodReady, gates, reason),
	}
}

// transition keeps the time of a condition whose status stays.
func (w *worker) transition(c corev1.PodCondition) metav1.Time {
	for i, known := range w.transitions {
		if known.Type != c.Type {
			continue
		}
		if known.Status != c.Status {
			w.transitions[i].Status, w.transitions[i].LastTransitionTime = c.Status, metav1.Now()
		}
		return w.transitions[i].LastTransitionTime
	}
	c.LastTransitionTime = metav1.Now()
	w.transitions = append(w.transitions, c)
	return c.LastTransitionTime
}

// recordEnd notes how a run ended and why.
func (w *worker) recordEnd(u *unit, process *container.Process, cause error) {
	message, _ := os.ReadFile(filepath.Join(w.folder, "etc", "message-"+u.spec.Name))
	message = message[:min(len(message), messageLimit)]
	if len(message) == 0 && cause != nil && !errors.Is(cause, context.Canceled) {
		message = []byte(cause.Error())
	}
	exit := process.Exit
	w.mu.Lock()
	u.now = &corev1.ContainerStateTerminated{
		ExitCode: int32(exit.Code), Signal: int32(exit.Signal), Reason: "Completed", Message: string(message),
		StartedAt: metav1.NewTime(process.Started), FinishedAt: metav1.NewTime(exit.At),
		ContainerID: containerID(w.pod, u),
	}
	if exit.Code != 0 {
		u.now.Reason = "Error"
	}
	u.isReady, u.isStarted = false, false
	w.mu.Unlock()
	log.Printf("%s: container %s ended with %d after %s (%s)", w.name(), u.spec.Name, exit.Code,
		exit.At.Sub(process.Started).Round(time.Millisecond), message)
	w.touch()
}

// removeObject tells the API server that the Pod has ended, which removes the object.
func (w *worker) removeObject() {
	pod := w.current()
	now := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	for {
		err := w.node.client.CoreV1().Pods(pod.Namespace).Delete(context.Background(), pod.Name, options)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		log.Printf("%s: delete: %v", w.name(), err)
		time.Sleep(retryPause)
	}
}

// exec runs a command in a container, with its output in the container's log.
func (w *worker) exec(ctx context.Context, process *container.Process, args []string) error {
	output, err := os.CreateTemp(w.folder, "exec-")
	if err != nil {
		return err
	}
	defer os.Remove(output.Name())
	defer output.Close()
	command, err := process.Command(args, output, output)
	if err != nil {
		return err
	}
	exit, err := command.Run(ctx)
	if err != nil {
		return err
	}
	if exit.Code != 0 {
		text := make([]byte, 200)
		n, _ := output.ReadAt(text, 0)
		return fmt.Errorf("%s: exit code %d: %s", args[0], exit.Code, text[:n])
	}
	return nil
}

func containerID(pod *corev1.Pod, u *unit) string {
	return fmt.Sprintf("testbed://%s/%s/%d", pod.UID, u.spec.Name, u.runs)
}

// capacity is what the Node claims to have: enough that nothing is refused.
func capacity() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods: resource.MustParse("1000"), corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
	}
}
