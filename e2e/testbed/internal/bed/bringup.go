package bed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"ferrogate/e2e/testbed/internal/network"
	"ferrogate/e2e/testbed/internal/state"
)

// checkPause is the time between two looks at a process that starts.
const checkPause = 50 * time.Millisecond

// bringUp starts all processes in order and reports each one as it gets ready. It waits without limit:
// `up` has the clock. Processes that end while they start are started again, so only a vital one or a
// process that fails again and again ends the wait.
func bringUp(dir state.Dir, options InsideOptions, processes *supervisor, reports *reporter) error {
	if err := writeProxyConfig(dir, options); err != nil {
		return err
	}
	if err := errors.Join(processes.start(etcd), processes.start(apiServer)); err != nil {
		return err
	}
	checks, err := newChecks(dir, options.Port)
	if err != nil {
		return err
	}
	if err := processes.awaitReady(etcd, reports, checks.etcd); err != nil {
		return err
	}
	if err := processes.awaitReady(apiServer, reports, checks.apiServer); err != nil {
		return err
	}
	for _, name := range []string{node, services, apiGate, proxy, controllers} {
		if err := processes.start(name); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name  string
		ready func(ctx context.Context) error
	}{{node, checks.node}, {controllers, checks.controllers}, {proxy, checks.proxy}, {services, checks.dns}} {
		if err := processes.awaitReady(part.name, reports, part.ready); err != nil {
			return err
		}
	}
	return nil
}

// awaitReady looks at a process until it is ready.
func (s *supervisor) awaitReady(name string, reports *reporter, ready func(ctx context.Context) error) error {
	const most = 5
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := ready(ctx)
		cancel()
		if err == nil {
			reports.ready(name)
			return nil
		}
		s.mu.Lock()
		starts := s.processes[name].starts
		s.mu.Unlock()
		if starts > most {
			return fmt.Errorf("%s ended %d times: %w\n%s", name, starts-1, err, tail(s.dir, name))
		}
		select {
		case err := <-s.fatal:
			return err
		case <-time.After(checkPause):
		}
	}
}

// checks tell whether a process does its work, by the work itself.
type checks struct {
	port   int
	https  *http.Client
	client *kubernetes.Clientset
}

func newChecks(dir state.Dir, port int) (*checks, error) {
	ca, err := os.ReadFile(dir.Key("ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig())
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	return &checks{port: port, https: &http.Client{Transport: transport}, client: client}, nil
}

func (c *checks) etcd(ctx context.Context) error {
	return get(ctx, http.DefaultClient, etcdURL+"/health")
}

func (c *checks) apiServer(ctx context.Context) error {
	return get(ctx, c.https, fmt.Sprintf("https://127.0.0.1:%d/readyz", c.port))
}

func (c *checks) node(ctx context.Context) error {
	node, err := c.client.CoreV1().Nodes().Get(ctx, NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("the Node is not Ready")
}

// controllers: without these two objects no Pod can be created in the default namespace.
func (c *checks) controllers(ctx context.Context) error {
	_, err := c.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().ConfigMaps("default").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
	return err
}

// proxy: its word, and the API server through its ClusterIP.
func (c *checks) proxy(ctx context.Context) error {
	if err := get(ctx, http.DefaultClient, "http://"+proxyHealthz+"/healthz"); err != nil {
		return err
	}
	// Without kube-proxy's rules nothing answers at all.
	dialer := net.Dialer{Timeout: 200 * time.Millisecond}
	connection, err := dialer.DialContext(ctx, "tcp", network.KubernetesIP+":443")
	if err != nil {
		return err
	}
	return connection.Close()
}

func (c *checks) dns(ctx context.Context) error {
	question := new(dns.Msg)
	question.SetQuestion("kubernetes.default.svc."+network.Domain+".", dns.TypeA)
	// A lost datagram must not use up the whole time of a check.
	client := &dns.Client{Timeout: 500 * time.Millisecond}
	answer, _, err := client.ExchangeContext(ctx, question, network.DNSIP+":53")
	if err != nil {
		return err
	}
	if len(answer.Answer) == 0 {
		return errors.New("DNS does not know the Service kubernetes yet")
	}
	return nil
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}
