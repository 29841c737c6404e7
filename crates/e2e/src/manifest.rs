//! Manifests in short.

use std::fmt::Write;

/// A `Backend` on 127.0.0.1.
#[must_use]
pub fn backend(name: &str, port: u16) -> String {
    backend_speaking(name, port, "")
}

/// A `Backend` on 127.0.0.1 with `appProtocols` (such as `gateway.envoyproxy.io/h2c`), none when empty.
#[must_use]
pub fn backend_speaking(name: &str, port: u16, protocol: &str) -> String {
    let protocols =
        if protocol.is_empty() { String::new() } else { format!("  appProtocols:\n  - {protocol}\n") };
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata:\n  name: {name}\nspec:\n{protocols}  \
         endpoints:\n  - ip:\n      address: 127.0.0.1\n      port: {port}\n---\n"
    )
}

/// A Gateway; `listeners` is YAML, a list without indentation.
#[must_use]
pub fn gateway(name: &str, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  name: {name}\nspec:\n  \
         gatewayClassName: ferrogate\n  listeners:\n{}---\n",
        indent(listeners, 2)
    )
}

/// The same with an EnvoyProxy of its name; `spec` is YAML, a map without indentation.
#[must_use]
pub fn gateway_with_proxy(name: &str, spec: &str, listeners: &str) -> String {
    let reference = format!(
        "spec:\n  infrastructure:\n    parametersRef:\n      group: gateway.envoyproxy.io\n      kind: \
         EnvoyProxy\n      name: {name}\n"
    );
    let gateway = gateway(name, listeners).replacen("spec:\n", &reference, 1);
    format!("{gateway}{}", envoy_proxy(name, spec))
}

/// An EnvoyProxy; `spec` is YAML, a map without indentation.
#[must_use]
pub fn envoy_proxy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata:\n  name: {name}\nspec:\n{}---\n",
        indent(spec, 2)
    )
}

/// The same with TLS settings for all listeners; `tls` is YAML, a map without indentation.
#[must_use]
pub fn gateway_with_tls(name: &str, tls: &str, listeners: &str) -> String {
    let settings = format!("spec:\n  tls:\n{}", indent(tls, 4));
    gateway(name, listeners).replacen("spec:\n", &settings, 1)
}

/// The same with an annotation.
#[must_use]
pub fn annotated_gateway(name: &str, annotation: (&str, &str), listeners: &str) -> String {
    let (key, value) = annotation;
    let metadata = format!("metadata:\n  annotations:\n    {key}: {value}\n");
    gateway(name, listeners).replacen("metadata:\n", &metadata, 1)
}

/// A ListenerSet of a Gateway in the same namespace; `listeners` is YAML, a list without indentation.
#[must_use]
pub fn listener_set(name: &str, gateway: &str, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata:\n  name: {name}\nspec:\n  \
         parentRef:\n    name: {gateway}\n  listeners:\n{}---\n",
        indent(listeners, 2)
    )
}

/// A plain listener.
#[must_use]
pub fn http(name: &str, port: u16) -> String {
    format!("- name: {name}\n  protocol: HTTP\n  port: {port}\n")
}

/// A TLS listener that terminates with these Secrets; any host when `hostname` is empty.
#[must_use]
pub fn https(name: &str, port: u16, hostname: &str, secrets: &[&str]) -> String {
    let mut text = format!("- name: {name}\n  protocol: HTTPS\n  port: {port}\n");
    if !hostname.is_empty() {
        let _ = writeln!(text, "  hostname: \"{hostname}\"");
    }
    text.push_str("  tls:\n    certificateRefs:\n");
    for secret in secrets {
        let _ = writeln!(text, "    - name: {secret}");
    }
    text
}

/// A listener of protocol `TCP`, `UDP` or another without settings.
#[must_use]
pub fn listener(name: &str, protocol: &str, port: u16) -> String {
    format!("- name: {name}\n  protocol: {protocol}\n  port: {port}\n")
}

