package network

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
)

// virtualLink is the link that the route of all virtual addresses points to. Nothing reads from it:
// kube-proxy's rules have changed the destination before a packet gets there.
const virtualLink = "svc0"

// SetupRoot prepares the root namespace of the bed: its address, forwarding, and the route that takes
// connections to virtual addresses through kube-proxy's rules.
func SetupRoot() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return err
	}
	address, err := netlink.ParseAddr(NodeIP + "/32")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(loopback, address); err != nil {
		return fmt.Errorf("address %s: %w", NodeIP, err)
	}
	if err := virtualRoute(); err != nil {
		return err
	}
	return writeSysctls(map[string]string{
		"net/ipv4/ip_forward":                 "1",
		"net/ipv4/ip_unprivileged_port_start": "0",
		"net/ipv4/ip_local_port_range":        "15000 65000",
	})
}

// virtualRoute uses a veth pair because many kernels lack the dummy driver.
func virtualRoute() error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = virtualLink
	pair := &netlink.Veth{LinkAttrs: attributes, PeerName: virtualLink + "-peer"}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("veth pair %s: %w", virtualLink, err)
	}
	for _, name := range []string{virtualLink, pair.PeerName} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
	}
	link, err := netlink.LinkByName(virtualLink)
	if err != nil {
		return err
	}
	_, destination, err := net.ParseCIDR(VirtualCIDR)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       destination,
		Src:       net.ParseIP(NodeIP),
		Scope:     netlink.SCOPE_LINK,
	})
}

// writeSysctls sets values in the network namespace of the calling thread.
func writeSysctls(values map[string]string) error {
	var errs []error
	for name, value := range values {
		errs = append(errs, os.WriteFile("/proc/sys/"+name, []byte(value), 0o644))
	}
	return errors.Join(errs...)
}
