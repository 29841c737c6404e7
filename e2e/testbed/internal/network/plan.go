// Package network makes the links, routes and addresses of a bed.
//
// No bridge is used: each Pod has a veth pair with point-to-point routes, so all traffic between Pods is
// routed by the bed's root namespace and meets kube-proxy's rules there.
package network

import "net/netip"

// The address plan. The namespaces are private to a bed, so all beds use the same addresses.
const (
	// NodeIP is the address of the Node, of the API server and of the bed's root namespace.
	NodeIP = "10.244.0.1"
	// PodCIDR holds the addresses of the Node and of all Pods.
	PodCIDR = "10.244.0.0/16"
	// ServiceCIDR holds the ClusterIPs.
	ServiceCIDR = "10.96.0.0/16"
	// KubernetesIP is the ClusterIP of the Service `kubernetes`: the first of the range.
	KubernetesIP = "10.96.0.1"
	// DNSIP is the ClusterIP of the Service `kube-dns`.
	DNSIP = "10.96.0.10"
	// VirtualCIDR is routed to kube-proxy's rules: ClusterIPs (10.96), load-balancer addresses (10.98)
	// and what a test wants to use as an external address (10.99 … 10.111).
	VirtualCIDR = "10.96.0.0/12"
	// LoadBalancerCIDR holds the addresses given to Services of type LoadBalancer.
	LoadBalancerCIDR = "10.98.0.0/16"
	// GatePort of NodeIP is where the Service `kubernetes` leads to.
	GatePort = 6444
	// Domain is the cluster's DNS domain.
	Domain = "cluster.local"
)

// The second family, with `up --ipv6`.
const (
	NodeIP6      = "fd00:244::1"
	PodCIDR6     = "fd00:244::/64"
	ServiceCIDR6 = "fd00:a:96::/112"
	// VirtualCIDR6 covers ClusterIPs and load-balancer addresses.
	VirtualCIDR6      = "fd00:a::/32"
	LoadBalancerCIDR6 = "fd00:a:98::/112"
	// gatewayIP6 is what Pods send to: IPv6 routers answer for addresses of the very link only.
	gatewayIP6 = "fe80::1"
)

// FirstPod6 is where Pod addresses of the second family begin.
var FirstPod6 = netip.MustParseAddr("fd00:244::1:1")

// FirstLoadBalancer6 is as FirstLoadBalancer.
var FirstLoadBalancer6 = netip.MustParseAddr("fd00:a:98::1")

// FirstPod is where Pod addresses begin: 10.244.0.0/24 is the bed's own.
var FirstPod = netip.MustParseAddr("10.244.1.1")

// FirstLoadBalancer is the first address that a Service of type LoadBalancer gets.
var FirstLoadBalancer = netip.MustParseAddr("10.98.0.1")
