// Package preflight finds out what the machine lacks before anything is started.
package preflight

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// needed capabilities: namespaces and mounts, networks, roots of containers, devices, users.
var needed = []struct {
	bit  uint
	name string
}{
	{unix.CAP_SYS_ADMIN, "SYS_ADMIN"},
	{unix.CAP_NET_ADMIN, "NET_ADMIN"},
	{unix.CAP_SYS_CHROOT, "SYS_CHROOT"},
	{unix.CAP_SYS_PTRACE, "SYS_PTRACE"},
	{unix.CAP_SETUID, "SETUID"},
	{unix.CAP_SETGID, "SETGID"},
	{unix.CAP_CHOWN, "CHOWN"},
	{unix.CAP_DAC_OVERRIDE, "DAC_OVERRIDE"},
	{unix.CAP_KILL, "KILL"},
}

// Check returns what is missing, with the command that mends it.
func Check() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("root is needed for namespaces, mounts and nftables; run: sudo -E %s",
			strings.Join(os.Args, " "))
	}
	var errs []error
	if missing := missingCapabilities(); len(missing) > 0 {
		errs = append(errs, fmt.Errorf("capabilities are missing: %s; "+
			"in a container start it with: docker run --privileged …", strings.Join(missing, " ")))
	}
	if _, err := exec.LookPath("nft"); err != nil {
		errs = append(errs, errors.New("`nft` is missing (kube-proxy needs it); run: e2e/testbed/install"))
	}
	if filesystems, err := os.ReadFile("/proc/filesystems"); err == nil &&
		!strings.Contains(string(filesystems), "\toverlay\n") {
		// A module that is not loaded yet is loaded by the first mount; say it only if that cannot be.
		if _, err := exec.LookPath("modprobe"); err != nil {
			errs = append(errs, errors.New("the kernel knows no overlay file system; run: modprobe overlay"))
		} else if err := exec.Command("modprobe", "overlay").Run(); err != nil {
			errs = append(errs, errors.New("the kernel has no overlay file system (CONFIG_OVERLAY_FS)"))
		}
	}
	return errors.Join(errs...)
}

func missingCapabilities() []string {
	file, err := os.Open("/proc/self/status")
	if err != nil {
		return nil
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "CapEff:"); ok {
			return missingIn(strings.TrimSpace(value))
		}
	}
	return nil
}

// missingIn reads a capability set in hexadecimal, as in /proc/self/status.
func missingIn(effective string) []string {
	set, err := strconv.ParseUint(effective, 16, 64)
	if err != nil {
		return nil
	}
	var missing []string
	for _, capability := range needed {
		if set&(1<<capability.bit) == 0 {
			missing = append(missing, capability.name)
		}
	}
	return missing
}
