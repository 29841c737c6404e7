package probe

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// observe feeds results ('+' or '-') and returns the verdict after each.
func observe(kind Kind, probe corev1.Probe, results string) string {
	tracker := NewTracker(kind, &probe)
	var verdicts strings.Builder
	for _, result := range results {
		tracker.Observe(result == '+')
		if tracker.Passing {
			verdicts.WriteByte('+')
		} else {
			verdicts.WriteByte('-')
		}
	}
	return verdicts.String()
}

func TestThresholds(t *testing.T) {
	for _, c := range []struct {
		kind          Kind
		probe         corev1.Probe
		results, want string
	}{
		{Liveness, corev1.Probe{}, "--+---", "+++++-"},
		{Readiness, corev1.Probe{}, "-+--+---", "-++++++-"},
		{Readiness, corev1.Probe{FailureThreshold: 1}, "+-+", "+-+"},
		{Readiness, corev1.Probe{SuccessThreshold: 2}, "+-++", "---+"},
	} {
		if got := observe(c.kind, c.probe, c.results); got != c.want {
			t.Errorf("%v %s: got %s, want %s", c.kind, c.results, got, c.want)
		}
	}
}

func TestReadinessIsSeenEarlyAndFailuresCountByPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var verdicts []string
		// Ready from second 3 to 20, with a period of 10 s and one failure allowed.
		try := func(context.Context) error {
			if age := time.Since(began); age < 3*time.Second || age > 20*time.Second {
				return errors.New("no")
			}
			return nil
		}
		probe := &corev1.Probe{PeriodSeconds: 10, FailureThreshold: 2}
		Run(ctx, Readiness, probe, try, func(passing bool, _ error) {
			verdicts = append(verdicts, time.Since(began).String())
			if passing != (time.Since(began) < 20*time.Second) {
				t.Errorf("passing is %v after %s", passing, time.Since(began))
			}
		})
		// 3.0: an early look; 13.0; fails at 23.0 and 33.0, which is the second in a row; then each period.
		if got := strings.Join(verdicts, " "); got != "3s 13s 33s 43s 53s" {
			t.Errorf("verdicts at %s", got)
		}
	})
}

func TestStartupGivesUpByItsThreshold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		probe := &corev1.Probe{PeriodSeconds: 2, FailureThreshold: 3}
		fail := func(context.Context) error { return errors.New("no") }
		var passing = true
		Run(t.Context(), Startup, probe, fail, func(p bool, _ error) { passing = p })
		if age := time.Since(began).Round(100 * time.Millisecond); passing || age != 4*time.Second {
			t.Errorf("passing %v after %s", passing, age)
		}
	})
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example" || r.URL.RawQuery != "a=b" || r.URL.Path != "/ready" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	address := server.Listener.Addr().(*net.TCPAddr)
	container := &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{
		{Name: "web", ContainerPort: int32(address.Port)},
	}}
	action := &corev1.HTTPGetAction{
		Path: "ready?a=b", Port: intstr.FromString("web"),
		HTTPHeaders: []corev1.HTTPHeader{{Name: "host", Value: "shop.example"}},
	}
	if err := HTTP(t.Context(), action, container, address.IP.String()); err != nil {
		t.Error(err)
	}
	action.HTTPHeaders = nil
	if err := HTTP(t.Context(), action, container, address.IP.String()); err == nil {
		t.Error("status 418 passes")
	}
	action.Port = intstr.FromString("none")
	if err := HTTP(t.Context(), action, container, address.IP.String()); err == nil {
		t.Error("found a port that is not declared")
	}
}