/// A TLS listener that passes through what it gets; any host when `hostname` is empty.
#[must_use]
pub fn passthrough(name: &str, port: u16, hostname: &str) -> String {
    tls(name, port, hostname, "    mode: Passthrough\n")
}

/// A TLS listener that terminates with this Secret, for routes of connections.
#[must_use]
pub fn terminate(name: &str, port: u16, hostname: &str, secret: &str) -> String {
    tls(name, port, hostname, &format!("    mode: Terminate\n    certificateRefs:\n    - name: {secret}\n"))
}

fn tls(name: &str, port: u16, hostname: &str, settings: &str) -> String {
    let mut text = listener(name, "TLS", port);
    if !hostname.is_empty() {
        let _ = writeln!(text, "  hostname: \"{hostname}\"");
    }
    text + "  tls:\n" + settings
}

/// A TCPRoute, TLSRoute or UDPRoute to one listener; `backends` are names of Backends with their weights.
#[must_use]
pub fn layer4_route(
    kind: &str,
    name: &str,
    (gateway, section): (&str, &str),
    hosts: &[&str],
    backends: &[(&str, u32)],
) -> String {
    let hosts: String = hosts.iter().map(|host| format!("  - \"{host}\"\n")).collect();
    let hosts = if hosts.is_empty() { hosts } else { format!("  hostnames:\n{hosts}") };
    let backends: String = (backends.iter())
        .map(|(backend, weight)| indent(&backend_ref(backend), 2) + &format!("      weight: {weight}\n"))
        .collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {name}\nspec:\n  parentRefs:\n  - \
         name: {gateway}\n    sectionName: {section}\n{hosts}  rules:\n  - backendRefs:\n{backends}---\n"
    )
}

/// An HTTPRoute; `rules` is YAML, a list without indentation.
#[must_use]
pub fn route(name: &str, gateway: &str, hosts: &[&str], rules: &str) -> String {
    route_of("HTTPRoute", name, gateway, hosts, rules)
}

/// A GRPCRoute; `rules` is YAML, a list without indentation.
#[must_use]
pub fn grpc_route(name: &str, gateway: &str, hosts: &[&str], rules: &str) -> String {
    route_of("GRPCRoute", name, gateway, hosts, rules)
}

fn route_of(kind: &str, name: &str, gateway: &str, hosts: &[&str], rules: &str) -> String {
    let mut hostnames = String::new();
    if !hosts.is_empty() {
        hostnames.push_str("  hostnames:\n");
        for host in hosts {
            let _ = writeln!(hostnames, "  - \"{host}\"");
        }
    }
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {name}\nspec:\n  parentRefs:\n  \
         - name: {gateway}\n{hostnames}  rules:\n{}---\n",
        indent(rules, 2)
    )
}

/// The same at one listener of the Gateway.
#[must_use]
pub fn route_at(name: &str, gateway: &str, section: &str, hosts: &[&str], rules: &str) -> String {
    let parent = format!("  - name: {gateway}\n");
    route(name, gateway, hosts, rules).replacen(&parent, &format!("{parent}    sectionName: {section}\n"), 1)
}

/// A rule without matches that sends everything to one Backend.
#[must_use]
pub fn to(backend: &str) -> String {
    format!("- backendRefs:\n{}", backend_ref(backend))
}

/// A rule for a path prefix that sends it to one Backend.
#[must_use]
pub fn prefix_to(prefix: &str, backend: &str) -> String {
    format!("- matches:\n  - path:\n      value: {prefix}\n  backendRefs:\n{}", backend_ref(backend))
}

/// An item of a rule's `backendRefs`.
#[must_use]
pub fn backend_ref(backend: &str) -> String {
    format!("  - group: gateway.envoyproxy.io\n    kind: Backend\n    name: {backend}\n")
}

/// A Service with one port 80 named `http`; see [`slice`] for its endpoints.
#[must_use]
pub fn service(name: &str) -> String {
    service_speaking(name, "")
}

