// Package probe decides from probe results whether a container is started, ready and alive.
package probe

import corev1 "k8s.io/api/core/v1"

// Kind of a probe.
type Kind int

// The kinds, in the order in which they begin: the others wait for the startup probe.
const (
	Startup Kind = iota
	Readiness
	Liveness
)

func (k Kind) String() string { return [...]string{"startup", "readiness", "liveness"}[k] }

// Tracker turns single results into a verdict, with the thresholds of a probe.
type Tracker struct {
	successes, failures int32
	// Passing is the verdict. A container is alive until proven dead, but neither started nor ready
	// until proven so.
	Passing bool
	last    bool
	run     int32
}

// NewTracker takes the thresholds of a probe: by default one success or three failures in a row.
func NewTracker(kind Kind, probe *corev1.Probe) *Tracker {
	t := &Tracker{successes: 1, failures: 3, Passing: kind == Liveness}
	if probe.SuccessThreshold > 0 {
		t.successes = probe.SuccessThreshold
	}
	if probe.FailureThreshold > 0 {
		t.failures = probe.FailureThreshold
	}
	return t
}

// Observe takes a result and reports whether the verdict is settled by it: the threshold of this kind of
// result is reached.
func (t *Tracker) Observe(success bool) bool {
	if t.run > 0 && success == t.last {
		t.run++
	} else {
		t.last, t.run = success, 1
	}
	threshold := t.failures
	if success {
		threshold = t.successes
	}
	if t.run < threshold {
		return false
	}
	t.Passing = success
	return true
}
