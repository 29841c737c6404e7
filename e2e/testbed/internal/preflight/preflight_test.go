package preflight

import (
	"slices"
	"testing"
)

func TestMissingCapabilities(t *testing.T) {
	if missing := missingIn("000001ffffffffff"); missing != nil {
		t.Errorf("full set lacks %v", missing)
	}
	// What an unprivileged docker container has.
	missing := missingIn("00000000a80425fb")
	if !slices.Equal(missing, []string{"SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"}) {
		t.Errorf("got %v", missing)
	}
}
