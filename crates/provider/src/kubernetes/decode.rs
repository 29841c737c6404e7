//! From JSON to what is kept of an object, or to a problem that names it.

use std::{fmt, sync::Arc};

use api::{KindInfo, Object, ObjectMeta};
use ir::{Kind, ObjectRef, Problem, Severity, problem::Subject};
use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    observed::{self, Node, Pod, Workload, WorkloadKind},
    references::{Wanted, by_reference},
    resource::{Resource, What},
    server::Failure,
    witness::Testimony,
};

/// Annotation in which `kubectl apply` keeps a copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Namespace and name; the namespace of a cluster-scoped object is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

impl Name {
    pub(super) fn of(object: &ObjectRef) -> Name {
        Name { namespace: object.namespace.clone(), name: object.name.clone() }
    }

    pub(super) fn object(&self, kind: Kind) -> ObjectRef {
        ObjectRef { kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// A resource version. Numbers can be compared (Kubernetes promises so since 1.35, and all before kept it); other
/// texts can only be equal or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    value: u64,
    number: bool,
}

impl Version {
    pub(super) fn new(text: &str) -> Version {
        match text.parse() {
            Ok(value) => Version { value, number: true },
            Err(_) => Version { value: xxh3_64(text.as_bytes()), number: false },
        }
    }

    /// True when this is surely newer than `other`; of texts that are no numbers, when they differ.
    pub(super) fn is_newer_than(self, other: Version) -> bool {
        if self.number && other.number { self.value > other.value } else { self.value != other.value }
    }
}

/// What one object is to us.
#[derive(Debug)]
pub(super) enum Content {
    /// Configuration.
    Object(Box<Object>),
    /// Proxies of a fleet.
    Workload(Box<Workload>, Arc<str>),
    /// A proxy.
    Pod(Box<Pod>),
    /// A machine.
    Node(Node),
    /// A Secret or ConfigMap that nobody wanted when it passed: not looked at.
    Unwanted,
    /// Infrastructure without the labels that say whose it is.
    Unowned,
    /// It does not fit its type.
    Undecodable(Box<Problem>),
}

/// One object at one version.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: Name,
    pub(super) version: Version,
    pub(super) content: Content,
    /// For the witness; what nobody wanted says nothing.
    pub(super) testimony: Option<Box<Testimony>>,
}

/// Which object at which version.
pub(super) struct Identity {
    pub(super) name: Name,
    /// The resource version as it is written: where to go on is the API server's own text.
    pub(super) text: String,
}

/// The part of an object that every kind has.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(default, borrow)]
    name: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    namespace: std::borrow::Cow<'a, str>,
    #[serde(default, borrow)]
    resource_version: std::borrow::Cow<'a, str>,
}

/// Reads objects of one resource.
#[derive(Clone)]
pub(super) struct Decoder {
    pub(super) resource: Arc<Resource>,
    pub(super) version: &'static str,
    pub(super) wanted: Wanted,
}

