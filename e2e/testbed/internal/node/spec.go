package node

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"

	"ferrogate/e2e/testbed/internal/container"
	"ferrogate/e2e/testbed/internal/image"
	"ferrogate/e2e/testbed/internal/network"
	"ferrogate/e2e/testbed/internal/volume"
)

// start makes a container out of its specification, as the objects and the image map are now.
func (w *worker) start(u *unit) (*container.Process, error) {
	pod := w.current()
	found, err := w.node.images.Find(u.spec.Image)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	run := u.runs
	w.mu.Unlock()
	spec := container.Spec{
		Root:     filepath.Join(w.folder, "containers", u.spec.Name, fmt.Sprint(run)),
		Network:  w.networkPath(),
		Hostname: hostname(pod),
		Dir:      firstOf(u.spec.WorkingDir, found.WorkingDir, "/"),
	}
	if err := w.secure(&spec, pod, u.spec, found); err != nil {
		return nil, err
	}
	variables, err := w.environment(pod, u.spec, found)
	if err != nil {
		return nil, err
	}
	spec.Env = variables.list()
	spec.Args = arguments(u.spec, found, variables.values)
	if spec.Mounts, err = w.mounts(pod, u.spec, found, variables.values); err != nil {
		return nil, err
	}
	file, err := w.openLog(u.spec.Name, spec.User)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if run > 0 {
		// The root of the run before has served its end; containers begin with a fresh one.
		old := filepath.Join(w.folder, "containers", u.spec.Name, fmt.Sprint(run-1))
		if err := container.Remove(old); err != nil {
			log.Printf("%s: %v", w.name(), err)
		}
	}
	process, err := container.Start(spec, file)
	if err != nil {
		return nil, err
	}
	return process, w.notePID(u, process)
}

// notePID lets people and tests find the container's process.
func (w *worker) notePID(u *unit, process *container.Process) error {
	pod := w.current()
	path := w.node.dir.PodPID(pod.Namespace, pod.Name, u.spec.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	go func() {
		<-process.Ended
		// A later run has written its own number by now, or will.
		if data, err := os.ReadFile(path); err == nil && string(data) == fmt.Sprintln(process.PID) {
			_ = os.Remove(path)
		}
	}()
	return os.WriteFile(path, []byte(fmt.Sprintln(process.PID)), 0o644)
}

func (w *worker) networkPath() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.network == nil {
		return "/proc/1/ns/net"
	}
	return w.network.Path()
}

// openLog appends to the container's log. Everybody may write to it: a program that opens /dev/stdout
// opens this file with its own user.
func (w *worker) openLog(name string, user int) (*os.File, error) {
	pod := w.current()
	path := w.node.dir.PodLog(pod.Namespace, pod.Name, name)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	return file, errors.Join(file.Chmod(0o666), file.Chown(user, -1))
}

// secure applies the security contexts: the container's over the Pod's over the image's.
func (w *worker) secure(spec *container.Spec, pod *corev1.Pod, c *corev1.Container, found image.Image) error {
	user, group := found.User, int64(0)
	var nonRoot bool
	if p := pod.Spec.SecurityContext; p != nil {
		user, group = valueOf(p.RunAsUser, user), valueOf(p.RunAsGroup, group)
		nonRoot = valueOf(p.RunAsNonRoot, false)
		for _, supplemental := range p.SupplementalGroups {
			spec.Groups = append(spec.Groups, int(supplemental))
		}
		if p.FSGroup != nil {
			spec.Groups = append(spec.Groups, int(*p.FSGroup))
		}
	}
	if s := c.SecurityContext; s != nil {
		user, group = valueOf(s.RunAsUser, user), valueOf(s.RunAsGroup, group)
		nonRoot = valueOf(s.RunAsNonRoot, nonRoot)
		spec.ReadOnlyRoot = valueOf(s.ReadOnlyRootFilesystem, false)
		spec.NoNewPrivileges = !valueOf(s.AllowPrivilegeEscalation, true)
		if s.Capabilities != nil {
			spec.LimitCapabilities = true
			spec.Capabilities = capabilities(s.Capabilities)
		}
		if valueOf(s.Privileged, false) {
			spec.LimitCapabilities, spec.NoNewPrivileges = false, false
		}
	}
	if nonRoot && user == 0 {
		return errors.New("container has runAsNonRoot and would run as root")
	}
	spec.User, spec.Group = int(user), int(group)
	return nil
}

