package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ferrogate/e2e/testbed/internal/apply"
	"ferrogate/e2e/testbed/internal/bed"
	"ferrogate/e2e/testbed/internal/container"
	"ferrogate/e2e/testbed/internal/control"
	"ferrogate/e2e/testbed/internal/gate"
	"ferrogate/e2e/testbed/internal/node"
	"ferrogate/e2e/testbed/internal/services"
	"ferrogate/e2e/testbed/internal/state"
)

func allRoles() map[string]role {
	return map[string]role{
		"up": {"[STATE] --images FILE [--crds DIR]… [--apply PATH]… [--forward LISTEN=TARGET]… [-d]",
			"start a bed; stays in the foreground until Ctrl-C, or with -d returns when it is ready", up},
		"down": {"[STATE]", "end a bed; its logs stay", down},
		"exec": {"[STATE] -- COMMAND…", "run a command inside of the bed's network", execute},
		"enter": {"[STATE] NAMESPACE/POD CONTAINER COMMAND…",
			"run a command as root inside of a container", enter},
		"signal": {"[STATE] NAMESPACE/POD CONTAINER SIGNAL", "send a signal to a container's process", sendSignal},
		"apply":  {"[STATE] PATH…", "apply YAML files and folders, CRDs first", applyPaths},
		"process": {"[STATE] list | stop|down|kill|start|pause|resume NAME",
			"look at the bed's processes, or let one fail", order},
		"fault": {"[STATE] [delay=5s] [status=429] [cut=2s] [only=writes|reads|watches] | none",
			"disturb what Pods ask the API server", fault},
		"compact":    {"[STATE]", "let etcd forget its history", func(args []string) error { return ask("compact", args) }},
		"kubeconfig": {"[STATE]", "print the path of the kubeconfig", kubeconfig},

		"inside":                  {run: inside},
		"etcd":                    {run: etcd},
		"kube-apiserver":          {run: control.APIServer},
		"kube-controller-manager": {run: control.Controllers},
		"kube-proxy":              {run: control.Proxy},
		"node":                    {run: runNode},
		"gate":                    {run: runGate},
		bed.InsidePod:             {run: insidePod},
		"services":                {run: runServices},
		"coredns":                 {run: func([]string) error { return services.CoreDNS(context.Background()) }},
		container.Role:            {run: func([]string) error { return container.Run() }},
		container.ExecRole:        {run: func([]string) error { return container.Exec() }},
	}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set appends a value.
func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// options makes a flag set with the state folder, which all commands for users have.
func options(name string) (*flag.FlagSet, *string) {
	flags := flag.NewFlagSet("testbed "+name, flag.ExitOnError)
	path := flags.String("state", os.Getenv("TESTBED_STATE"), "state folder; default: in the folder for temporary files")
	return flags, path
}

func up(args []string) error {
	flags, path := options("up")
	var images, crds, manifests, forwards list
	flags.Var(&images, "images", "image map; may be repeated, the last file comes first")
	flags.Var(&crds, "crds", "folder of CRDs, or MODULE/FOLDER of a Go module in go.mod of the working directory; may be repeated")
	flags.Var(&manifests, "apply", "file or folder of manifests to apply after the CRDs; may be repeated")
	flags.Var(&forwards, "forward", "LISTEN=TARGET: lead a TCP port of the host's loopback into the bed; may be repeated")
	ipv6 := flags.Bool("ipv6", false, "give Pods and Services IPv6 addresses, too")
	detach := flags.Bool("d", false, "return when the bed is ready and leave it running")
	timeout := flags.Duration("timeout", 2*time.Minute, "time until the bed has to be ready")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var absolute []string
	for _, file := range images {
		full, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		if _, err := os.Stat(full); err != nil {
			return err
		}
		absolute = append(absolute, full)
	}
	var paths []string
	for _, folder := range crds {
		found, err := crdFolder(folder)
		if err != nil {
			return err
		}
		paths = append(paths, found)
	}
	paths = append(paths, manifests...)
	return bed.Up(bed.Options{
		State: *path, Images: absolute, Forwards: forwards, IPv6: *ipv6, Detach: *detach, Timeout: *timeout,
		APIReady: func(dir state.Dir) error {
			if len(paths) == 0 {
				return nil
			}
			_, err := apply.Paths(context.Background(), dir.Kubeconfig(), paths)
			return err
		},
	})
}

// crdFolder takes a folder as it is; otherwise the path begins with the name of a Go module, whose place
// in the module cache `go list` knows.
func crdFolder(path string) (string, error) {
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	module, rest := path, ""
	for module != "." && module != "/" {
		output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		if folder := strings.TrimSpace(string(output)); err == nil && folder != "" {
			return filepath.Join(folder, rest), nil
		}
		module, rest = filepath.Dir(module), filepath.Join(filepath.Base(module), rest)
	}
	return "", fmt.Errorf("%s is neither a folder nor in a Go module that `go list -m` knows here", path)
}

func down(args []string) error {
	flags, path := options("down")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return bed.Down(*path)
}

func execute(args []string) error {
	flags, path := options("exec")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("exec: no command given")
	}
	return exit(bed.Exec(*path, flags.Args()))
}

