package probe

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// earlyLook is how often a probe is tried before its first success, beside its own period: a Pod becomes
// Ready when it is, not up to a period later. Failures of early looks do not count.
const earlyLook = 200 * time.Millisecond

// Try makes one attempt; nil means success.
type Try func(ctx context.Context) error

// Run probes until ctx ends, and calls verdict for each settled result. A startup probe ends with its
// first verdict.
func Run(ctx context.Context, kind Kind, probe *corev1.Probe, try Try, verdict func(passing bool, err error)) {
	period := seconds(probe.PeriodSeconds, 10)
	timeout := seconds(probe.TimeoutSeconds, 1)
	tracker := NewTracker(kind, probe)
	if !rest(ctx, time.Duration(probe.InitialDelaySeconds)*time.Second) {
		return
	}
	due := time.Now()
	succeeded := kind == Liveness
	for {
		err := attempt(ctx, timeout, try)
		if ctx.Err() != nil {
			return
		}
		counts := err == nil || !time.Now().Before(due)
		if counts {
			due = time.Now().Add(period)
			if tracker.Observe(err == nil) {
				verdict(tracker.Passing, err)
				if kind == Startup {
					return
				}
			}
		}
		succeeded = succeeded || err == nil
		pause := time.Until(due)
		if !succeeded {
			pause = min(pause, earlyLook)
		}
		if !rest(ctx, pause) {
			return
		}
	}
}

func attempt(ctx context.Context, timeout time.Duration, try Try) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return try(ctx)
}

// rest reports whether ctx is still alive after the pause.
func rest(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func seconds(value, fallback int32) time.Duration {
	if value <= 0 {
		value = fallback
	}
	return time.Duration(value) * time.Second
}
