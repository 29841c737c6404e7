package smoke

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestBed(t *testing.T) {
	b, _ := start(t, false)
	b.apply("echo.yaml")
	b.awaitRollout("echo")
	address := ""
	b.await("address of the load balancer", func(ctx context.Context) error {
		service, err := b.client.CoreV1().Services("default").Get(ctx, "echo", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(service.Status.LoadBalancer.Ingress) == 0 {
			return errors.New("none yet")
		}
		address = service.Status.LoadBalancer.Ingress[0].IP
		return nil
	})
	t.Run("Traffic", func(t *testing.T) {
		for _, target := range []string{"http://" + address, "http://echo.default.svc.cluster.local"} {
			output, err := b.clientCommand(target, "").CombinedOutput()
			if err != nil || !strings.Contains(string(output), "1 good, 0 bad") {
				t.Errorf("%s: %v\n%s", target, err, output)
			}
		}
	})
	t.Run("Rollout", func(t *testing.T) { rollout(t, b, "http://"+address) })
	t.Run("Life", func(t *testing.T) { life(t, b) })
	t.Run("APIServerDown", func(t *testing.T) { apiServerDown(t, b, "http://"+address) })
	t.Run("Down", func(t *testing.T) {
		b.run("down", "--state", b.state)
		left, err := os.ReadDir(b.state)
		if err != nil || len(left) != 1 || left[0].Name() != "logs" {
			t.Errorf("left in the state folder: %v, %v", left, err)
		}
		if processes := processesOf(b.state); len(processes) > 0 {
			t.Errorf("processes are left: %v", processes)
		}
	})
}

// rollout replaces all Pods under traffic: no request may fail.
func rollout(t *testing.T, b *bed, target string) {
	done := filepath.Join(t.TempDir(), "done")
	command := b.clientCommand(target, done)
	output := &strings.Builder{}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	patch := `{"spec":{"template":{"metadata":{"annotations":{"run":"2"}}}}}`
	_, err := b.client.AppsV1().Deployments("default").Patch(t.Context(), "echo", types.MergePatchType,
		[]byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Error(err)
	}
	b.awaitRollout("echo")
	b.await("the end of the old Pods", func(ctx context.Context) error {
		pods, err := b.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=echo"})
		if err == nil && len(pods.Items) != 2 {
			err = fmt.Errorf("%d Pods", len(pods.Items))
		}
		return err
	})
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil || !strings.Contains(output.String(), ", 0 bad") {
		t.Errorf("%v\n%s", err, output)
	}
}

func life(t *testing.T, b *bed) {
	b.apply("life.yaml")
	for _, line := range []string{"prepared", "address known", "token there", "first"} {
		b.awaitLog("life", "first", line)
	}
	b.await("the Job", func(ctx context.Context) error {
		job, err := b.client.BatchV1().Jobs("default").Get(ctx, "job", metav1.GetOptions{})
		if err == nil && job.Status.Succeeded != 1 {
			err = fmt.Errorf("status %+v", job.Status)
		}
		return err
	})
	b.await("the DaemonSet", func(ctx context.Context) error {
		set, err := b.client.AppsV1().DaemonSets("default").Get(ctx, "everywhere", metav1.GetOptions{})
		if err == nil && set.Status.NumberReady != 1 {
			err = fmt.Errorf("status %+v", set.Status)
		}
		return err
	})
	_, err := b.client.CoreV1().Secrets("default").Patch(t.Context(), "words", types.MergePatchType,
		[]byte(`{"stringData":{"word":"other"}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.awaitLog("life", "first", "other")
	b.await("a restart by the liveness probe", func(ctx context.Context) error {
		pod, err := b.client.CoreV1().Pods("default").Get(ctx, "life", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, s := range pod.Status.ContainerStatuses {
			if s.Name == "second" && s.RestartCount == 1 && s.Ready {
				return nil
			}
		}
		return fmt.Errorf("statuses %+v", pod.Status.ContainerStatuses)
	})
	began := time.Now()
	if err := b.client.CoreV1().Pods("default").Delete(t.Context(), "life", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.awaitLog("life", "first", "hook as 0")
	b.awaitLog("life", "first", "asked to end")
	b.await("the end of the Pod", func(ctx context.Context) error {
		pod, err := b.client.CoreV1().Pods("default").Get(ctx, "life", metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("phase %s", pod.Status.Phase)
		}
		return nil
	})
	// It ignores SIGTERM, so it lives for its whole grace period of 3 s.
	if took := time.Since(began); took < 2500*time.Millisecond || took > 15*time.Second {
		t.Errorf("the Pod ended after %s", took)
	}
}

// apiServerDown: traffic does not need the API server, and everything goes on when it is back.
func apiServerDown(t *testing.T, b *bed, target string) {
	b.run("process", "--state", b.state, "down", "kube-apiserver")
	output, err := b.clientCommand(target, "").CombinedOutput()
	if err != nil || !strings.Contains(string(output), "1 good, 0 bad") {
		t.Errorf("%v\n%s", err, output)
	}
	b.run("process", "--state", b.state, "start", "kube-apiserver")
	pods := b.client.CoreV1().Pods("default")
	selector := metav1.ListOptions{LabelSelector: "app=everywhere"}
	var old types.UID
	b.await("the API server", func(ctx context.Context) error {
		list, err := pods.List(ctx, selector)
		if err != nil || len(list.Items) != 1 {
			return errors.Join(err, errors.New("not one Pod"))
		}
		old = list.Items[0].UID
		return pods.Delete(ctx, list.Items[0].Name, metav1.DeleteOptions{})
	})
	b.await("another Pod of the DaemonSet", func(ctx context.Context) error {
		list, err := pods.List(ctx, selector)
		if err != nil {
			return err
		}
		if len(list.Items) != 1 || list.Items[0].UID == old || list.Items[0].Status.Phase != corev1.PodRunning {
			return fmt.Errorf("%d Pods", len(list.Items))
		}
		return nil
	})
}

// TestNothingOutlivesUp: a bed in the foreground ends with its `up`, however that one ends.
func TestNothingOutlivesUp(t *testing.T) {
	b, up := start(t, true)
	b.await("kubeconfig and Node", func(ctx context.Context) error {
		if _, err := os.Stat(filepath.Join(b.state, "kubeconfig")); err != nil {
			return err
		}
		b.connect()
		_, err := b.client.CoreV1().Nodes().Get(ctx, "testbed", metav1.GetOptions{})
		return err
	})
	if err := up.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = up.Wait()
	b.await("the end of all processes", func(context.Context) error {
		if left := processesOf(b.state); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
	b.run("down", "--state", b.state)
}

// processesOf lists processes whose command line names the state folder.
func processesOf(state string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		data, err := os.ReadFile(file)
		line := strings.ReplaceAll(string(data), "\x00", " ")
		if err == nil && strings.Contains(line, state) {
			found = append(found, line)
		}
	}
	return found
}
