package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"

	"ferrogate/e2e/testbed/internal/container"
)

// Limits of streams of `kubectl exec` and `kubectl port-forward`.
const (
	idleStream   = 4 * time.Hour
	createStream = 30 * time.Second
)

// serveExec runs a command in a container for `kubectl exec`. There is no terminal: with -t the streams
// are plain ones.
func (n *Node) serveExec(response http.ResponseWriter, request *http.Request) {
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	w, process := n.container(request)
	if process == nil {
		http.Error(response, "the container does not run", http.StatusNotFound)
		return
	}
	pod := w.current()
	remotecommand.ServeExec(response, request, executor{process}, pod.Name, string(pod.UID),
		request.PathValue("container"), request.URL.Query()["command"], options, idleStream, createStream,
		remotecommand.SupportedStreamingProtocols)
}

// executor runs commands in one container.
type executor struct {
	process *container.Process
}

// ExecInContainer copies the streams through pipes, since the command needs files.
func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, args []string, in io.Reader,
	out, errs io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	var copies sync.WaitGroup
	var child []*os.File
	sink := func(to io.Writer) (*os.File, error) {
		if to == nil {
			return nil, nil
		}
		reader, writer, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		child = append(child, writer)
		copies.Go(func() {
			defer reader.Close()
			_, _ = io.Copy(to, reader)
		})
		return writer, nil
	}
	outFile, err := sink(out)
	if err != nil {
		return err
	}
	errFile, err := sink(errs)
	if err != nil {
		return err
	}
	if errFile == nil {
		errFile = outFile
	}
	command, err := e.process.Command(args, outFile, errFile)
	if err == nil && in != nil {
		var reader, writer *os.File
		if reader, writer, err = os.Pipe(); err == nil {
			child = append(child, reader)
			command.Stdin = reader
			go func() {
				defer writer.Close()
				_, _ = io.Copy(writer, in)
			}()
		}
	}
	if err != nil {
		closeAll(child)
		return err
	}
	exit, err := command.Run(ctx)
	closeAll(child)
	copies.Wait()
	if err != nil {
		return err
	}
	if exit.Code != 0 {
		return exec.CodeExitError{Err: fmt.Errorf("exit code %d", exit.Code), Code: exit.Code}
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

// servePortForward leads `kubectl port-forward` to a Pod's loopback, where Envoy's admin port is.
func (n *Node) servePortForward(response http.ResponseWriter, request *http.Request) {
	options, err := portforward.NewV4Options(request)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	w := n.find(request.PathValue("namespace"), request.PathValue("pod"))
	if w == nil {
		http.Error(response, "no such Pod on this Node", http.StatusNotFound)
		return
	}
	pod := w.current()
	portforward.ServePortForward(response, request, forwarder{w}, pod.Name, string(pod.UID), options,
		idleStream, createStream, portforward.SupportedProtocols)
}

// forwarder dials inside of one Pod.
type forwarder struct {
	worker *worker
}

// PortForward copies until both sides have said all.
func (f forwarder) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	connection, err := dialInside(f.worker.networkPath(), net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, stream)
		if half, ok := connection.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}()
	_, err = io.Copy(stream, connection)
	return err
}

// dialInside opens a connection from a thread in the Pod's network; the thread ends with its goroutine.
func dialInside(namespace, address string) (net.Conn, error) {
	type result struct {
		connection net.Conn
		err        error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		file, err := os.Open(namespace)
		if err == nil {
			err = errors.Join(unix.Setns(int(file.Fd()), unix.CLONE_NEWNET), file.Close())
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		// An address without a name is dialled on this very thread.
		connection, err := net.DialTimeout("tcp4", address, 5*time.Second)
		done <- result{connection, err}
	}()
	r := <-done
	return r.connection, r.err
}
