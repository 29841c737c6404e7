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
func SetupRoot(ipv6 bool) error {
	if ipv6 {
		if err := enableIPv6(); err != nil {
			return err
		}
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return err
	}
	families := []family{{NodeIP, VirtualCIDR}}
	if ipv6 {
		families = append(families, family{NodeIP6, VirtualCIDR6})
	}
	for _, f := range families {
		if err := netlink.AddrAdd(loopback, &netlink.Addr{IPNet: host(net.ParseIP(f.node))}); err != nil {
			return fmt.Errorf("address %s: %w", f.node, err)
		}
	}
	if err := virtualRoute(families); err != nil {
		return err
	}
	return writeSysctls(map[string]string{
		"net/ipv4/ip_forward":                 "1",
		"net/ipv4/ip_unprivileged_port_start": "0",
		"net/ipv4/ip_local_port_range":        "15000 65000",
	})
}

// family is what differs between IPv4 and IPv6.
type family struct{ node, virtual string }

// enableIPv6 turns the family on in the namespace of the calling thread; container runtimes often turn it
// off. Addresses are ours alone, so nothing has to be waited for to find duplicates.
func enableIPv6() error {
	err := writeSysctls(map[string]string{
		"net/ipv6/conf/all/disable_ipv6":     "0",
		"net/ipv6/conf/default/disable_ipv6": "0",
		"net/ipv6/conf/default/accept_dad":   "0",
		"net/ipv6/conf/all/forwarding":       "1",
	})
	if err != nil {
		return fmt.Errorf("this machine has no IPv6, so --ipv6 cannot be: %w", err)
	}
	return nil
}

// virtualRoute uses a veth pair because many kernels lack the dummy driver.
func virtualRoute(families []family) error {
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
	for _, f := range families {
		_, destination, err := net.ParseCIDR(f.virtual)
		if err != nil {
			return err
		}
		err = netlink.RouteAdd(&netlink.Route{
			LinkIndex: link.Attrs().Index,
			Dst:       destination,
			Src:       net.ParseIP(f.node),
			Scope:     netlink.SCOPE_LINK,
		})
		if err != nil {
			return fmt.Errorf("route to %s: %w", f.virtual, err)
		}
	}
	return nil
}

// writeSysctls sets values in the network namespace of the calling thread.
func writeSysctls(values map[string]string) error {
	var errs []error
	for name, value := range values {
		errs = append(errs, os.WriteFile("/proc/sys/"+name, []byte(value), 0o644))
	}
	return errors.Join(errs...)
}
