package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// client follows no redirect off the Pod and keeps no connection: each probe tests accepting, too.
var client = &http.Client{
	Transport: &http.Transport{
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // kubelets do not verify either
		DisableKeepAlives:  true,
		DisableCompression: true,
		Proxy:              nil,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// HTTP requests what a probe or hook asks for; from 200 to below 400 is success.
func HTTP(ctx context.Context, action *corev1.HTTPGetAction, container *corev1.Container, podIP string) error {
	port, err := Port(action.Port, container)
	if err != nil {
		return err
	}
	host := action.Host
	if host == "" {
		host = podIP
	}
	scheme := strings.ToLower(string(action.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	target, err := url.Parse(action.Path)
	if err != nil {
		return err
	}
	target.Scheme, target.Host = scheme, net.JoinHostPort(host, strconv.Itoa(port))
	if !strings.HasPrefix(target.Path, "/") {
		target.Path = "/" + target.Path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/testbed")
	for _, header := range action.HTTPHeaders {
		if strings.EqualFold(header.Name, "Host") {
			request.Host = header.Value
		} else {
			request.Header.Add(header.Name, header.Value)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 200))
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("HTTP status %s: %s", response.Status, body)
	}
	return nil
}

// TCP opens a connection and closes it.
func TCP(ctx context.Context, action *corev1.TCPSocketAction, container *corev1.Container, podIP string) error {
	port, err := Port(action.Port, container)
	if err != nil {
		return err
	}
	host := action.Host
	if host == "" {
		host = podIP
	}
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return connection.Close()
}

// Sleep waits, as a lifecycle hook may ask for.
func Sleep(ctx context.Context, action *corev1.SleepAction) error {
	if !rest(ctx, time.Duration(action.Seconds)*time.Second) {
		return ctx.Err()
	}
	return nil
}

// Port resolves a port that may be the name of one of the container's ports.
func Port(port intstr.IntOrString, container *corev1.Container) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, declared := range container.Ports {
		if declared.Name == port.StrVal {
			return int(declared.ContainerPort), nil
		}
	}
	if number, err := strconv.Atoi(port.StrVal); err == nil {
		return number, nil
	}
	return 0, fmt.Errorf("container %s has no port named %q", container.Name, port.StrVal)
}
