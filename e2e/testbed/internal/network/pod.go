package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// PodNamespace is the network namespace that all containers of a Pod share. It lives as long as the
// handle is open or a process is in it.
type PodNamespace struct {
	// IPs of the Pod: IPv4, and IPv6 if the bed has it.
	IPs    []netip.Addr
	handle netns.NsHandle
	link   string
}

// Path opens the namespace, as long as p is not closed.
func (p *PodNamespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(p.handle))
}

// NewPodNamespace makes a namespace with loopback and an eth0 that has ips, linked to the bed's root
// namespace by a veth pair. link is the name of the outer end, at most 15 characters.
func NewPodNamespace(ips []netip.Addr, link string) (*PodNamespace, error) {
	handle, err := newNamespace(len(ips) > 1)
	if err != nil {
		return nil, err
	}
	pod := &PodNamespace{IPs: ips, handle: handle, link: link}
	if err := pod.connect(); err != nil {
		_ = pod.Close()
		return nil, fmt.Errorf("network of %s: %w", ips, err)
	}
	return pod, nil
}

// Close removes the link and lets go of the namespace.
func (p *PodNamespace) Close() error {
	if link, err := netlink.LinkByName(p.link); err == nil {
		_ = netlink.LinkDel(link)
	}
	return p.handle.Close()
}

// newNamespace makes a namespace on a thread of its own, which then ends: a locked goroutine that
// returns takes its thread along, so no other goroutine ever runs in the wrong namespace.
func newNamespace(ipv6 bool) (netns.NsHandle, error) {
	type result struct {
		handle netns.NsHandle
		err    error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{netns.None(), fmt.Errorf("new network namespace: %w", err)}
			return
		}
		// Containers run servers on low ports without a capability, as in containerd.
		err := writeSysctls(map[string]string{"net/ipv4/ip_unprivileged_port_start": "0"})
		if err == nil && ipv6 {
			err = enableIPv6()
		}
		if err != nil {
			done <- result{netns.None(), err}
			return
		}
		handle, err := netns.GetFromPath("/proc/thread-self/ns/net")
		done <- result{handle, err}
	}()
	r := <-done
	return r.handle, r.err
}

func (p *PodNamespace) connect() error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = p.link
	pair := &netlink.Veth{
		LinkAttrs:     attributes,
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(int(p.handle)),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("veth pair: %w", err)
	}
	outer, err := netlink.LinkByName(p.link)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(outer); err != nil {
		return err
	}
	inside, err := netlink.NewHandleAt(p.handle)
	if err != nil {
		return err
	}
	defer inside.Close()
	if err := p.inner(inside); err != nil {
		return err
	}
	for _, ip := range p.IPs {
		route := netlink.Route{
			LinkIndex: outer.Attrs().Index, Dst: host(ip.AsSlice()), Src: net.ParseIP(NodeIP), Scope: netlink.SCOPE_LINK,
		}
		if ip.Is6() {
			gateway := &net.IPNet{IP: net.ParseIP(gatewayIP6), Mask: net.CIDRMask(64, 128)}
			if err := netlink.AddrAdd(outer, &netlink.Addr{IPNet: gateway, Flags: unix.IFA_F_NODAD}); err != nil {
				return err
			}
			route.Src = net.ParseIP(NodeIP6)
		}
		if err := netlink.RouteAdd(&route); err != nil {
			return err
		}
	}
	return nil
}

// inner sets up the Pod's side: its gateway is the Node's address, which answers on every link.
func (p *PodNamespace) inner(inside *netlink.Handle) error {
	loopback, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := inside.LinkSetUp(loopback); err != nil {
		return err
	}
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, ip := range p.IPs {
		if err := inside.AddrAdd(eth0, &netlink.Addr{IPNet: host(ip.AsSlice()), Flags: noDAD(ip)}); err != nil {
			return err
		}
	}
	if err := inside.LinkSetUp(eth0); err != nil {
		return err
	}
	index := eth0.Attrs().Index
	for _, ip := range p.IPs {
		gateway := net.ParseIP(NodeIP)
		if ip.Is6() {
			gateway = net.ParseIP(gatewayIP6)
		} else if err := inside.RouteAdd(&netlink.Route{
			LinkIndex: index, Dst: host(gateway), Scope: netlink.SCOPE_LINK,
		}); err != nil {
			return err
		}
		if err := inside.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway, Src: ip.AsSlice()}); err != nil {
			return err
		}
	}
	return nil
}

// noDAD makes an IPv6 address usable at once.
func noDAD(ip netip.Addr) int {
	if ip.Is6() {
		return unix.IFA_F_NODAD
	}
	return 0
}

// host is the network of one address.
func host(ip net.IP) *net.IPNet {
	if v4 := ip.To4(); v4 != nil {
		return &net.IPNet{IP: v4, Mask: net.CIDRMask(32, 32)}
	}
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(128, 128)}
}
