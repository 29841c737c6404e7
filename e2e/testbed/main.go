// Command testbed is a Kubernetes cluster for tests on one machine: a real control plane, and a stand-in
// for kubelets that runs Pods as processes in namespaces of their own. See README.md one folder up.
package main

import (
	"fmt"
	"log"
	"os"
	"sort"
)

// role is what this binary does, chosen by its first argument.
type role struct {
	// usage and about are shown by `help`; roles without are started by the bed itself.
	usage, about string
	run          func(args []string) error
}

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	roles := allRoles()
	if len(os.Args) < 2 || os.Args[1] == "help" || os.Args[1] == "--help" || os.Args[1] == "-h" {
		help(roles)
		return
	}
	chosen, ok := roles[os.Args[1]]
	if !ok {
		fmt.Fprintf(os.Stderr, "testbed: unknown command %q\n\n", os.Args[1])
		help(roles)
		os.Exit(2)
	}
	if err := chosen.run(os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "testbed: %v\n", err)
		os.Exit(1)
	}
}

func help(roles map[string]role) {
	names := make([]string, 0, len(roles))
	for name := range roles {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Println("usage: testbed COMMAND …")
	for _, name := range names {
		if r := roles[name]; r.about != "" {
			fmt.Printf("\n  %s %s\n      %s\n", name, r.usage, r.about)
		}
	}
	fmt.Println("\n`testbed COMMAND --help` lists the options. STATE: --state DIR, or TESTBED_STATE.")
}