impl Decoder {
    /// Name and version of an object alone.
    pub(super) fn identify(&self, json: &str) -> Option<Identity> {
        let Envelope { metadata } = match serde_json::from_str(json) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(kind = %self.resource, %error, "an object without readable metadata is skipped");
                return None;
            }
        };
        let namespace = if self.resource.namespaced { &*metadata.namespace } else { "" };
        let name = Name { namespace: namespace.into(), name: (&*metadata.name).into() };
        if metadata.name.is_empty() {
            tracing::warn!(kind = %self.resource, "an object without a name is skipped");
            return None;
        }
        Some(Identity { name, text: metadata.resource_version.into_owned() })
    }

    /// What an object is to us. None when it does not even have a name.
    pub(super) fn read(&self, json: &str) -> Option<Item> {
        self.identify(json).map(|identity| self.content(identity, json))
    }

    /// The objects of a page.
    pub(super) fn read_page(&self, body: &[u8]) -> Result<Vec<Item>, Failure> {
        let items = page(body)?.items.unwrap_or_default();
        Ok(items.into_iter().filter_map(|raw| self.read(raw.get())).collect())
    }

    /// What an object is to us, once it is identified.
    pub(super) fn content(&self, identity: Identity, json: &str) -> Item {
        let Identity { name, text } = identity;
        let content = match self.resource.what {
            What::Object(info, kind) => self.object(info, kind, &name, json),
            What::Deployment => self.workload(WorkloadKind::Deployment, &name, json),
            What::DaemonSet => self.workload(WorkloadKind::DaemonSet, &name, json),
            What::Pod => match observed::pod(json) {
                Ok(pod) => pod.map_or(Content::Unowned, |pod| Content::Pod(Box::new(pod))),
                Err(error) => self.undecodable(&name, "", &error),
            },
            What::Node => match observed::node(json) {
                Ok(node) => Content::Node(node),
                Err(error) => self.undecodable(&name, "", &error),
            },
        };
        let testimony = match content {
            Content::Unwanted | Content::Unowned => None,
            _ => Testimony::of(&self.resource, self.version, json).map(Box::new),
        };
        Item { name, version: Version::new(&text), content, testimony }
    }

    fn object(&self, info: &KindInfo, kind: Kind, name: &Name, json: &str) -> Content {
        if by_reference(kind) && !self.wanted.contains(&name.object(kind)) {
            return Content::Unwanted;
        }
        match Object::decode(info, &mut serde_json::Deserializer::from_str(json)) {
            Ok(mut object) => {
                strip(object.metadata_mut());
                Content::Object(Box::new(object))
            }
            Err(_) => {
                let mut track = serde_path_to_error::Track::new();
                let mut json = serde_json::Deserializer::from_str(json);
                let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
                let words = Object::decode(info, tracked).err().map(|error| error.to_string());
                let path = track.path().to_string();
                let field = if path == "." { "" } else { path.as_str() };
                // The decoder's words may quote the value.
                let words =
                    if kind == Kind::Secret { "is not valid" } else { words.as_deref().unwrap_or_default() };
                self.undecodable(name, field, &words)
            }
        }
    }

    fn workload(&self, kind: WorkloadKind, name: &Name, json: &str) -> Content {
        match observed::workload(kind, json) {
            Ok(Some((workload, fleet))) => Content::Workload(Box::new(workload), fleet),
            Ok(None) => Content::Unowned,
            Err(error) => self.undecodable(name, "", &error),
        }
    }

    fn undecodable(&self, name: &Name, field: &str, words: &dyn fmt::Display) -> Content {
        Content::Undecodable(Box::new(Problem {
            object: Subject {
                api_version: self.resource.api_version(self.version),
                kind: self.resource.kind.to_owned(),
                namespace: (!name.namespace.is_empty()).then(|| name.namespace.to_string()),
                name: name.name.to_string(),
            },
            field: field.to_owned(),
            severity: Severity::Rejected,
            condition: String::new(),
            reason: "Undecodable".to_owned(),
            message: format!(
                "{words}. The API server holds it in a form that this version of Ferrogate cannot read, so the object \
                 has no effect."
            ),
        }))
    }
}

/// Drops what nobody reads, before the object waits anywhere.
fn strip(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    #[serde(default)]
    pub(super) metadata: ListMeta,
    /// Objects; absent and null both mean none.
    #[serde(borrow)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

/// Reads a page, its objects unread.
pub(super) fn page(body: &[u8]) -> Result<Page<'_>, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::garbled(format!("a list cannot be read: {error}")))
}

/// What a list says of itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListMeta {
    pub(super) resource_version: String,
    /// Where the next page begins; empty on the last.
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

/// A line of a watch.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    #[serde(rename = "type")]
    pub(super) kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

/// The object of a bookmark.
#[derive(Deserialize)]
pub(super) struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

impl Bookmark {
    /// The version up to which everything was sent.
    pub(super) fn into_version(self) -> String {
        self.metadata.resource_version
    }

    /// True for the bookmark at the end of a list that is streamed.
    pub(super) fn ends_list(&self) -> bool {
        self.metadata.annotations.get("k8s.io/initial-events-end").is_some_and(|value| value == "true")
    }
}
