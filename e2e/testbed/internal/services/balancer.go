package services

import (
	"context"
	"log"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"

	"ferrogate/e2e/testbed/internal/network"
)

// balancer gives Services of type LoadBalancer an address each; kube-proxy does the rest. Services with a
// loadBalancerClass are left to whoever has that class.
type balancer struct {
	ctx    context.Context
	client *kubernetes.Clientset
	// pools by address family.
	pools map[corev1.IPFamily]*network.Pool
	// started is closed when the addresses of existing Services are known.
	started chan struct{}
	mu      sync.Mutex
}

func newBalancer(ctx context.Context, client *kubernetes.Clientset) *balancer {
	return &balancer{
		ctx: ctx, client: client, started: make(chan struct{}),
		pools: map[corev1.IPFamily]*network.Pool{
			corev1.IPv4Protocol: network.NewPool(network.LoadBalancerCIDR, network.FirstLoadBalancer),
			corev1.IPv6Protocol: network.NewPool(network.LoadBalancerCIDR6, network.FirstLoadBalancer6),
		},
	}
}

// handlers first claim addresses that Services have, also before begin, and hand out new ones after it.
func (b *balancer) handlers() cache.ResourceEventHandler {
	see := func(object any) {
		service, ok := object.(*corev1.Service)
		if !ok {
			return
		}
		b.claimKnown(service)
		go func() {
			<-b.started
			b.assign(service.Namespace, service.Name)
		}()
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: see, UpdateFunc: func(_, object any) { see(object) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if service, ok := object.(*corev1.Service); ok {
				b.release(service)
			}
		},
	}
}

func (b *balancer) release(service *corev1.Service) {
	for _, pool := range b.pools {
		pool.Release(string(service.UID))
	}
}

func (b *balancer) begin() { close(b.started) }

func (b *balancer) claimKnown(service *corev1.Service) {
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if address, err := netip.ParseAddr(ingress.IP); err == nil && wants(service) {
			for _, pool := range b.pools {
				pool.Claim(address, string(service.UID))
			}
		}
	}
}

func wants(service *corev1.Service) bool {
	return service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.Spec.LoadBalancerClass == nil &&
		service.DeletionTimestamp == nil
}

// assign works on the Service as it is now; one at a time keeps addresses in the order of Services.
func (b *balancer) assign(namespace, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		service, err := b.client.CoreV1().Services(namespace).Get(b.ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil // gone
		}
		has := len(service.Status.LoadBalancer.Ingress) > 0
		switch {
		case wants(service) && !has:
			mode := corev1.LoadBalancerIPModeVIP
			for _, family := range service.Spec.IPFamilies {
				address, err := b.choose(service, family)
				if err != nil {
					return err
				}
				service.Status.LoadBalancer.Ingress = append(service.Status.LoadBalancer.Ingress,
					corev1.LoadBalancerIngress{IP: address.String(), IPMode: &mode})
			}
		case service.Spec.Type != corev1.ServiceTypeLoadBalancer && has:
			b.release(service)
			service.Status.LoadBalancer.Ingress = nil
		default:
			return nil
		}
		_, err = b.client.CoreV1().Services(namespace).UpdateStatus(b.ctx, service, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		log.Printf("load balancer %s/%s: %v", namespace, name, err)
	}
}

// choose honours spec.loadBalancerIP where the address is in the range and free.
func (b *balancer) choose(service *corev1.Service, family corev1.IPFamily) (netip.Addr, error) {
	owner, pool := string(service.UID), b.pools[family]
	if wanted, err := netip.ParseAddr(service.Spec.LoadBalancerIP); err == nil && pool.Claim(wanted, owner) {
		return wanted, nil
	}
	return pool.Take(owner)
}
