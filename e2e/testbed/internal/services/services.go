// Package services gives load balancers their addresses and answers the cluster's DNS.
package services

import (
	"context"
	"errors"
	"fmt"
	"log"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"ferrogate/e2e/testbed/internal/network"
)

// Run serves until ctx ends.
func Run(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	balancer := newBalancer(ctx, client)
	services := factory.Core().V1().Services()
	if _, err := services.Informer().AddEventHandler(balancer.handlers()); err != nil {
		return err
	}
	slices := factory.Discovery().V1().EndpointSlices()
	if err := slices.Informer().AddIndexers(cache.Indexers{byService: sliceIndex}); err != nil {
		return err
	}
	zone := &zone{services: services.Lister(), slices: slices.Informer().GetIndexer()}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	balancer.begin()
	if err := errors.Join(publishDNS(ctx, client), publishGate(ctx, client)); err != nil {
		return err
	}
	return serveDNS(ctx, network.NodeIP+":53", zone.answer)
}

// publishDNS makes the Service that Pods find in their resolv.conf. Its endpoint is this process, which
// has no Pod: so the EndpointSlice is our own.
func publishDNS(ctx context.Context, client *kubernetes.Clientset) error {
	const name = "kube-dns"
	ports := []corev1.ServicePort{
		{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
		{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP},
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: name,
			Labels: map[string]string{"k8s-app": name}},
		Spec: corev1.ServiceSpec{ClusterIP: network.DNSIP, Ports: ports},
	}
	_, err := client.CoreV1().Services(service.Namespace).Create(ctx, service, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("the Service of DNS: %w", err)
	}
	log.Printf("DNS at %s", network.DNSIP)
	return publishSlice(ctx, client, service.Namespace, name, ports)
}

// publishGate leads the Service `kubernetes` to the gate before the API server.
func publishGate(ctx context.Context, client *kubernetes.Clientset) error {
	ports := []corev1.ServicePort{{Name: "https", Port: network.GatePort, Protocol: corev1.ProtocolTCP}}
	return publishSlice(ctx, client, metav1.NamespaceDefault, "kubernetes", ports)
}

// publishSlice gives a Service the Node as its endpoint.
func publishSlice(ctx context.Context, client *kubernetes.Clientset, namespace, service string,
	ports []corev1.ServicePort,
) error {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: service + "-testbed",
			Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{network.NodeIP}}},
	}
	for _, port := range ports {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
			Name: &port.Name, Port: &port.Port, Protocol: &port.Protocol,
		})
	}
	_, err := client.DiscoveryV1().EndpointSlices(namespace).Create(ctx, slice, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("the EndpointSlice of %s: %w", service, err)
	}
	return nil
}
