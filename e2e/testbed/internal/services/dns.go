package services

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"ferrogate/e2e/testbed/internal/network"
)

// ttl of answers in seconds: short, since tests change Services all the time.
const ttl = 1

// byService indexes EndpointSlices by namespace/name of their Service.
const byService = "service"

func sliceIndex(object any) ([]string, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil, nil
	}
	return []string{slice.Namespace + "/" + slice.Labels[discoveryv1.LabelServiceName]}, nil
}

// serveDNS answers over UDP and TCP until ctx ends.
func serveDNS(ctx context.Context, address string, answer func(*dns.Msg) *dns.Msg) error {
	handler := dns.HandlerFunc(func(writer dns.ResponseWriter, question *dns.Msg) {
		_ = writer.WriteMsg(answer(question))
	})
	failed := make(chan error, 2)
	for _, protocol := range []string{"udp", "tcp"} {
		server := &dns.Server{Addr: address, Net: protocol, Handler: handler}
		go func() { failed <- server.ListenAndServe() }()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		return err
	}
}

// zone answers for the cluster's domain from Services and EndpointSlices, and for nothing else: the bed
// never asks another server.
type zone struct {
	services corelisters.ServiceLister
	slices   cache.Indexer
}

func (z *zone) answer(question *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(question)
	reply.Authoritative = true
	if len(question.Question) != 1 {
		reply.Rcode = dns.RcodeFormatError
		return reply
	}
	asked := question.Question[0]
	name := strings.ToLower(asked.Name)
	if !dns.IsSubDomain(network.Domain+".", name) {
		reply.Rcode = dns.RcodeNameError
		return reply
	}
	found, err := z.lookup(strings.TrimSuffix(name, "."+network.Domain+"."))
	if err != nil {
		reply.Rcode = dns.RcodeNameError
		return reply
	}
	header := dns.RR_Header{Name: asked.Name, Class: dns.ClassINET, Ttl: ttl}
	if found.alias != "" {
		header.Rrtype = dns.TypeCNAME
		reply.Answer = append(reply.Answer, &dns.CNAME{Hdr: header, Target: dns.Fqdn(found.alias)})
		return reply
	}
	for _, address := range found.addresses {
		if v4 := address.To4(); v4 != nil && asked.Qtype == dns.TypeA {
			header.Rrtype = dns.TypeA
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: v4})
		} else if v4 == nil && asked.Qtype == dns.TypeAAAA {
			header.Rrtype = dns.TypeAAAA
			reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: header, AAAA: address})
		}
	}
	return reply
}

// records of a name: an alias or addresses; without either the name exists but holds nothing.
type records struct {
	alias     string
	addresses []net.IP
}

var errNoName = errors.New("no such name")

// lookup knows SERVICE.NAMESPACE.svc, HOST.SERVICE.NAMESPACE.svc and 10-244-1-1.NAMESPACE.pod.
func (z *zone) lookup(name string) (records, error) {
	labels := strings.Split(name, ".")
	switch {
	case len(labels) == 3 && labels[2] == "svc":
		return z.service(labels[1], labels[0], "")
	case len(labels) == 4 && labels[3] == "svc":
		return z.service(labels[2], labels[1], labels[0])
	case len(labels) == 3 && labels[2] == "pod":
		if address := net.ParseIP(strings.ReplaceAll(labels[0], "-", ".")); address != nil {
			return records{addresses: []net.IP{address}}, nil
		}
	case name == "svc" || name == "pod" || len(labels) == 2 && (labels[1] == "svc" || labels[1] == "pod"):
		return records{}, nil
	}
	return records{}, errNoName
}

func (z *zone) service(namespace, name, host string) (records, error) {
	service, err := z.services.Services(namespace).Get(name)
	if err != nil {
		return records{}, err
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return records{alias: service.Spec.ExternalName}, nil
	}
	if service.Spec.ClusterIP != corev1.ClusterIPNone && host == "" {
		var found records
		for _, address := range service.Spec.ClusterIPs {
			found.addresses = append(found.addresses, net.ParseIP(address))
		}
		return found, nil
	}
	return z.endpoints(service, host)
}

// endpoints of a headless Service: those that are ready, or all if the Service publishes them so.
func (z *zone) endpoints(service *corev1.Service, host string) (records, error) {
	objects, err := z.slices.ByIndex(byService, service.Namespace+"/"+service.Name)
	if err != nil {
		return records{}, err
	}
	var found records
	for _, object := range objects {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			if !ready && !service.Spec.PublishNotReadyAddresses || host != "" && hostOf(endpoint) != host {
				continue
			}
			for _, address := range endpoint.Addresses {
				found.addresses = append(found.addresses, net.ParseIP(address))
			}
		}
	}
	if host != "" && len(found.addresses) == 0 {
		return records{}, errNoName
	}
	return found, nil
}

// hostOf is the endpoint's name below its Service: its hostname, else its address with dashes.
func hostOf(endpoint discoveryv1.Endpoint) string {
	if endpoint.Hostname != nil && *endpoint.Hostname != "" {
		return *endpoint.Hostname
	}
	if len(endpoint.Addresses) == 0 {
		return ""
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(endpoint.Addresses[0])
}
