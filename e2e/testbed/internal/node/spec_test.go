package node

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"ferrogate/e2e/testbed/internal/container"
	"ferrogate/e2e/testbed/internal/image"
)

func pod(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	var p corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return &p
}

func TestArgumentsReplaceTheImages(t *testing.T) {
	found := image.Image{Entrypoint: []string{"/envoy"}, Command: []string{"-c", "x"}}
	values := map[string]string{"NAME": "p-1"}
	for _, c := range []struct{ container, want string }{
		{"{name: c}", "/envoy -c x"},
		{"{name: c, args: [--node, $(NAME), $$(NAME), $(NONE)]}", "/envoy --node p-1 $(NAME) $(NONE)"},
		{"{name: c, command: [sh]}", "sh"},
		{"{name: c, command: [sh], args: [-x]}", "sh -x"},
	} {
		var spec corev1.Container
		if err := yaml.Unmarshal([]byte(c.container), &spec); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(arguments(&spec, found, values), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.container, got, c.want)
		}
	}
}

func TestEnvironmentInItsOrder(t *testing.T) {
	p := pod(t, `
metadata: {name: p-1, namespace: shop, annotations: {zone: a}}
spec:
  serviceAccountName: robot
  containers:
  - name: c
    resources: {limits: {memory: 64Mi}}
    env:
    - {name: EARLY, value: $(IP)}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: LATE, value: at $(IP)}
    - {name: ZONE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['zone']"}}}
    - {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: IMAGE, value: container's}
`)
	w := newWorker(&Node{}, p, "pod1")
	w.ips = []string{"10.244.1.1"}
	v, err := w.environment(p, &p.Spec.Containers[0], image.Image{Env: map[string]string{"IMAGE": "image's"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"EARLY": "$(IP)", "IP": "10.244.1.1", "LATE": "at 10.244.1.1", "ZONE": "a", "ACCOUNT": "robot",
		"MEMORY": "64", "IMAGE": "container's", "HOSTNAME": "p-1", "KUBERNETES_SERVICE_HOST": "10.96.0.1",
	} {
		if got := v.values[name]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if joined := strings.Join(v.list(), "\n"); strings.Count(joined, "IMAGE=") != 1 {
		t.Errorf("a name twice:\n%s", joined)
	}
}

func TestSecurityContexts(t *testing.T) {
	w := newWorker(&Node{}, pod(t, "{metadata: {name: p}}"), "pod1")
	check := func(text string, found image.Image, want container.Spec) {
		t.Helper()
		p := pod(t, text)
		var got container.Spec
		if err := w.secure(&got, p, &p.Spec.Containers[0], found); err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if got.User != want.User || got.Group != want.Group || got.ReadOnlyRoot != want.ReadOnlyRoot ||
			got.NoNewPrivileges != want.NoNewPrivileges || len(got.Capabilities) != len(want.Capabilities) ||
			got.LimitCapabilities != want.LimitCapabilities || len(got.Groups) != len(want.Groups) {
			t.Errorf("%s: got %+v", text, got)
		}
	}
	check("{spec: {containers: [{name: c}]}}", image.Image{User: 7}, container.Spec{User: 7})
	check("{spec: {securityContext: {runAsUser: 1, runAsGroup: 2, fsGroup: 3}, containers: [{name: c}]}}",
		image.Image{User: 7}, container.Spec{User: 1, Group: 2, Groups: []int{3}})
	check(`{spec: {securityContext: {runAsUser: 1}, containers: [{name: c, securityContext: {runAsUser: 5,
	  runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false,
	  capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}}]}}`, image.Image{},
		container.Spec{User: 5, ReadOnlyRoot: true, NoNewPrivileges: true, LimitCapabilities: true, Capabilities: []uint{10}})
	p := pod(t, "{spec: {securityContext: {runAsNonRoot: true}, containers: [{name: c}]}}")
	if err := w.secure(&container.Spec{}, p, &p.Spec.Containers[0], image.Image{}); err == nil {
		t.Error("runAsNonRoot lets root run")
	}
}

func TestCapabilities(t *testing.T) {
	if got := capabilities(&corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}); len(got) != 0 {
		t.Errorf("dropped all, left %v", got)
	}
	got := capabilities(&corev1.Capabilities{Drop: []corev1.Capability{"NET_RAW", "CAP_CHOWN"}})
	if len(got) != len(capabilityNumbers)-2 {
		t.Errorf("left %v", got)
	}
	for name, number := range map[string]int{"KILL": 5, "NET_ADMIN": 12, "SYS_ADMIN": 21, "CHECKPOINT_RESTORE": 40} {
		if capabilityNumbers[number] != name {
			t.Errorf("%s is not number %d", name, number)
		}
	}
}

func TestResolvConf(t *testing.T) {
	got := resolvConf(pod(t, "{metadata: {namespace: shop}, spec: {dnsConfig: {options: [{name: ndots, value: '2'}]}}}"))
	want := "nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 ndots:2\n"
	if got != want {
		t.Errorf("got %q", got)
	}
	got = resolvConf(pod(t, "{spec: {dnsPolicy: None, dnsConfig: {nameservers: [10.96.1.1]}}}"))
	if got != "nameserver 10.96.1.1\n" {
		t.Errorf("got %q", got)
	}
}

func TestPhaseAndReadiness(t *testing.T) {
	w := newWorker(&Node{}, pod(t, `{spec: {initContainers: [{name: i}], containers: [{name: a}, {name: b}]}}`), "pod1")
	expect := func(phase corev1.PodPhase, ready corev1.ConditionStatus) {
		t.Helper()
		status := w.status()
		if status.Phase != phase {
			t.Errorf("phase %s, want %s", status.Phase, phase)
		}
		for _, c := range status.Conditions {
			if c.Type == corev1.PodReady && c.Status != ready {
				t.Errorf("Ready is %s", c.Status)
			}
		}
	}
	running := func(u *unit, ready bool) {
		u.runs, u.reason, u.isStarted, u.isReady = 1, "", true, ready
		u.process = &container.Process{}
	}
	expect(corev1.PodPending, corev1.ConditionFalse)
	if got := w.status().ContainerStatuses[0].State.Waiting.Reason; got != "PodInitializing" {
		t.Errorf("waits for %s", got)
	}
	w.ips = []string{"10.244.1.1"}
	w.inits[0].succeeded = true
	running(w.apps[0], true)
	expect(corev1.PodPending, corev1.ConditionFalse)
	running(w.apps[1], false)
	expect(corev1.PodRunning, corev1.ConditionFalse)
	running(w.apps[1], true)
	expect(corev1.PodRunning, corev1.ConditionTrue)
	before := w.status().Conditions
	if after := w.status().Conditions; after[3].LastTransitionTime != before[3].LastTransitionTime {
		t.Error("a condition that stays has a new time")
	}
	w.finished = true
	for i, u := range []*unit{w.inits[0], w.apps[0], w.apps[1]} {
		u.done, u.isReady = true, false
		u.now = &corev1.ContainerStateTerminated{ExitCode: int32(i / 2)}
	}
	expect(corev1.PodFailed, corev1.ConditionFalse)
	w.apps[1].now.ExitCode = 0
	expect(corev1.PodSucceeded, corev1.ConditionFalse)
}

func TestRestartPolicies(t *testing.T) {
	for _, c := range []struct {
		policy corev1.RestartPolicy
		isInit bool
		exit   int32
		want   bool
	}{
		{corev1.RestartPolicyAlways, false, 0, true},
		{corev1.RestartPolicyAlways, true, 0, false},
		{corev1.RestartPolicyAlways, true, 1, true},
		{corev1.RestartPolicyOnFailure, false, 0, false},
		{corev1.RestartPolicyOnFailure, false, 1, true},
		{corev1.RestartPolicyNever, false, 1, false},
	} {
		w := newWorker(&Node{}, pod(t, "{spec: {initContainers: [{name: i}], containers: [{name: a}]}}"), "pod1")
		w.pod.Spec.RestartPolicy = c.policy
		u := w.apps[0]
		if c.isInit {
			u = w.inits[0]
		}
		u.now = &corev1.ContainerStateTerminated{ExitCode: c.exit}
		if got := w.restarts(u); got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
		u.ctx, w.stop = canceled(), nil
		if w.restarts(u) {
			t.Errorf("%+v: restarts although the Pod ends", c)
		}
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
