package services

import (
	"fmt"
	"net"
	"sort"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"
)

const servicesYAML = `
- {metadata: {namespace: shop, name: web}, spec: {clusterIP: 10.96.1.2, clusterIPs: [10.96.1.2]}}
- {metadata: {namespace: shop, name: db}, spec: {clusterIP: None, clusterIPs: [None]}}
- {metadata: {namespace: shop, name: out}, spec: {type: ExternalName, externalName: shop.example}}
`

const slicesYAML = `
- metadata: {namespace: shop, name: a, labels: {kubernetes.io/service-name: db}}
  endpoints:
  - {addresses: [10.244.1.1], hostname: db-0}
  - {addresses: [10.244.1.2], conditions: {ready: false}}
  - {addresses: [10.244.1.3], conditions: {ready: true}}
- metadata: {namespace: other, name: b, labels: {kubernetes.io/service-name: db}}
  endpoints: [{addresses: [10.244.1.9]}]
`

func load[T any](t *testing.T, text string, add func(*T) error) {
	t.Helper()
	var objects []T
	if err := yaml.Unmarshal([]byte(text), &objects); err != nil {
		t.Fatal(err)
	}
	for i := range objects {
		if err := add(&objects[i]); err != nil {
			t.Fatal(err)
		}
	}
}

// ask returns the answer as "RCODE records…".
func ask(z *zone, name string, kind uint16) string {
	question := new(dns.Msg)
	question.SetQuestion(name, kind)
	reply := z.answer(question)
	var records []string
	for _, record := range reply.Answer {
		switch record := record.(type) {
		case *dns.A:
			records = append(records, record.A.String())
		case *dns.CNAME:
			records = append(records, record.Target)
		}
	}
	sort.Strings(records)
	return strings.TrimSpace(fmt.Sprintf("%s %s", dns.RcodeToString[reply.Rcode], strings.Join(records, " ")))
}

func TestZone(t *testing.T) {
	services := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	slices := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{byService: sliceIndex})
	load(t, servicesYAML, func(s *corev1.Service) error { return services.Add(s) })
	load(t, slicesYAML, func(s *discoveryv1.EndpointSlice) error { return slices.Add(s) })
	z := &zone{services: corelisters.NewServiceLister(services), slices: slices}
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web.shop.svc.cluster.local.", dns.TypeA, "NOERROR 10.96.1.2"},
		{"WEB.shop.svc.cluster.local.", dns.TypeAAAA, "NOERROR"},
		{"db.shop.svc.cluster.local.", dns.TypeA, "NOERROR 10.244.1.1 10.244.1.3"},
		{"db-0.db.shop.svc.cluster.local.", dns.TypeA, "NOERROR 10.244.1.1"},
		{"10-244-1-3.db.shop.svc.cluster.local.", dns.TypeA, "NOERROR 10.244.1.3"},
		{"db-9.db.shop.svc.cluster.local.", dns.TypeA, "NXDOMAIN"},
		{"out.shop.svc.cluster.local.", dns.TypeA, "NOERROR shop.example."},
		{"10-244-1-3.shop.pod.cluster.local.", dns.TypeA, "NOERROR 10.244.1.3"},
		{"none.shop.svc.cluster.local.", dns.TypeA, "NXDOMAIN"},
		{"shop.example.", dns.TypeA, "NXDOMAIN"},
	} {
		if got := ask(z, c.name, c.kind); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWhoamiTellsTheClientAndNothingElse(t *testing.T) {
	client := &net.UDPAddr{IP: net.ParseIP("10.244.1.7"), Port: 4711}
	question := new(dns.Msg)
	question.SetQuestion("foo.bar.com.", dns.TypeA)
	reply := whoami(question, client)
	if len(reply.Extra) != 1 || !reply.Extra[0].(*dns.A).A.Equal(client.IP) {
		t.Errorf("got %v", reply)
	}
	question.SetQuestion("shop.example.", dns.TypeA)
	if reply = whoami(question, client); reply.Rcode != dns.RcodeRefused {
		t.Errorf("got %v", reply)
	}
}
