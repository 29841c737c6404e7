//! Everything that is watched, and where the API server has it.

use std::fmt;

use api::{KINDS, KindInfo, plural};
use ir::{Kind, infra::labels};

use super::references::by_reference;

/// Helm keeps each release in a Secret of up to 1 MiB; nobody refers to one, so they stay where they are.
const NO_RELEASES: &str = "type!=helm.sh/release.v1";

/// What objects of a resource are to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Configuration, sent on as it is.
    Object(&'static KindInfo, Kind),
    /// Proxies of a fleet.
    Deployment,
    /// Proxies of a fleet, one on each node.
    DaemonSet,
    /// A proxy.
    Pod,
    /// A machine that proxies run on.
    Node,
}

/// One kind of object that is watched.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    /// What it is to us.
    pub(super) what: What,
    /// API group; empty for the core group.
    pub(super) group: &'static str,
    /// Versions that can be read; the best first.
    pub(super) versions: &'static [&'static str],
    /// Name in paths and RBAC rules, such as `httproutes`.
    pub(super) plural: String,
    /// The `kind` of a document.
    pub(super) kind: &'static str,
    /// True when objects live in a namespace.
    pub(super) namespaced: bool,
    /// True when the API server always has it: no CRD is needed.
    pub(super) built_in: bool,
    /// Labels that objects must have.
    labels: &'static [(&'static str, &'static str)],
    fields: &'static str,
}

impl Resource {
    /// Every resource: all kinds of the registry, and our own infrastructure.
    pub(super) fn all() -> Vec<Resource> {
        let ours = [
            (What::Deployment, "apps", "Deployment", true, &labels::APP[..]),
            (What::DaemonSet, "apps", "DaemonSet", true, &labels::APP[..]),
            (What::Pod, "", "Pod", true, &labels::APP[..]),
            (What::Node, "", "Node", false, &[]),
        ];
        let ours = ours.map(|(what, group, kind, namespaced, labels)| Resource {
            what,
            group,
            versions: &["v1"],
            plural: plural(kind),
            kind,
            namespaced,
            built_in: true,
            labels,
            fields: "",
        });
        KINDS.iter().filter_map(Resource::of).chain(ours).collect()
    }

    fn of(info: &'static KindInfo) -> Option<Resource> {
        let kind = Kind::find(info.group, info.name)?;
        Some(Resource {
            what: What::Object(info, kind),
            group: info.group,
            versions: info.versions,
            plural: plural(info.name),
            kind: info.name,
            namespaced: info.namespaced,
            built_in: info.is_core(),
            labels: &[],
            fields: if kind == Kind::Secret { NO_RELEASES } else { "" },
        })
    }

    /// The kind in the registry, if it is configuration.
    pub(super) fn object_kind(&self) -> Option<Kind> {
        match self.what {
            What::Object(_, kind) => Some(kind),
            _ => None,
        }
    }

    /// True when only referenced objects are kept.
    pub(super) fn by_reference(&self) -> bool {
        self.object_kind().is_some_and(by_reference)
    }

    /// True for kinds of which fleets of proxies have objects that somebody may edit or delete.
    pub(super) fn of_fleets(&self) -> bool {
        matches!(self.what, What::Deployment | What::DaemonSet | What::Object(_, Kind::Service))
    }

    /// True for what the control plane needs of its own namespace, whatever the scope.
    pub(super) fn of_control_plane(&self) -> bool {
        matches!(
            self.object_kind(),
            Some(Kind::Service | Kind::EndpointSlice | Kind::Secret | Kind::ConfigMap)
        )
    }

    /// The `apiVersion` of a document.
    pub(super) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// Path and query of a list or watch, of one namespace or of all. The query ends so that more can be added.
    pub(super) fn collection(&self, version: &str, namespace: Option<&str>) -> String {
        let mut path = self.path(version, namespace);
        path.push('?');
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        for (key, selector) in [("labelSelector", labels.join(",").as_str()), ("fieldSelector", self.fields)]
        {
            if !selector.is_empty() {
                path.push_str(key);
                path.push('=');
                encode(selector, &mut path);
                path.push('&');
            }
        }
        path
    }

    /// Path of one object.
    pub(super) fn object(&self, version: &str, namespace: &str, name: &str) -> String {
        let mut path = self.path(version, self.namespaced.then_some(namespace));
        path.push('/');
        encode(name, &mut path);
        path
    }

    fn path(&self, version: &str, namespace: Option<&str>) -> String {
        let mut path = group_path(self.group, version);
        if let Some(namespace) = namespace {
            path.push_str("/namespaces/");
            encode(namespace, &mut path);
        }
        path.push('/');
        path.push_str(&self.plural);
        path
    }

    /// The permission that reading needs, as a rule of a Role.
    pub(super) fn rule(&self) -> String {
        format!(
            "{{apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"get\", \"list\", \"watch\"]}}",
            self.group, self.plural
        )
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

/// Path of a group in a version.
pub(super) fn group_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// Appends text as part of a path or query.
pub(super) fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            to.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_those_of_the_crds() {
        let crds = api::crds();
        assert!(!crds.is_empty());
        for crd in crds {
            assert_eq!(plural(&crd.spec.names.kind), crd.spec.names.plural);
        }
        for (kind, expected) in [
            ("EnvoyProxy", "envoyproxies"),
            ("BackendTrafficPolicy", "backendtrafficpolicies"),
            ("Gateway", "gateways"),
            ("EndpointSlice", "endpointslices"),
            ("Namespace", "namespaces"),
            ("ServiceImport", "serviceimports"),
        ] {
            assert_eq!(plural(kind), expected);
        }
    }

    #[test]
    fn every_kind_of_the_registry_is_watched() {
        let all = Resource::all();
        let kinds: Vec<_> = all.iter().filter_map(Resource::object_kind).collect();
        assert_eq!(kinds.len(), Kind::ALL.len());
        assert_eq!(all.len(), Kind::ALL.len() + 4);
    }

    #[test]
    fn paths_carry_selectors_and_namespaces() {
        let all = Resource::all();
        let find = |kind: &str| all.iter().find(|resource| resource.kind == kind).unwrap();
        assert_eq!(
            find("HTTPRoute").collection("v1", Some("shop")),
            "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes?"
        );
        assert_eq!(
            find("Secret").collection("v1", None),
            "/api/v1/secrets?fieldSelector=type%21%3Dhelm.sh%2Frelease.v1&"
        );
        assert!(
            find("Pod").collection("v1", None).contains("labelSelector=app.kubernetes.io%2Fname%3Denvoy%2C")
        );
        assert_eq!(find("Node").object("v1", "", "a b"), "/api/v1/nodes/a%20b");
        assert_eq!(
            find("Secret").rule(),
            r#"{apiGroups: [""], resources: ["secrets"], verbs: ["get", "list", "watch"]}"#
        );
    }
}
