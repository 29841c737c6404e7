//! Documents of a piece of a file: parsed once, judged once.

use std::sync::Arc;

use admission::{Admission, Document, SyntaxError, UnknownFields, Verdict};
use api::{KindInfo, Object};
use ir::{Kind, ObjectRef, Problem, problem::Subject};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{
    fingerprint::{self, Fingerprint},
    pieces::{Piece, pieces},
};

/// A piece of a file with its documents, or the reason why it has none. Equal text is parsed once.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The text, kept so that an object can be judged again when it comes into force late: text takes a tenth of
    /// the memory of typed objects.
    text: Box<str>,
    /// The documents in order.
    pub(super) documents: Result<Vec<Judged>, SyntaxError>,
}

impl Parsed {
    /// The documents with their content, which is parsed anew.
    pub(super) fn values(&self) -> Vec<(&Judged, Value)> {
        let values = admission::documents(&self.text).unwrap_or_default();
        let judged = self.documents.iter().flatten();
        judged.zip(values).map(|(judged, document)| (judged, document.value)).collect()
    }
}

/// A document and what admission says of it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// Line in the piece, counted from 1.
    pub(super) line: usize,
    /// Of the document's content.
    pub(super) fingerprint: Fingerprint,
    /// What admission says; shared by documents of equal content.
    pub(super) judgement: Arc<Judgement>,
}

/// What admission says of a document's content.
#[derive(Debug)]
pub(super) struct Judgement {
    /// The object as the document names it.
    pub(super) subject: Subject,
    /// The object that the document declares; absent without a name or when Ferrogate does not read the kind.
    pub(super) reference: Option<ObjectRef>,
    /// False when an API server would refuse the object.
    pub(super) accepted: bool,
    /// Whether Ferrogate reads the kind.
    pub(super) kind: Reading,
    /// What is wrong with it.
    pub(super) problems: Vec<Problem>,
}

/// API groups that Ferrogate serves: a kind of these that it does not read is worth a warning.
const SERVED_GROUPS: [&str; 3] =
    [ir::object::GATEWAY_GROUP, "gateway.networking.x-k8s.io", ir::object::ENVOY_GATEWAY_GROUP];

/// Whether Ferrogate reads a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It does.
    Read,
    /// It does not, though the kind is of an API group that Ferrogate serves.
    Unknown,
    /// It does not, and need not: the kind belongs to someone else.
    Foreign,
}

/// The pieces of a file in order, each with the count of lines before it.
pub(super) type Pieces = Vec<(usize, Arc<Parsed>)>;

/// A document that was just parsed.
struct Fresh {
    line: usize,
    fingerprint: Fingerprint,
    /// What admission says of it now, or said before of an equal one.
    result: Result<(Judgement, Option<Object>), Arc<Judgement>>,
}

/// The pieces of a text with their fingerprints.
fn cut(text: &str) -> Vec<(Piece<'_>, Fingerprint)> {
    pieces(text).into_iter().map(|piece| (piece, fingerprint::of_text(piece.text))).collect()
}

/// Parses and judges, and remembers what it judged.
pub(super) struct Judge {
    admission: Arc<Admission>,
    unknown_fields: UnknownFields,
    pieces: FxHashMap<Fingerprint, Arc<Parsed>>,
    judgements: FxHashMap<Fingerprint, Arc<Judgement>>,
    /// Objects admitted since the last [`Judge::forget`], for whoever puts them in force.
    fresh: FxHashMap<Fingerprint, Object>,
    /// How often a piece was parsed and a document was judged.
    pub(super) work: Work,
}

/// How much work was done, in total; unchanged documents cost none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Files read.
    pub read: u64,
    /// Pieces of files parsed.
    pub parsed: u64,
    /// Documents judged.
    pub judged: u64,
}

impl Judge {
    pub(super) fn new(admission: Arc<Admission>, unknown_fields: UnknownFields) -> Judge {
        Judge {
            admission,
            unknown_fields,
            pieces: FxHashMap::default(),
            judgements: FxHashMap::default(),
            fresh: FxHashMap::default(),
            work: Work::default(),
        }
    }

