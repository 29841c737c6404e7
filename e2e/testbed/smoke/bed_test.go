// Package smoke brings a whole bed up and tries what tests rely on.
//
// It needs root, the built binary (TESTBED) and the image map (TESTBED_IMAGES); without them it is skipped.
package smoke

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// patience for anything that shall happen in the bed.
const patience = 60 * time.Second

// bed is a running test bed.
type bed struct {
	t      *testing.T
	binary string
	state  string
	client *kubernetes.Clientset
}

// start brings a bed up in the background of its `up`, or in its foreground.
func start(t *testing.T, foreground bool) (*bed, *exec.Cmd) {
	t.Helper()
	binary, images := os.Getenv("TESTBED"), os.Getenv("TESTBED_IMAGES")
	if binary == "" || images == "" {
		t.Skip("TESTBED (the binary) and TESTBED_IMAGES (the image map) are not set")
	}
	b := &bed{t: t, binary: binary, state: filepath.Join(t.TempDir(), "bed")}
	args := []string{"up", "--state", b.state, "--images", images}
	if !foreground {
		args = append(args, "-d")
	}
	up := exec.Command(binary, args...)
	output := &strings.Builder{}
	up.Stdout, up.Stderr = output, output
	t.Cleanup(func() {
		_ = exec.Command(binary, "down", "--state", b.state).Run()
		if t.Failed() {
			t.Logf("up said:\n%s", output)
			b.showLogs()
		}
	})
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	if !foreground {
		if err := up.Wait(); err != nil {
			t.Fatalf("up: %v\n%s", err, output)
		}
		b.connect()
	}
	return b, up
}

func (b *bed) connect() {
	b.t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(b.state, "kubeconfig"))
	if err != nil {
		b.t.Fatal(err)
	}
	if b.client, err = kubernetes.NewForConfig(config); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) showLogs() {
	for _, name := range []string{"bed", "node", "services"} {
		data, _ := os.ReadFile(filepath.Join(b.state, "logs", name+".log"))
		b.t.Logf("%s.log:\n%s", name, data[max(0, len(data)-4000):])
	}
}

// run calls a command of the binary.
func (b *bed) run(args ...string) string {
	b.t.Helper()
	output, err := exec.Command(b.binary, args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("testbed %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return string(output)
}

// apply sends a file of testdata.
func (b *bed) apply(file string) {
	b.t.Helper()
	b.run("apply", "--state", b.state, filepath.Join("testdata", file))
}

// await waits until check returns nil.
func (b *bed) await(what string, check func(ctx context.Context) error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("%s: not within %s: %v", what, patience, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awaitRollout waits until all replicas of a Deployment are new and available.
func (b *bed) awaitRollout(name string) {
	b.t.Helper()
	b.await("rollout of "+name, func(ctx context.Context) error {
		d, err := b.client.AppsV1().Deployments("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		want := *d.Spec.Replicas
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.AvailableReplicas != want || s.Replicas != want {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
}

// log of a container, with a line of each run.
func (b *bed) log(pod, container string) string {
	data, err := os.ReadFile(filepath.Join(b.state, "logs", "pods", "default_"+pod+"_"+container+".log"))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (b *bed) awaitLog(pod, container, text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("%q in the log of %s/%s", text, pod, container), func(context.Context) error {
		if log := b.log(pod, container); !strings.Contains(log, text) {
			return fmt.Errorf("the log holds %q", log[max(0, len(log)-300):])
		}
		return nil
	})
}

// TestInside is no test: the test binary runs it inside of the bed, as a client that counts.
func TestInside(t *testing.T) {
	target, until := os.Getenv("SMOKE_TARGET"), os.Getenv("SMOKE_UNTIL")
	if target == "" {
		t.Skip("only inside of a bed")
	}
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	good, bad := 0, 0
	for {
		_, err := os.Stat(until)
		if good+bad > 0 && (until == "" || err == nil) {
			break
		}
		response, err := client.Get(target)
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if err == nil && response.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %s", response.Status)
			}
		}
		if err != nil {
			bad++
			fmt.Println(err)
		} else {
			good++
		}
		time.Sleep(2 * time.Millisecond)
	}
	fmt.Printf("%d good, %d bad\n", good, bad)
}

// client prepares TestInside inside of the bed.
func (b *bed) clientCommand(target, until string) *exec.Cmd {
	command := exec.Command(b.binary, "exec", "--state", b.state, "--", os.Args[0], "-test.run=^TestInside$", "-test.v")
	command.Env = append(os.Environ(), "SMOKE_TARGET="+target, "SMOKE_UNTIL="+until)
	return command
}
