package node

import (
	"fmt"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"

	"ferrogate/e2e/testbed/internal/image"
	"ferrogate/e2e/testbed/internal/network"
)

// variables are an environment; later settings of a name win.
type variables struct {
	values map[string]string
	order  []string
}

func (v *variables) set(name, value string) {
	if _, known := v.values[name]; !known {
		v.order = append(v.order, name)
	}
	v.values[name] = value
}

func (v *variables) list() []string {
	list := make([]string, 0, len(v.order))
	for _, name := range v.order {
		list = append(list, name+"="+v.values[name])
	}
	return list
}

// environment builds what a container gets: the basics, the image's, envFrom, then env.
func (w *worker) environment(pod *corev1.Pod, c *corev1.Container, found image.Image) (*variables, error) {
	v := &variables{values: map[string]string{}}
	v.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	v.set("HOSTNAME", hostname(pod))
	v.set("HOME", "/")
	// What clients inside of the cluster look for.
	v.set("KUBERNETES_SERVICE_HOST", network.KubernetesIP)
	v.set("KUBERNETES_SERVICE_PORT", "443")
	v.set("KUBERNETES_SERVICE_PORT_HTTPS", "443")
	for _, name := range sorted(found.Env) {
		v.set(name, found.Env[name])
	}
	for _, source := range c.EnvFrom {
		if err := w.environmentFrom(v, pod, source); err != nil {
			return nil, err
		}
	}
	for _, variable := range c.Env {
		value, present, err := w.variable(v, pod, c, variable)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", variable.Name, err)
		}
		if present {
			v.set(variable.Name, value)
		}
	}
	return v, nil
}

func (w *worker) environmentFrom(v *variables, pod *corev1.Pod, source corev1.EnvFromSource) error {
	data := map[string]string{}
	switch {
	case source.ConfigMapRef != nil:
		configMap, err := w.node.objects.ConfigMap(pod.Namespace, source.ConfigMapRef.Name)
		if err != nil {
			if apierrors.IsNotFound(err) && valueOf(source.ConfigMapRef.Optional, false) {
				return nil
			}
			return err
		}
		data = configMap.Data
	case source.SecretRef != nil:
		secret, err := w.node.objects.Secret(pod.Namespace, source.SecretRef.Name)
		if err != nil {
			if apierrors.IsNotFound(err) && valueOf(source.SecretRef.Optional, false) {
				return nil
			}
			return err
		}
		for key, value := range secret.Data {
			data[key] = string(value)
		}
	}
	for _, name := range sorted(data) {
		v.set(source.Prefix+name, data[name])
	}
	return nil
}

// variable returns the value of an entry of env; it is absent where an optional source is.
func (w *worker) variable(v *variables, pod *corev1.Pod, c *corev1.Container, variable corev1.EnvVar) (string, bool, error) {
	from := variable.ValueFrom
	switch {
	case from == nil:
		return expansion.Expand(variable.Value, expansion.MappingFuncFor(v.values)), true, nil
	case from.FieldRef != nil:
		value, err := w.field(pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		name := firstOf(from.ResourceFieldRef.ContainerName, c.Name)
		value, err := resource.ExtractResourceValueByContainerNameAndNodeAllocatable(
			from.ResourceFieldRef, pod, name, capacity())
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		configMap, err := w.node.objects.ConfigMap(pod.Namespace, ref.Name)
		if err == nil {
			if value, ok := configMap.Data[ref.Key]; ok {
				return value, true, nil
			}
			err = fmt.Errorf("ConfigMap %s has no key %q", ref.Name, ref.Key)
		}
		return absent(err, ref.Optional)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		secret, err := w.node.objects.Secret(pod.Namespace, ref.Name)
		if err == nil {
			if value, ok := secret.Data[ref.Key]; ok {
				return string(value), true, nil
			}
			err = fmt.Errorf("Secret %s has no key %q", ref.Name, ref.Key)
		}
		return absent(err, ref.Optional)
	}
	return "", false, fmt.Errorf("this source is not supported: %v", from)
}

func absent(err error, optional *bool) (string, bool, error) {
	if valueOf(optional, false) {
		return "", false, nil
	}
	return "", false, err
}

// field answers for the fields that are known before the API server has them, too.
func (w *worker) field(pod *corev1.Pod, path string) (string, error) {
	switch path {
	case "status.podIP":
		return w.address(), nil
	case "status.podIPs":
		return strings.Join(w.addresses(), ","), nil
	case "status.hostIP", "status.hostIPs":
		return network.NodeIP, nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	}
	return fieldpath.ExtractFieldPathAsString(pod, path)
}

// arguments are what runs: `command` replaces the image's entry point and arguments, `args` the
// arguments alone.
func arguments(c *corev1.Container, found image.Image, values map[string]string) []string {
	entry, args := found.Entrypoint, found.Command
	if len(c.Command) > 0 {
		entry, args = c.Command, nil
	}
	if len(c.Args) > 0 {
		args = c.Args
	}
	mapping := expansion.MappingFuncFor(values)
	var all []string
	for _, argument := range append(append([]string{}, entry...), args...) {
		all = append(all, expansion.Expand(argument, mapping))
	}
	return all
}

func sorted(data map[string]string) []string {
	names := make([]string, 0, len(data))
	for name := range data {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// capabilityNumbers are those of linux/capability.h, in their order.
var capabilityNumbers = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID
	SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE
	SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
	SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
	BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

// capabilities returns what is left of all after drop, with add.
func capabilities(change *corev1.Capabilities) []uint {
	dropped, added := map[string]bool{}, map[string]bool{}
	for _, name := range change.Drop {
		dropped[strings.TrimPrefix(string(name), "CAP_")] = true
	}
	for _, name := range change.Add {
		added[strings.TrimPrefix(string(name), "CAP_")] = true
	}
	var kept []uint
	for number, name := range capabilityNumbers {
		if added[name] || added["ALL"] || !dropped[name] && !dropped["ALL"] {
			kept = append(kept, uint(number))
		}
	}
	return kept
}
