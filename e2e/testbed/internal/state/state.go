// Package state knows the folder that one test bed keeps: where its logs, keys and sockets stand, and
// which process is its root.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Dir is the absolute path of the state folder of one test bed.
type Dir string

// Open makes path absolute and creates the folder with its subfolders.
func Open(path string) (Dir, error) {
	dir, err := Resolve(path)
	if err != nil {
		return "", err
	}
	for _, sub := range []string{dir.Logs(), filepath.Join(dir.Logs(), "pods"), dir.Run(), dir.PKI()} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// Resolve makes path absolute and creates nothing.
func Resolve(path string) (Dir, error) {
	if path == "" {
		path = filepath.Join(os.TempDir(), "ferrogate-testbed")
	}
	absolute, err := filepath.Abs(path)
	return Dir(absolute), err
}

// Logs is the folder of the log files; it survives `down`.
func (d Dir) Logs() string { return filepath.Join(string(d), "logs") }

// Log is the log file of one process of the bed.
func (d Dir) Log(process string) string { return filepath.Join(d.Logs(), process+".log") }

// PodLog is the log file of one container of a Pod.
func (d Dir) PodLog(namespace, pod, container string) string {
	name := strings.Join([]string{namespace, pod, container}, "_") + ".log"
	return filepath.Join(d.Logs(), "pods", name)
}

// Run is where the bed mounts its tmpfs: volumes, roots of containers, etcd. Outside of the bed's mount
// namespace it is an empty folder.
func (d Dir) Run() string { return filepath.Join(string(d), "run") }

// PodPID is the file that names the first process of a container, by its number inside of the bed. It
// exists inside of the bed alone, and while the container runs.
func (d Dir) PodPID(namespace, pod, container string) string {
	return filepath.Join(d.Run(), "pids", strings.Join([]string{namespace, pod, container}, "_"))
}

// Faults is the file that tells the gate before the API server what to disturb.
func (d Dir) Faults() string { return filepath.Join(d.Run(), "faults.json") }

// PKI is the folder of certificates and keys.
func (d Dir) PKI() string { return filepath.Join(string(d), "pki") }

// Key is a file in the PKI folder.
func (d Dir) Key(name string) string { return filepath.Join(d.PKI(), name) }

// Kubeconfig serves inside of the bed as well as on the host: the API server has the same loopback
// address and port in both.
func (d Dir) Kubeconfig() string { return filepath.Join(string(d), "kubeconfig") }

// Control is the name of the socket that takes orders for the bed's processes.
func (d Dir) Control() string { return filepath.Join(string(d), "control.sock") }

// InstanceFile names the root process.
func (d Dir) InstanceFile() string { return filepath.Join(string(d), "instance.json") }

// Clean removes all but the logs.
func (d Dir) Clean() error {
	var errs []error
	for _, path := range []string{d.InstanceFile(), d.Control(), d.Kubeconfig(), d.PKI(), d.Run()} {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// Instance tells which process is the root (process 1) of the bed, seen from the host.
type Instance struct {
	// PID is the process id in the namespace of the host.
	PID int `json:"pid"`
	// Started is the start time of the process in clock ticks since boot: with PID it is unique.
	Started uint64 `json:"started"`
	// Port of the API server on 127.0.0.1, inside and on the host.
	Port int `json:"port"`
}

// Save writes the instance file.
func (d Dir) Save(instance Instance) error {
	data, err := json.Marshal(instance)
	if err != nil {
		return err
	}
	return os.WriteFile(d.InstanceFile(), append(data, '\n'), 0o644)
}

// Load reads the instance file; a missing file is os.ErrNotExist.
func (d Dir) Load() (Instance, error) {
	var instance Instance
	data, err := os.ReadFile(d.InstanceFile())
	if err != nil {
		return instance, err
	}
	if err := json.Unmarshal(data, &instance); err != nil {
		return instance, fmt.Errorf("%s: %w", d.InstanceFile(), err)
	}
	return instance, nil
}

// Running returns the instance if its root process lives.
func (d Dir) Running() (Instance, bool) {
	instance, err := d.Load()
	if err != nil {
		return instance, false
	}
	started, err := StartTime(instance.PID)
	return instance, err == nil && started == instance.Started
}

// StartTime reads the start time of a process, in clock ticks since boot.
func StartTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStartTime(string(data))
}

// parseStartTime takes field 22 of proc_pid_stat(5); the name in parentheses may hold anything.
func parseStartTime(stat string) (uint64, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("no process name in %q", stat)
	}
	// The first field after the name is number 3.
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("too few fields in %q", stat)
	}
	if fields[0] == "Z" {
		return 0, syscall.ESRCH
	}
	var started uint64
	_, err := fmt.Sscan(fields[19], &started)
	return started, err
}
