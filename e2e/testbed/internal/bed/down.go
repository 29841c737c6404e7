package bed

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"ferrogate/e2e/testbed/internal/state"
)

// Down ends a bed and removes all of it but the logs. A bed that is down already is no error.
func Down(path string) error {
	dir, err := state.Resolve(path)
	if err != nil {
		return err
	}
	instance, err := dir.Load()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// With the file gone, `up` in the foreground knows that the end was asked for.
	if err := os.Remove(dir.InstanceFile()); err != nil {
		return err
	}
	if err := kill(instance); err != nil {
		// The bed must stay findable.
		return errors.Join(err, dir.Save(instance))
	}
	return dir.Clean()
}

// kill ends process 1 and waits until the kernel has ended all others of its namespace, which it does
// before process 1 counts as ended. The descriptor makes sure that no other process is hit.
func kill(instance state.Instance) error {
	fd, err := unix.PidfdOpen(instance.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if started, err := state.StartTime(instance.PID); err != nil || started != instance.Started {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d: %w", instance.PID, err)
	}
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); ; {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		ready, err := unix.Poll(poll, int(time.Until(deadline).Milliseconds()))
		switch {
		case ready > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("process %d did not end within %s", instance.PID, patience)
		}
	}
}