/// The same with an `appProtocol` (such as `kubernetes.io/h2c`), none when empty.
#[must_use]
pub fn service_speaking(name: &str, protocol: &str) -> String {
    let protocol = if protocol.is_empty() { String::new() } else { format!("    appProtocol: {protocol}\n") };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  clusterIP: 10.96.0.10\n  ports:\n  - name: \
         http\n    port: 80\n    protocol: TCP\n    targetPort: 8080\n{protocol}---\n"
    )
}

/// A ServiceImport with one port 80 named `http` that speaks an `appProtocol`; see [`slice_of_import`].
#[must_use]
pub fn service_import(name: &str, protocol: &str) -> String {
    format!(
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata:\n  name: {name}\nspec:\n  type: \
         ClusterSetIP\n  ports:\n  - name: http\n    port: 80\n    protocol: TCP\n    appProtocol: {protocol}\n---\n"
    )
}

/// As [`slice`], for a ServiceImport.
#[must_use]
pub fn slice_of_import(import: &str, name: &str, port: u16, conditions: &str) -> String {
    slice(import, name, port, conditions)
        .replace("kubernetes.io/service-name", "multicluster.kubernetes.io/service-name")
}

/// An item of a rule's `backendRefs`: port 80 of a ServiceImport.
#[must_use]
pub fn import_ref(name: &str) -> String {
    format!("  - group: multicluster.x-k8s.io\n    kind: ServiceImport\n    name: {name}\n    port: 80\n")
}

/// A rule without matches that sends everything to port 80 of one Service.
#[must_use]
pub fn to_service(name: &str) -> String {
    format!("- backendRefs:\n  - name: {name}\n    port: 80\n")
}

/// An EndpointSlice of a Service: 127.0.0.1 with one local port. Several slices of a Service have different ports.
#[must_use]
pub fn slice(service: &str, name: &str, port: u16, conditions: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}\n  labels:\n    \
         kubernetes.io/service-name: {service}\naddressType: IPv4\nports:\n- name: http\n  port: {port}\n  protocol: \
         TCP\nendpoints:\n- addresses:\n  - 127.0.0.1\n  conditions: {{{conditions}}}\n---\n"
    )
}

/// A BackendTLSPolicy for a Service; `validation` is YAML, a map without indentation.
#[must_use]
pub fn backend_tls_policy(service: &str, validation: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata:\n  name: {service}\nspec:\n  \
         targetRefs:\n  - group: \"\"\n    kind: Service\n    name: {service}\n  validation:\n{}---\n",
        indent(validation, 4)
    )
}

/// A BackendTrafficPolicy for one object, given by kind and name; `says` is YAML, a map without indentation.
#[must_use]
pub fn backend_traffic_policy(name: &str, (kind, target): (&str, &str), says: &str) -> String {
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: BackendTrafficPolicy\nmetadata:\n  name: {name}\nspec:\n  \
         targetRefs:\n  - group: gateway.networking.k8s.io\n    kind: {kind}\n    name: {target}\n{}---\n",
        indent(says, 2)
    )
}

/// A ClientTrafficPolicy for a Gateway, or for one listener of it (none when empty); `spec` is YAML, a map without
/// indentation.
#[must_use]
pub fn client_policy(name: &str, gateway: &str, section: &str, spec: &str) -> String {
    let section = if section.is_empty() { String::new() } else { format!("    sectionName: {section}\n") };
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy\nmetadata:\n  name: {name}\nspec:\n  \
         targetRefs:\n  - group: gateway.networking.k8s.io\n    kind: Gateway\n    name: {gateway}\n{section}{}---\n",
        indent(spec, 2)
    )
}

/// A ConfigMap with a list of revoked certificates.
#[must_use]
pub fn revocations(name: &str, pem: &str) -> String {
    authorities(name, pem).replacen("ca.crt", "ca.crl", 1)
}

/// A ConfigMap with authorities.
#[must_use]
pub fn authorities(name: &str, pem: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  ca.crt: |\n{}---\n",
        indent(pem, 4)
    )
}

fn indent(text: &str, spaces: usize) -> String {
    text.lines().map(|line| format!("{:spaces$}{line}\n", "")).collect()
}