func enter(args []string) error {
	flags, path := options("enter")
	if err := flags.Parse(args); err != nil {
		return err
	}
	command := flags.Args()
	if len(command) > 2 && command[2] == "--" {
		command = append(command[:2:2], command[3:]...)
	}
	if len(command) < 3 {
		return errors.New("enter: say NAMESPACE/POD, CONTAINER and a command")
	}
	return exit(bed.Enter(*path, command[0], command[1], command[2:]))
}

func sendSignal(args []string) error {
	flags, path := options("signal")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 3 {
		return errors.New("signal: say NAMESPACE/POD, CONTAINER and a signal such as KILL")
	}
	return bed.Signal(*path, flags.Arg(0), flags.Arg(1), flags.Arg(2))
}

func insidePod(args []string) error { return exit(bed.RunInsidePod(args)) }

// exit ends this process with the exit code of the one that it ran.
func exit(code int, err error) error {
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

func applyPaths(args []string) error {
	flags, path := options("apply")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := state.Resolve(*path)
	if err != nil {
		return err
	}
	count, err := apply.Paths(context.Background(), dir.Kubeconfig(), flags.Args())
	if err == nil {
		fmt.Printf("%d objects applied\n", count)
	}
	return err
}

func order(args []string) error {
	flags, path := options("process")
	if err := flags.Parse(args); err != nil {
		return err
	}
	verb := bed.Order{Verb: flags.Arg(0), Process: flags.Arg(1)}
	if verb.Verb == "" {
		verb.Verb = "list"
	}
	lines, err := bed.Ask(*path, verb)
	for _, line := range lines {
		fmt.Println(line)
	}
	return err
}

func fault(args []string) error {
	flags, path := options("fault")
	if err := flags.Parse(args); err != nil {
		return err
	}
	faults, err := gate.Parse(flags.Args())
	if err != nil {
		return err
	}
	_, err = bed.Ask(*path, bed.Order{Verb: "fault", Faults: &faults})
	return err
}

func ask(verb string, args []string) error {
	flags, path := options(verb)
	if err := flags.Parse(args); err != nil {
		return err
	}
	lines, err := bed.Ask(*path, bed.Order{Verb: verb})
	for _, line := range lines {
		fmt.Println(line)
	}
	return err
}

func kubeconfig(args []string) error {
	flags, path := options("kubeconfig")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := state.Resolve(*path)
	if err == nil {
		fmt.Println(dir.Kubeconfig())
	}
	return err
}

func inside(args []string) error {
	flags, path := options("inside")
	port := flags.Int("port", 0, "port of the API server")
	ipv6 := flags.Bool("ipv6", false, "both address families")
	var images, forwards list
	flags.Var(&images, "images", "image map")
	flags.Var(&forwards, "forward", "target of a listener")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return bed.Inside(bed.InsideOptions{State: *path, Port: *port, Images: images, Forwards: forwards, IPv6: *ipv6})
}

func etcd(args []string) error {
	flags := flag.NewFlagSet("testbed etcd", flag.ExitOnError)
	var options control.EtcdOptions
	flags.StringVar(&options.Data, "data", "", "folder of the store")
	flags.StringVar(&options.Listen, "listen", "", "URL for clients")
	flags.StringVar(&options.ListenPeer, "listen-peer", "", "URL for peers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return control.Etcd(options)
}

func runNode(args []string) error {
	flags, path := options("node")
	options := node.Options{}
	flags.StringVar(&options.Name, "node-name", bed.NodeName, "name of the Node")
	flags.BoolVar(&options.IPv6, "ipv6", false, "both address families")
	var images list
	flags.Var(&images, "images", "image map")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options.State, options.Images = *path, images
	return node.Run(context.Background(), options)
}

func runGate(args []string) error {
	flags, path := options("gate")
	port := flags.Int("port", 0, "port of the API server")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return gate.Serve(state.Dir(*path), *port)
}

func runServices(args []string) error {
	flags := flag.NewFlagSet("testbed services", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return services.Run(context.Background(), *kubeconfig)
}
