//go:build tools

// Package tools names programs that are built from this module's dependencies.
package tools

// The echo server is the backend that the suite's manifests ask for; it is built by path.
import _ "sigs.k8s.io/gateway-api/conformance/echo-basic"
