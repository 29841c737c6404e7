package network

import (
	"fmt"
	"net/netip"
	"sync"
)

// Pool hands out addresses, each to one owner, and returns to a freed one as late as possible, because
// clients may still hold connections to it.
type Pool struct {
	prefix netip.Prefix
	first  netip.Addr

	mu     sync.Mutex
	next   netip.Addr
	owners map[netip.Addr]string
}

// NewPool hands out the addresses of prefix from first on.
func NewPool(prefix string, first netip.Addr) *Pool {
	return &Pool{
		prefix: netip.MustParsePrefix(prefix),
		first:  first,
		next:   first,
		owners: map[netip.Addr]string{},
	}
}

// Take gives owner the next free address.
func (p *Pool) Take(owner string) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := p.next
	for {
		addr := p.next
		p.next = addr.Next()
		if !p.prefix.Contains(p.next) {
			p.next = p.first
		}
		if _, taken := p.owners[addr]; !taken && p.usable(addr) {
			p.owners[addr] = owner
			return addr, nil
		}
		if p.next == start {
			return netip.Addr{}, fmt.Errorf("no address left in %s", p.prefix)
		}
	}
}

// Claim gives owner a certain address; it reports whether owner has it now.
func (p *Pool) Claim(addr netip.Addr, owner string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.usable(addr) {
		return false
	}
	if current, taken := p.owners[addr]; taken {
		return current == owner
	}
	p.owners[addr] = owner
	return true
}

// Release frees all addresses of owner.
func (p *Pool) Release(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, current := range p.owners {
		if current == owner {
			delete(p.owners, addr)
		}
	}
}

// usable leaves out addresses ending in 0 and 255: some clients take them for network and broadcast.
func (p *Pool) usable(addr netip.Addr) bool {
	if !p.prefix.Contains(addr) || addr.Less(p.first) {
		return false
	}
	if !addr.Is4() {
		return true
	}
	last := addr.As4()[3]
	return last != 0 && last != 255
}
