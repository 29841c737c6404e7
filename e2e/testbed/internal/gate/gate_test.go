package gate

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	faults, err := Parse([]string{"delay=5s", "only=writes"})
	if err != nil || faults != (Faults{Delay: 5 * time.Second, Only: "writes"}) {
		t.Errorf("got %+v, %v", faults, err)
	}
	if faults, err = Parse([]string{"none"}); err != nil || faults != (Faults{}) {
		t.Errorf("got %+v, %v", faults, err)
	}
	for _, words := range [][]string{nil, {"delay=5"}, {"status=200"}, {"only=all"}, {"slow"}, {"none", "cut=1s"}} {
		if faults, err := Parse(words); err == nil {
			t.Errorf("%v gave %+v", words, faults)
		}
	}
}

func TestFaultsConcern(t *testing.T) {
	path := filepath.Join(t.TempDir(), "faults")
	server := httptest.NewServer(handler(path, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	defer server.Close()
	status := func(method, path string) int {
		t.Helper()
		request, err := http.NewRequest(method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	for _, c := range []struct {
		only               string
		write, read, watch int
	}{{"", 429, 429, 429}, {"writes", 429, 200, 200}, {"reads", 200, 429, 200}, {"watches", 200, 200, 429}} {
		if err := Write(path, Faults{Status: 429, Only: c.only}); err != nil {
			t.Fatal(err)
		}
		write, read, watch := status("PATCH", "/a"), status("GET", "/a"), status("GET", "/a?watch=true")
		if write != c.write || read != c.read || watch != c.watch {
			t.Errorf("only %q: %d %d %d", c.only, write, read, watch)
		}
	}
}

func TestCutEndsWatchesThatRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "faults")
	began := make(chan struct{})
	server := httptest.NewServer(handler(path, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	})))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/a?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-began
		if err := Write(path, Faults{Cut: time.Millisecond}); err != nil {
			t.Error(err)
		}
	}()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
}
