//go:build tools

package conformance

// The backend that the suite's manifests ask for is built from its module by path; the import keeps it
// among the dependencies.
import _ "sigs.k8s.io/gateway-api/conformance/echo-basic"