// mounts lists what a container sees beside its root: the image's files, the Pod's own, its volumes.
func (w *worker) mounts(pod *corev1.Pod, c *corev1.Container, found image.Image,
	variables map[string]string,
) ([]container.Mount, error) {
	var mounts []container.Mount
	for target, source := range found.Files {
		if _, err := os.Stat(source); err != nil {
			return nil, fmt.Errorf("image %s: %w", c.Image, err)
		}
		mounts = append(mounts, container.Mount{Source: source, Target: target, ReadOnly: true})
	}
	for _, name := range []string{"resolv.conf", "hosts", "hostname"} {
		mounts = append(mounts, container.Mount{Source: filepath.Join(w.folder, "etc", name), Target: "/etc/" + name})
	}
	message := firstOf(c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	source := filepath.Join(w.folder, "etc", "message-"+c.Name)
	if err := os.WriteFile(source, nil, 0o666); err != nil {
		return nil, err
	}
	if err := os.Chmod(source, 0o666); err != nil {
		return nil, err
	}
	mounts = append(mounts, container.Mount{Source: source, Target: message})
	for _, m := range c.VolumeMounts {
		source, err := w.mountSource(pod, m, variables)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, container.Mount{Source: source, Target: m.MountPath, ReadOnly: m.ReadOnly})
	}
	return mounts, nil
}

func (w *worker) mountSource(pod *corev1.Pod, m corev1.VolumeMount, variables map[string]string) (string, error) {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Name != m.Name {
			continue
		}
		source := volume.Folder(w.folder, v.Name)
		if !volume.Rendered(v) {
			var err error
			if source, err = volume.Prepare(source, v, fsGroup(pod)); err != nil {
				return "", err
			}
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expansion.Expand(m.SubPathExpr, expansion.MappingFuncFor(variables))
		}
		if sub == "" {
			return source, nil
		}
		source = filepath.Join(source, filepath.Clean("/"+sub))
		if v.EmptyDir != nil {
			if _, err := os.Stat(source); os.IsNotExist(err) {
				return source, os.MkdirAll(source, 0o777)
			}
		}
		// A file of a rendered volume is a link into the present version: it is bound as it is now.
		return filepath.EvalSymlinks(source)
	}
	return "", fmt.Errorf("volume %s is not declared", m.Name)
}

// podFiles writes the files that the Pod's containers see in /etc.
func (w *worker) podFiles(pod *corev1.Pod) error {
	folder := filepath.Join(w.folder, "etc")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var errs []error
	for name, content := range map[string]string{
		"resolv.conf": resolvConf(pod),
		"hosts":       hosts(pod, w.addresses()),
		"hostname":    hostname(pod) + "\n",
	} {
		errs = append(errs, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644))
	}
	return errors.Join(errs...)
}

// resolvConf names the bed's DNS server; the policy Default means it too, as there is no other.
func resolvConf(pod *corev1.Pod) string {
	servers := []string{network.DNSIP}
	searches := []string{pod.Namespace + ".svc." + network.Domain, "svc." + network.Domain, network.Domain}
	options := []string{"ndots:5"}
	if pod.Spec.DNSPolicy == corev1.DNSNone {
		servers, searches, options = nil, nil, nil
	}
	if config := pod.Spec.DNSConfig; config != nil {
		servers = append(servers, config.Nameservers...)
		searches = append(searches, config.Searches...)
		for _, option := range config.Options {
			text := option.Name
			if option.Value != nil {
				text += ":" + *option.Value
			}
			options = append(options, text)
		}
	}
	var lines strings.Builder
	for _, server := range servers {
		fmt.Fprintf(&lines, "nameserver %s\n", server)
	}
	if len(searches) > 0 {
		fmt.Fprintf(&lines, "search %s\n", strings.Join(searches, " "))
	}
	if len(options) > 0 {
		fmt.Fprintf(&lines, "options %s\n", strings.Join(options, " "))
	}
	return lines.String()
}

func hosts(pod *corev1.Pod, ips []string) string {
	var lines strings.Builder
	lines.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	for _, ip := range ips {
		fmt.Fprintf(&lines, "%s\t%s\n", ip, hostname(pod))
	}
	for _, alias := range pod.Spec.HostAliases {
		fmt.Fprintf(&lines, "%s\t%s\n", alias.IP, strings.Join(alias.Hostnames, "\t"))
	}
	return lines.String()
}

// hostname is at most 63 characters long, the kernel's limit.
func hostname(pod *corev1.Pod) string {
	name := firstOf(pod.Spec.Hostname, pod.Name)
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "-.")
	}
	return name
}

func firstOf(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

func valueOf[T any](pointer *T, fallback T) T {
	if pointer == nil {
		return fallback
	}
	return *pointer
}
