// Package control runs the real control plane, each part as a process of its own: in one process the
// parts fight over logging flags.
package control

import (
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
)

// APIServer runs kube-apiserver with its own flags.
func APIServer(args []string) error { return run(apiserver.NewAPIServerCommand(), args) }

// Controllers runs kube-controller-manager with its own flags.
func Controllers(args []string) error { return run(controllers.NewControllerManagerCommand(), args) }

// Proxy runs kube-proxy with its own flags.
func Proxy(args []string) error { return run(proxy.NewProxyCommand(), args) }

func run(command *cobra.Command, args []string) error {
	command.SetArgs(args)
	if code := cli.Run(command); code != 0 {
		os.Exit(code)
	}
	return nil
}

// EtcdOptions of the store.
type EtcdOptions struct {
	// Data is the folder of the store.
	Data string
	// Listen and ListenPeer are URLs.
	Listen, ListenPeer string
}

// Etcd runs a store of one member until it fails.
func Etcd(options EtcdOptions) error {
	client, err := url.Parse(options.Listen)
	if err != nil {
		return err
	}
	peer, err := url.Parse(options.ListenPeer)
	if err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Name = "testbed"
	config.Dir = options.Data
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "warn"
	config.LogOutputs = []string{"stderr"}
	// A lone member need not wait for votes; these are the shortest times that etcd takes.
	config.TickMs, config.ElectionMs = 10, 50
	// The data lives in memory and ends with the bed.
	config.UnsafeNoFsync = true
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(time.Minute):
		return fmt.Errorf("etcd is not ready after a minute")
	}
	return <-server.Err()
}
