package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"ferrogate/e2e/testbed/internal/container"
	"ferrogate/e2e/testbed/internal/network"
	"ferrogate/e2e/testbed/internal/state"
)

// kubeletPort is where the API server asks for logs of containers.
const kubeletPort = 10250

// serve answers `kubectl logs`, `exec` and `port-forward`. Only the API server gets in: by its client certificate.
func (n *Node) serve(dir state.Dir) error {
	certificate, err := tls.LoadX509KeyPair(dir.Key("apiserver.crt"), dir.Key("apiserver.key"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(dir.Key("ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.containerLogs)
	// kubectl speaks by POST or, through websockets, by GET.
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", n.serveExec)
	mux.HandleFunc("/exec/{namespace}/{pod}/{uid}/{container}", n.serveExec)
	mux.HandleFunc("/portForward/{namespace}/{pod}", n.servePortForward)
	mux.HandleFunc("/portForward/{namespace}/{pod}/{uid}", n.servePortForward)
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", network.NodeIP, kubeletPort))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{
		// Streams take the connection over, which HTTP/2 cannot.
		NextProtos:   []string{"http/1.1"},
		Certificates: []tls.Certificate{certificate}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}}
	go func() { log.Print(server.ServeTLS(listener, "", "")) }()
	return nil
}

// containerLogs sends a log with the options tailLines, limitBytes and follow; logs of all runs of a
// container are one file.
func (n *Node) containerLogs(response http.ResponseWriter, request *http.Request) {
	file, err := os.Open(n.dir.PodLog(request.PathValue("namespace"), request.PathValue("pod"),
		request.PathValue("container")))
	if err != nil {
		http.Error(response, err.Error(), http.StatusNotFound)
		return
	}
	defer file.Close()
	query := request.URL.Query()
	if lines, err := strconv.Atoi(query.Get("tailLines")); err == nil {
		if err := seekLines(file, lines); err != nil {
			http.Error(response, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	response.Header().Set("Content-Type", "text/plain")
	var reader io.Reader = file
	if limit, err := strconv.ParseInt(query.Get("limitBytes"), 10, 64); err == nil {
		reader = io.LimitReader(file, limit)
	}
	_, _ = io.Copy(response, reader)
	if query.Get("follow") != "true" {
		return
	}
	w := n.find(request.PathValue("namespace"), request.PathValue("pod"))
	flusher, _ := response.(http.Flusher)
	for w != nil {
		if flusher != nil {
			flusher.Flush()
		}
		select {
		case <-request.Context().Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
		w.mu.Lock()
		finished := w.finished
		w.mu.Unlock()
		_, _ = io.Copy(response, reader)
		if finished {
			return
		}
	}
}

// seekLines moves to where the last lines begin.
func seekLines(file *os.File, lines int) error {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if lines == 0 {
		return nil
	}
	const block = 64 << 10
	buffer := make([]byte, block)
	found := 0
	for end := size; end > 0; {
		begin := max(end-block, 0)
		part := buffer[:end-begin]
		if _, err := file.ReadAt(part, begin); err != nil {
			return err
		}
		for i := len(part) - 1; i >= 0; i-- {
			// The newline at the very end closes the last line and begins none.
			if part[i] != '\n' || begin+int64(i) == size-1 {
				continue
			}
			if found++; found == lines {
				_, err := file.Seek(begin+int64(i)+1, io.SeekStart)
				return err
			}
		}
		end = begin
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}

// container finds the running process that a request names.
func (n *Node) container(request *http.Request) (*worker, *container.Process) {
	w := n.find(request.PathValue("namespace"), request.PathValue("pod"))
	if w == nil {
		return nil, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range append(append([]*unit{}, w.inits...), w.apps...) {
		if u.spec.Name == request.PathValue("container") && u.process != nil && u.now == nil {
			return w, u.process
		}
	}
	return w, nil
}
