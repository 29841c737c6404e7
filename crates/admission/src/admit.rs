//! Admission: from a document to a typed object, or to what is wrong with it.

use std::sync::OnceLock;

use api::{KINDS, KindInfo, Object};
use ir::{Problem, Severity, problem::Subject};
use serde_json::Value;

use crate::{
    core_rules,
    finding::{Finding, reason},
    kind::Compiled,
    mend::mend,
    metadata,
    rules::Functions,
};

/// What happens to fields that a kind does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownFields {
    /// The object is refused, as `kubectl apply` does.
    Refuse,
    /// The field is dropped with a warning, as API servers do. A field that differs from a known one in case alone
    /// is refused all the same. EndpointSlices without a name or a known `addressType` are mended with a warning.
    Drop,
}

/// What admission thinks of a document.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The object, as the document names it.
    pub subject: Subject,
    /// The object with its defaults; `None` when it is refused or of a kind that is not read.
    pub object: Option<Object>,
    /// What is wrong. Only [`Severity::Rejected`] keeps the object out.
    pub problems: Vec<Problem>,
}

/// Judges documents as an API server would. Schemas are compiled when a kind is first met, then kept; one value
/// serves all threads.
pub struct Admission {
    /// By kind and version, in the order of the registry.
    kinds: Vec<Vec<OnceLock<Result<Compiled, String>>>>,
    pub(crate) config: OnceLock<Result<Compiled, String>>,
    pub(crate) functions: Functions,
}

impl Default for Admission {
    fn default() -> Self {
        Admission::new()
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Admission {
    /// An admission with nothing compiled yet.
    pub fn new() -> Self {
        Admission {
            kinds: (KINDS.iter().map(|kind| kind.versions.iter().map(|_| OnceLock::new()).collect()))
                .collect(),
            config: OnceLock::new(),
            functions: Functions::new(),
        }
    }

    /// Judges one document: nulls dropped, unknown fields refused or dropped, defaults filled in, then types, limits,
    /// patterns, duplicates, CEL rules, names, labels, and the rules of Kubernetes' own kinds. All failures are told.
    ///
    /// A namespaced object without a namespace gets `default`; one without a generation gets 1. Kinds that are not
    /// read yield one warning and no object.
    pub fn admit(&self, document: Value, unknown: UnknownFields) -> Verdict {
        let mut subject = subject_of(&document);
        let kind = match find_kind(&document, &subject) {
            Ok(kind) => kind,
            Err(finding) => {
                let problems = vec![finding.into_problem(&subject)];
                return Verdict { subject, object: None, problems };
            }
        };
        let mut document = document;
        metadata::complete(&mut document, kind);
        subject.namespace =
            document.pointer("/metadata/namespace").and_then(Value::as_str).map(str::to_owned);
        let mut findings = Vec::new();
        if unknown == UnknownFields::Drop {
            mend(&mut document, kind, &mut findings);
        }
        if let Some(name) = document.pointer("/metadata/name").and_then(Value::as_str) {
            name.clone_into(&mut subject.name);
        }
        let version = subject.api_version.rsplit('/').next().unwrap_or_default();
        let object = self.judge(document, (kind, version), unknown, &mut findings);
        let refused = findings.iter().any(|finding| finding.severity == Severity::Rejected);
        let problems = findings.into_iter().map(|finding| finding.into_problem(&subject)).collect();
        Verdict { subject, object: object.filter(|_| !refused), problems }
    }

    fn judge(
        &self,
        mut document: Value,
        (kind, version): (&'static KindInfo, &str),
        unknown: UnknownFields,
        findings: &mut Vec<Finding>,
    ) -> Option<Object> {
        let position = KINDS.iter().position(|known| known == kind)?;
        let of_version = kind.versions.iter().position(|known| *known == version)?;
        let compiled = self.kinds.get(position)?.get(of_version)?;
        let compiled = compiled.get_or_init(|| Compiled::new(kind.schema_of(version), kind.is_core()));
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(error) => {
                let message = format!("objects of this kind cannot be judged: {error}");
                findings.push(Finding::rejected("", reason::INVALID, message));
                return None;
            }
        };
        let secret = (kind.group, kind.name) == ("", "Secret");
        unwrap_base64(&mut document);
        compiled.judge(&mut document, unknown, &self.functions, secret, findings);
        metadata::check(&document, kind, findings);
        let failed = findings.iter().any(|finding| finding.severity == Severity::Rejected);
        match Object::decode(kind, &document) {
            Ok(object) => {
                core_rules::check(&object, findings);
                Some(object)
            }
            // Schemas are a little wider than types, for instance about numbers beyond 32 bits.
            Err(_) if !failed => {
                findings.push(decode_failure(kind, &document, secret));
                None
            }
            Err(_) => None,
        }
    }
}

fn decode_failure(kind: &KindInfo, document: &Value, secret: bool) -> Finding {
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(document, &mut track);
    let words = Object::decode(kind, deserializer).err().map(|error| error.to_string()).unwrap_or_default();
    let path = track.path().to_string();
    let field = if path == "." { String::new() } else { path };
    // The decoder's words may quote the value.
    Finding::rejected(field, reason::TYPE, if secret { "is not valid".to_owned() } else { words })
}

/// Base64 may be wrapped into lines, as it comes from files; decoders want it without.
fn unwrap_base64(document: &mut Value) {
    let core = document.get("apiVersion").and_then(Value::as_str) == Some("v1");
    let key = match document.get("kind").and_then(Value::as_str) {
        Some("Secret") if core => "data",
        Some("ConfigMap") if core => "binaryData",
        _ => return,
    };
    for value in
        document.get_mut(key).and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut())
    {
        if let Value::String(text) = value {
            text.retain(|c| c != '\n' && c != '\r');
        }
    }
}

fn subject_of(document: &Value) -> Subject {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    Subject {
        api_version: text("/apiVersion").unwrap_or_default().to_owned(),
        kind: text("/kind").unwrap_or_default().to_owned(),
        namespace: text("/metadata/namespace").filter(|name| !name.is_empty()).map(str::to_owned),
        name: text("/metadata/name").unwrap_or_default().to_owned(),
    }
}

fn find_kind(document: &Value, subject: &Subject) -> Result<&'static KindInfo, Finding> {
    if !document.is_object() {
        let message =
            "the document is no Kubernetes object: it must be a mapping with apiVersion, kind and metadata";
        return Err(Finding::rejected("", reason::TYPE, message));
    }
    for (key, value) in [("apiVersion", &subject.api_version), ("kind", &subject.kind)] {
        if value.is_empty() {
            return Err(Finding::rejected(key, reason::REQUIRED, "must be set"));
        }
    }
    if let Some(kind) = KindInfo::find(&subject.api_version, &subject.kind) {
        return Ok(kind);
    }
    let group = subject.api_version.split_once('/').map_or("", |(group, _)| group);
    if let Some(kind) = KindInfo::named(group, &subject.kind) {
        let message = format!(
            "kind {} is not served in {}; versions that are: {}",
            subject.kind,
            subject.api_version,
            kind.versions.join(", ")
        );
        return Err(Finding::rejected("apiVersion", reason::NOT_SUPPORTED, message));
    }
    Err(Finding {
        field: String::new(),
        severity: Severity::Warning,
        reason: reason::UNKNOWN_KIND,
        message: format!(
            "kind {} of {} is not read; the object has no effect",
            subject.kind, subject.api_version
        ),
    })
}
