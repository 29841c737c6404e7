// Package container runs one process in a root, PID and mount namespace of its own, inside the network
// namespace of a Pod.
//
// The parent (Start) clones a child in new namespaces that is this same binary in the role `container`;
// the child (Run) reads a Spec, builds the container's root and turns into the container's program.
package container

// Spec is all that the child needs; no decision is left to it.
type Spec struct {
	// Root is an empty folder on a file system that can carry an overlay's upper layer.
	Root string `json:"root"`
	// Network is a path that opens the Pod's network namespace.
	Network string `json:"network"`
	// Hostname of the Pod.
	Hostname string `json:"hostname"`
	// Mounts are made in order.
	Mounts []Mount `json:"mounts"`
	// ReadOnlyRoot makes everything but mounts read-only.
	ReadOnlyRoot bool `json:"readOnlyRoot,omitempty"`
	// Args: the program, looked up in PATH of Env inside of the root, and its arguments.
	Args []string `json:"args"`
	// Env is the whole environment, NAME=VALUE.
	Env []string `json:"env"`
	// Dir is the working directory; created if missing.
	Dir string `json:"dir"`
	// User, Group and Groups of the process.
	User   int   `json:"user"`
	Group  int   `json:"group"`
	Groups []int `json:"groups,omitempty"`
	// Capabilities that root keeps; nil: all.
	Capabilities []uint `json:"capabilities"`
	// LimitCapabilities: Capabilities is in force.
	LimitCapabilities bool `json:"limitCapabilities,omitempty"`
	// NoNewPrivileges forbids gaining privileges by exec.
	NoNewPrivileges bool `json:"noNewPrivileges,omitempty"`
}

// Mount binds a file or folder of the bed into the container.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}
