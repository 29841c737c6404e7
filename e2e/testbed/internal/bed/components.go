package bed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ferrogate/e2e/testbed/internal/network"
	"ferrogate/e2e/testbed/internal/state"
)

// NodeName is the name of the only Node.
const NodeName = "testbed"

// The processes of a bed, by the names of their logs.
const (
	etcd        = "etcd"
	apiServer   = "kube-apiserver"
	controllers = "kube-controller-manager"
	proxy       = "kube-proxy"
	node        = "node"
	services    = "services"
	apiGate     = "gate"
)

// component is one process: how it is started and what its end means.
type component struct {
	name string
	args []string
	// vital: the bed ends with it, because Pods are its children.
	vital bool
}

// Endpoints of processes that are checked while the bed starts.
const (
	etcdURL      = "http://127.0.0.1:2379"
	etcdPeerURL  = "http://127.0.0.1:2380"
	proxyHealthz = "127.0.0.1:10256"
	proxyMetrics = "127.0.0.1:10249"
)

func components(dir state.Dir, options InsideOptions) []component {
	nodeArgs := []string{"--state", string(dir), "--node-name", NodeName}
	if options.IPv6 {
		nodeArgs = append(nodeArgs, "--ipv6")
	}
	for _, file := range options.Images {
		nodeArgs = append(nodeArgs, "--images", file)
	}
	return []component{
		{name: etcd, args: []string{"--data", filepath.Join(dir.Run(), "etcd"), "--listen", etcdURL,
			"--listen-peer", etcdPeerURL}},
		{name: apiServer, args: apiServerFlags(dir, options)},
		{name: controllers, args: controllerFlags(dir)},
		{name: proxy, args: []string{"--config", proxyConfigPath(dir)}},
		{name: node, args: nodeArgs, vital: true},
		{name: apiGate, args: []string{"--state", string(dir), "--port", fmt.Sprint(options.Port)}},
		{name: services, args: []string{"--kubeconfig", dir.Kubeconfig()}},
	}
}

// apiServerFlags: RBAC stays on, since our own roles are under test; no admission plug-in is disabled.
func apiServerFlags(dir state.Dir, options InsideOptions) []string {
	const issuer = "https://kubernetes.default.svc." + network.Domain
	return []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=0.0.0.0",
		fmt.Sprintf("--secure-port=%d", options.Port),
		"--advertise-address=" + network.NodeIP,
		"--service-cluster-ip-range=" + both(options, network.ServiceCIDR, network.ServiceCIDR6),
		"--client-ca-file=" + dir.Key("ca.crt"),
		"--tls-cert-file=" + dir.Key("apiserver.crt"),
		"--tls-private-key-file=" + dir.Key("apiserver.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + dir.Key("kubelet-client.crt"),
		"--kubelet-client-key=" + dir.Key("kubelet-client.key"),
		"--service-account-issuer=" + issuer,
		"--service-account-key-file=" + dir.Key("service-account.key"),
		"--service-account-signing-key-file=" + dir.Key("service-account.key"),
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		// The endpoint of the Service `kubernetes` is the gate; `services` publishes it.
		"--endpoint-reconciler-type=none",
		"--profiling=false",
	}
}

// both joins the values of the address families that the bed has.
func both(options InsideOptions, v4, v6 string) string {
	if options.IPv6 {
		return v4 + "," + v6
	}
	return v4
}

func controllerFlags(dir state.Dir) []string {
	wanted := []string{
		"namespace-controller", "garbage-collector-controller", "pod-garbage-collector-controller",
		"deployment-controller", "replicaset-controller", "daemonset-controller", "statefulset-controller",
		"job-controller", "ttl-after-finished-controller",
		"endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller",
		"serviceaccount-controller", "root-ca-certificate-publisher-controller",
		"clusterrole-aggregation-controller", "validatingadmissionpolicy-status-controller",
		"horizontal-pod-autoscaler-controller", "disruption-controller",
	}
	return []string{
		"--kubeconfig=" + dir.Kubeconfig(),
		"--leader-elect=false",
		"--secure-port=0",
		"--controllers=" + strings.Join(wanted, ","),
		"--root-ca-file=" + dir.Key("ca.crt"),
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--profiling=false",
	}
}

func proxyConfigPath(dir state.Dir) string { return filepath.Join(dir.Run(), "kube-proxy.yaml") }

// writeProxyConfig: the shortest pause between two syncs has no flag; zeros leave the host's limits of
// connection tracking alone.
func writeProxyConfig(dir state.Dir, options InsideOptions) error {
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %s
clusterCIDR: %s
detectLocalMode: ClusterCIDR
healthzBindAddress: %s
metricsBindAddress: %s
clientConnection: {kubeconfig: %q}
nftables: {minSyncPeriod: 50ms, syncPeriod: 30s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, NodeName, both(options, network.PodCIDR, network.PodCIDR6), proxyHealthz, proxyMetrics, dir.Kubeconfig())
	return os.WriteFile(proxyConfigPath(dir), []byte(config), 0o644)
}
