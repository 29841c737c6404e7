package network

import (
	"net/netip"
	"testing"
)

func TestPoolSkipsAndComesBackLate(t *testing.T) {
	pool := NewPool("10.0.0.0/29", netip.MustParseAddr("10.0.0.1"))
	var got []string
	for _, owner := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		addr, err := pool.Take(owner)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, addr.String())
		if owner == "a" {
			pool.Release("a")
		}
	}
	if got[0] != "10.0.0.1" || got[1] != "10.0.0.2" || got[6] != "10.0.0.7" {
		t.Fatalf("freed address came back early: %v", got)
	}
	last, err := pool.Take("h")
	if err != nil || last.String() != "10.0.0.1" {
		t.Fatalf("got %v, %v", last, err)
	}
	if addr, err := pool.Take("i"); err == nil {
		t.Fatalf("the pool is empty, yet gave %v", addr)
	}
}

func TestPoolAvoidsNetworkAndBroadcast(t *testing.T) {
	pool := NewPool("10.0.0.0/23", netip.MustParseAddr("10.0.0.254"))
	for _, want := range []string{"10.0.0.254", "10.0.1.1"} {
		if addr, err := pool.Take(want); err != nil || addr.String() != want {
			t.Fatalf("got %v, %v, want %s", addr, err, want)
		}
	}
}

func TestPoolClaim(t *testing.T) {
	pool := NewPool(LoadBalancerCIDR, FirstLoadBalancer)
	addr := FirstLoadBalancer
	if !pool.Claim(addr, "a") || !pool.Claim(addr, "a") || pool.Claim(addr, "b") {
		t.Fatal("an address belongs to its first owner")
	}
	if pool.Claim(netip.MustParseAddr("192.0.2.1"), "a") {
		t.Fatal("claimed an address outside of the range")
	}
	if next, err := pool.Take("b"); err != nil || next == addr {
		t.Fatalf("got %v, %v", next, err)
	}
}
