//! Listeners of one port that come together in different ways, with certificates that are for each other's hosts.

use e2e::{Certificate, manifest as m};

use crate::merged_gateways;

/// The annotation that chooses what becomes of misdirected requests.
pub(crate) const ANNOTATION: &str = "ferrogate.dev/misdirected-requests";

/// The modes, each with the first protocol that listeners then offer whose certificates overlap.
pub(crate) const MODES: [(&str, &str); 3] =
    [("Misdirect421", "h2"), ("Serve", "h2"), ("DowngradeALPN", "http/1.1")];

/// A listener, and a host that it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its Gateway or ListenerSet.
    pub owner: &'static str,
    /// Of a ListenerSet of the Gateway `eg`.
    pub of_set: bool,
    pub namespace: &'static str,
    pub hostname: &'static str,
    pub host: &'static str,
    /// Its Secret: `wild`, `exact` or `shared`.
    pub secret: &'static str,
}

const WEB: Place = Place {
    owner: "eg",
    of_set: false,
    namespace: "default",
    hostname: "*.example.org",
    host: "web.example.org",
    secret: "shared",
};
const EXACT: Place = Place { hostname: "exact.example.org", host: "exact.example.org", ..WEB };

/// Listeners that stand on one port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SetUp {
    pub name: &'static str,
    /// The Gateways of the class share one Envoy.
    pub merged: bool,
    /// The first has a wildcard that covers the hosts of the others.
    pub places: &'static [Place],
}

/// Each way in which listeners come to share a port. In the first each has a certificate of its own.
pub(crate) const SET_UPS: [SetUp; 3] = [
    SetUp {
        name: "one Gateway",
        merged: false,
        places: &[Place { secret: "wild", ..WEB }, Place { secret: "exact", ..EXACT }],
    },
    SetUp { name: "merged Gateways", merged: true, places: &[WEB, Place { owner: "other", ..EXACT }] },
    SetUp {
        name: "ListenerSets",
        merged: false,
        places: &[
            WEB,
            Place { owner: "set", of_set: true, ..EXACT },
            Place {
                owner: "set",
                of_set: true,
                namespace: "team",
                hostname: "team.example.org",
                host: "team.example.org",
                ..WEB
            },
        ],
    },
];

impl Place {
    /// Name of the listener, and of what belongs to it alone.
    pub(crate) fn listener(&self) -> &'static str {
        self.host.split('.').next().unwrap()
    }

    /// Its own kind's manifest in its namespace.
    pub(crate) fn home(&self, manifest: &str) -> String {
        in_namespace(manifest, self.namespace)
    }

    /// A route (of Gateways, and with this owner as its parent) at this listener.
    pub(crate) fn at(&self, route: &str) -> String {
        let kind = if self.of_set { "    kind: ListenerSet\n" } else { "" };
        let parent = format!("  - name: {}\n", self.owner);
        let section = format!("{parent}{kind}    sectionName: {}\n", self.listener());
        self.home(&route.replace(&parent, &section))
    }

    /// A ClientTrafficPolicy for this listener.
    pub(crate) fn policy(&self, spec: &str) -> String {
        let policy = m::client_policy(self.listener(), self.owner, self.listener(), spec);
        let kind = if self.of_set { "kind: ListenerSet" } else { "kind: Gateway" };
        self.home(&policy.replace("kind: Gateway", kind))
    }

    /// Whether both show the very same Secret, so that mode Serve may let them share a route configuration.
    pub(crate) fn shows_the_same(&self, other: &Place) -> bool {
        (self.namespace, self.secret) == (other.namespace, other.secret)
    }
}

/// The certificates that set-ups show, made once so that a change of the mode rotates none.
#[derive(Debug)]
pub(crate) struct Certificates {
    wild: Certificate,
    exact: Certificate,
}

impl Certificates {
    pub(crate) fn new() -> Certificates {
        Certificates {
            wild: Certificate::new(&["*.example.org"]),
            exact: Certificate::new(&["exact.example.org"]),
        }
    }
}

impl SetUp {
    /// Class, Gateways, ListenerSets and Secrets.
    pub(crate) fn files(&self, port: u16, mode: &str, certificates: &Certificates) -> String {
        let mut text = merged_gateways::class(self.merged);
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for place in self.places {
            if seen.contains(&(place.namespace, place.owner)) {
                continue;
            }
            seen.push((place.namespace, place.owner));
            let own = self
                .places
                .iter()
                .filter(|other| (other.namespace, other.owner) == (place.namespace, place.owner));
            let listeners: String =
                own.map(|own| m::https(own.listener(), port, own.hostname, &[own.secret])).collect();
            text += &if place.of_set {
                let set = m::listener_set(place.owner, "eg", &listeners);
                place.home(&set.replace("  parentRef:\n", "  parentRef:\n    namespace: default\n"))
            } else {
                m::annotated_gateway(place.owner, (ANNOTATION, mode), &listeners).replace(
                    "  listeners:\n",
                    "  allowedListeners:\n    namespaces:\n      from: All\n  listeners:\n",
                )
            };
        }
        let mut secrets: Vec<(&str, &str)> =
            self.places.iter().map(|place| (place.namespace, place.secret)).collect();
        secrets.sort_unstable();
        secrets.dedup();
        for (namespace, secret) in secrets {
            let certificate = if secret == "exact" { &certificates.exact } else { &certificates.wild };
            text += &in_namespace(&certificate.secret(secret), namespace);
        }
        text
    }
}

fn in_namespace(manifest: &str, namespace: &str) -> String {
    manifest.replace("metadata:\n  name:", &format!("metadata:\n  namespace: {namespace}\n  name:"))
}