    /// The parsed pieces of many texts, each with the count of lines before it. What is not known yet is parsed and
    /// judged on all cores: judging takes some 100 µs a document.
    pub(super) fn parse(&mut self, texts: &[&str]) -> Vec<Pieces> {
        let cut: Vec<_> = texts.iter().map(|text| cut(text)).collect();
        let mut unknown: FxHashMap<Fingerprint, &str> = FxHashMap::default();
        for (piece, key) in cut.iter().flatten() {
            if !self.pieces.contains_key(key) {
                unknown.insert(*key, piece.text);
            }
        }
        let read: Vec<_> = unknown.into_par_iter().map(|(key, text)| (key, text, self.judge(text))).collect();
        self.work.parsed += read.len() as u64;
        for (key, text, documents) in read {
            let documents =
                documents.map(|documents| documents.into_iter().map(|d| self.remember(d)).collect());
            self.pieces.insert(key, Arc::new(Parsed { text: text.into(), documents }));
        }
        let known =
            |(piece, key): &(Piece<'_>, Fingerprint)| Some((piece.skipped, self.pieces.get(key)?.clone()));
        cut.iter().map(|pieces| pieces.iter().filter_map(known).collect()).collect()
    }

    /// Parses a piece and judges those of its documents that are not known.
    fn judge(&self, text: &str) -> Result<Vec<Fresh>, SyntaxError> {
        let judge = |document: Document| {
            let fingerprint = fingerprint::of_document(&document.value);
            let result = match self.judgements.get(&fingerprint) {
                Some(known) => Err(known.clone()),
                None => Ok(self.admit(document.value)),
            };
            Fresh { line: document.line, fingerprint, result }
        };
        Ok(admission::documents(text)?.into_iter().map(judge).collect())
    }

    /// Keeps what admission said of a document.
    fn remember(&mut self, document: Fresh) -> Judged {
        let Fresh { line, fingerprint, result } = document;
        let judgement = match result {
            Err(known) => known,
            Ok((judgement, object)) => {
                self.work.judged += u64::from(judgement.kind == Reading::Read);
                self.fresh.extend(object.map(|object| (fingerprint, object)));
                self.judgements.entry(fingerprint).or_insert(Arc::new(judgement)).clone()
            }
        };
        Judged { line, fingerprint, judgement }
    }

    fn admit(&self, document: Value) -> (Judgement, Option<Object>) {
        let kind = reading(&document);
        if kind != Reading::Read {
            let subject = subject(&document);
            return (
                Judgement { subject, reference: None, accepted: false, kind, problems: Vec::new() },
                None,
            );
        }
        let Verdict { subject, object, problems } = self.admission.admit(document, self.unknown_fields);
        let reference = reference(&subject);
        (Judgement { reference, subject, accepted: object.is_some(), kind, problems }, object)
    }

    /// The admitted object of a document: from the latest judging when it is as young as that, else judged again.
    pub(super) fn object(&mut self, piece: &Parsed, fingerprint: Fingerprint) -> Option<Object> {
        if let Some(object) = self.fresh.remove(&fingerprint) {
            return Some(object);
        }
        let documents = admission::documents(&piece.text).ok()?;
        let document = documents.into_iter().find(|d| fingerprint::of_document(&d.value) == fingerprint)?;
        self.work.judged += 1;
        self.admission.admit(document.value, self.unknown_fields).object
    }

    /// Drops what no file holds any more, and the objects that nobody put in force.
    pub(super) fn forget(&mut self) {
        self.fresh = FxHashMap::default();
        self.pieces.retain(|_, piece| Arc::strong_count(piece) > 1);
        self.judgements.retain(|_, judgement| Arc::strong_count(judgement) > 1);
    }
}

/// Whether Ferrogate reads the kind of a document. A document without one is read, so that admission can say so; so
/// is a kind in a version that is not served.
fn reading(document: &Value) -> Reading {
    let text = |key: &str| document.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return Reading::Read;
    };
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if KindInfo::named(group, kind).is_some() {
        Reading::Read
    } else if SERVED_GROUPS.contains(&group) {
        Reading::Unknown
    } else {
        Reading::Foreign
    }
}

/// The object as a document of a kind that is not read names it.
fn subject(document: &Value) -> Subject {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let metadata = document.get("metadata");
    Subject {
        api_version: text(document.get("apiVersion")).unwrap_or_default(),
        kind: text(document.get("kind")).unwrap_or_default(),
        namespace: text(metadata.and_then(|m| m.get("namespace"))),
        name: text(metadata.and_then(|m| m.get("name"))).unwrap_or_default(),
    }
}

/// The object that a subject names, when Ferrogate reads its kind and it has a name.
pub(super) fn reference(subject: &Subject) -> Option<ObjectRef> {
    let group = subject.api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = Kind::find(group, &subject.kind)?;
    let namespace = if kind.namespaced() { subject.namespace.as_deref().unwrap_or("default") } else { "" };
    (!subject.name.is_empty()).then(|| ObjectRef::new(kind, namespace, &subject.name))
}
