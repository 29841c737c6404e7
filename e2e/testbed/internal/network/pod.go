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
	// IP of the Pod.
	IP     netip.Addr
	handle netns.NsHandle
	link   string
}

// File is an open handle of the namespace, to be given to a child process. It stays owned by p.
func (p *PodNamespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(p.handle))
}

// NewPodNamespace makes a namespace with loopback and an eth0 that has ip, linked to the bed's root
// namespace by a veth pair. link is the name of the outer end, at most 15 characters.
func NewPodNamespace(ip netip.Addr, link string) (*PodNamespace, error) {
	handle, err := newNamespace()
	if err != nil {
		return nil, err
	}
	pod := &PodNamespace{IP: ip, handle: handle, link: link}
	if err := pod.connect(); err != nil {
		_ = pod.Close()
		return nil, fmt.Errorf("network of %s: %w", ip, err)
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
func newNamespace() (netns.NsHandle, error) {
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
	return netlink.RouteAdd(&netlink.Route{
		LinkIndex: outer.Attrs().Index,
		Dst:       host(net.IP(p.IP.AsSlice())),
		Src:       net.ParseIP(NodeIP),
		Scope:     netlink.SCOPE_LINK,
	})
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
	ip := net.IP(p.IP.AsSlice())
	if err := inside.AddrAdd(eth0, &netlink.Addr{IPNet: host(ip)}); err != nil {
		return err
	}
	if err := inside.LinkSetUp(eth0); err != nil {
		return err
	}
	index, gateway := eth0.Attrs().Index, net.ParseIP(NodeIP)
	err = inside.RouteAdd(&netlink.Route{LinkIndex: index, Dst: host(gateway), Scope: netlink.SCOPE_LINK})
	if err != nil {
		return err
	}
	return inside.RouteAdd(&netlink.Route{LinkIndex: index, Gw: gateway, Src: ip})
}

func host(ip net.IP) *net.IPNet {
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(32, 32)}
}
