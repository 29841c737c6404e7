// Package conformance runs the official conformance suite of Gateway API against a test bed.
//
// Built as a program, it takes the suite's own flags and these:
//
//	-state DIR       the test bed; the program moves into its network (default: where it is)
//	-testbed FILE    the test bed's binary (default: `testbed` beside this program)
//	-skip-file FILE  names of tests to leave out, one a line, with the reason after #
//
// Defaults differ from the suite's where ours are known: the class, the profile, who we are.
package conformance

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

var (
	stateDir = flag.String("state", "", "state folder of the test bed to run in")
	testbed  = flag.String("testbed", "", "binary of the test bed; default: testbed beside this program")
	skipFile = flag.String("skip-file", "", "file with names of tests to skip, one a line; # begins a reason")
)

// defaults of the suite's flags that users need not give.
var defaults = map[string]string{
	"gateway-class":        "ferrogate",
	"conformance-profiles": "GATEWAY-HTTP",
	"organization":         "ferrogate",
	"project":              "ferrogate",
	"version":              "dev",
	// A report needs these two; placeholders until one is published.
	"url":     "https://ferrogate.invalid",
	"contact": "none",
}

// TestMain settles the flags before the suite reads them.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := settle(); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// TestConformance is the suite.
func TestConformance(t *testing.T) {
	if os.Getenv("KUBECONFIG") == "" {
		t.Skip("no cluster: give -state, or set KUBECONFIG")
	}
	conformance.RunConformance(t)
}

func settle() error {
	if *stateDir != "" {
		if err := moveIn(*stateDir); err != nil {
			return err
		}
	}
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range defaults {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				return err
			}
		}
	}
	if *skipFile == "" {
		return nil
	}
	file, err := os.Open(*skipFile)
	if err != nil {
		return err
	}
	defer file.Close()
	skips, err := readSkips(bufio.NewScanner(file))
	if err != nil {
		return fmt.Errorf("%s: %w", *skipFile, err)
	}
	if already := flag.Lookup("skip-tests").Value.String(); already != "" {
		skips = append(skips, already)
	}
	if len(skips) == 0 {
		return nil
	}
	return flag.Set("skip-tests", strings.Join(skips, ","))
}

// moveIn starts this program again inside of the bed, unless it is there.
func moveIn(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if os.Getenv("TESTBED_STATE") == dir && os.Getenv("CONFORMANCE_INSIDE") != "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	binary := *testbed
	if binary == "" {
		binary = filepath.Join(filepath.Dir(self), "testbed")
	}
	args := append([]string{binary, "exec", "--state", dir, "--", self}, os.Args[1:]...)
	if err := syscall.Exec(binary, args, append(os.Environ(), "CONFORMANCE_INSIDE=1")); err != nil {
		return fmt.Errorf("start %s: %w", binary, err)
	}
	return nil
}

// readSkips demands a reason: a list without reasons only grows.
func readSkips(lines *bufio.Scanner) ([]string, error) {
	var names []string
	for lines.Scan() {
		name, reason, _ := strings.Cut(lines.Text(), "#")
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s has no reason", name)
		}
		names = append(names, name)
	}
	return names, lines.Err()
}

func TestReadSkips(t *testing.T) {
	names, err := readSkips(bufio.NewScanner(strings.NewReader("# all of them\n\nA # not built\n B#why\n")))
	if err != nil || strings.Join(names, " ") != "A B" {
		t.Errorf("got %v, %v", names, err)
	}
	if names, err := readSkips(bufio.NewScanner(strings.NewReader("A\n"))); err == nil {
		t.Errorf("got %v without a reason", names)
	}
}
