package bed

import (
	"io"
	"net"
	"os"
	"sync"
)

// forward accepts on a listener of the host's network and leads each connection to target inside.
func forward(file *os.File, target string) error {
	listener, err := net.FileListener(file)
	if err != nil {
		return err
	}
	_ = file.Close()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go relay(client.(*net.TCPConn), target)
		}
	}()
	return nil
}

func relay(client *net.TCPConn, target string) {
	defer client.Close()
	dialed, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	server := dialed.(*net.TCPConn)
	defer server.Close()
	var both sync.WaitGroup
	// Each direction passes its end on by itself: clients may close one half and go on reading.
	both.Go(func() { copyHalf(server, client) })
	both.Go(func() { copyHalf(client, server) })
	both.Wait()
}

func copyHalf(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from)
	_ = to.CloseWrite()
}
