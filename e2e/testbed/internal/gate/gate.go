package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ferrogate/e2e/testbed/internal/network"
	"ferrogate/e2e/testbed/internal/state"
)

// lookPause is how often a running watch looks whether it is to be cut.
const lookPause = 200 * time.Millisecond

// Serve passes requests to the API server at port of the loopback until it fails.
func Serve(dir state.Dir, port int) error {
	ca, err := os.ReadFile(dir.Key("ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	target := &url.URL{Scheme: "https", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true},
		FlushInterval: -1, // events of watches must not wait
		ErrorHandler: func(_ http.ResponseWriter, request *http.Request, err error) {
			log.Printf("%s %s: %v", request.Method, request.URL.Path, err)
			// As if nobody had answered.
			panic(http.ErrAbortHandler)
		},
	}
	certificate, err := tls.LoadX509KeyPair(dir.Key("apiserver.crt"), dir.Key("apiserver.key"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(network.NodeIP, fmt.Sprint(network.GatePort)))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler(dir.Faults(), proxy),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		ReadHeaderTimeout: 10 * time.Second,
	}
	return server.ServeTLS(listener, "", "")
}

// handler applies the faults of the moment to each request.
func handler(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		faults := read(path)
		if faults.concern(request) {
			if faults.Delay > 0 {
				select {
				case <-request.Context().Done():
					return
				case <-time.After(faults.Delay):
				}
			}
			if faults.Status != 0 {
				refuse(response, faults.Status)
				return
			}
		}
		if (Faults{Only: "watches"}).concern(request) {
			ctx, cancel := context.WithCancel(request.Context())
			defer cancel()
			go cut(ctx, cancel, path, time.Now())
			request = request.WithContext(ctx)
		}
		next.ServeHTTP(response, request)
	})
}

// cut cancels a watch when the faults say so, also those that came after its begin.
func cut(ctx context.Context, cancel context.CancelFunc, path string, began time.Time) {
	ticker := time.NewTicker(lookPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if limit := read(path).Cut; limit > 0 && time.Since(began) >= limit {
				cancel()
				return
			}
		}
	}
}

// refuse answers as an API server would.
func refuse(response http.ResponseWriter, code int) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Message: "refused by the test bed's gate",
		Reason: reasons[code],
	}
	response.Header().Set("Content-Type", "application/json")
	if code == http.StatusTooManyRequests {
		response.Header().Set("Retry-After", "1")
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	}
	response.WriteHeader(code)
	_ = json.NewEncoder(response).Encode(status)
}

var reasons = map[int]metav1.StatusReason{
	http.StatusUnauthorized:        metav1.StatusReasonUnauthorized,
	http.StatusForbidden:           metav1.StatusReasonForbidden,
	http.StatusConflict:            metav1.StatusReasonConflict,
	http.StatusGone:                metav1.StatusReasonExpired,
	http.StatusTooManyRequests:     metav1.StatusReasonTooManyRequests,
	http.StatusInternalServerError: metav1.StatusReasonInternalError,
	http.StatusServiceUnavailable:  metav1.StatusReasonServiceUnavailable,
}
