package services

import (
	"context"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// whoamiZones are names below which the stand-in tells who asks. It answers nothing else: the real server
// would forward, and the bed must not talk to the world.
var whoamiZones = []string{"foo.bar.com.", "whoami."}

// CoreDNS stands in for the image of that name in Pods: it takes the place of its `whoami` plug-in, which
// puts the client's address into the additional section.
func CoreDNS(ctx context.Context) error {
	handler := dns.HandlerFunc(func(writer dns.ResponseWriter, question *dns.Msg) {
		_ = writer.WriteMsg(whoami(question, writer.RemoteAddr()))
	})
	failed := make(chan error, 2)
	for _, protocol := range []string{"udp", "tcp"} {
		server := &dns.Server{Addr: ":53", Net: protocol, Handler: handler}
		go func() { failed <- server.ListenAndServe() }()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		return err
	}
}

func whoami(question *dns.Msg, client net.Addr) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(question)
	if len(question.Question) != 1 {
		reply.Rcode = dns.RcodeFormatError
		return reply
	}
	name := question.Question[0].Name
	known := false
	for _, zone := range whoamiZones {
		known = known || dns.IsSubDomain(zone, strings.ToLower(name))
	}
	if !known {
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	reply.Authoritative = true
	host, _, err := net.SplitHostPort(client.String())
	if err != nil {
		return reply
	}
	header := dns.RR_Header{Name: name, Class: dns.ClassINET}
	if address := net.ParseIP(host); address.To4() != nil {
		header.Rrtype = dns.TypeA
		reply.Extra = append(reply.Extra, &dns.A{Hdr: header, A: address.To4()})
	} else {
		header.Rrtype = dns.TypeAAAA
		reply.Extra = append(reply.Extra, &dns.AAAA{Hdr: header, AAAA: address})
	}
	return reply
}
