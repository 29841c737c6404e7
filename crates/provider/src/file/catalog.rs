//! What all files declare together, and what changes when one of them does.
//!
//! The rules, in order:
//! 1. A file whose content cannot be taken keeps its last good content. A file that never had any gives the documents
//!    that can be read.
//! 2. Of several declarations of an object the first accepted one is in force, by path and then by position.
//! 3. A rejected declaration changes nothing: as with `kubectl apply`, which refuses the edit, the last accepted
//!    version of the object stays in force. That version is not written down anywhere; after a restart it is absent.
//! 4. An object that no file declares is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use admission::{Admission, UnknownFields};
use api::Object;
use ir::{ObjectRef, Problem, Severity};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::{
    document::{Judge, Judged, Parsed, Pieces, Reading, Work},
    fingerprint::Fingerprint,
    problems::{self, Fault, Place},
    read::MAX_DOCUMENTS,
};

/// All files with their documents, and the objects that are in force.
pub(super) struct Catalog {
    judge: Judge,
    files: BTreeMap<PathBuf, Content>,
    in_force: FxHashMap<ObjectRef, InForce>,
    /// True when a file changed since the last commit.
    touched: bool,
}

/// What is known of one file.
#[derive(Default)]
struct Content {
    /// Pieces in order, each with the count of lines before it.
    pieces: Pieces,
    /// Why the newest content could not be taken; several when several documents are broken.
    faults: Vec<Fault>,
    /// True once the whole content could be taken.
    was_good: bool,
    /// True while the file seems to be gone or emptied, but may be on its way back.
    leaving: bool,
}

/// The version of an object that is in force.
struct InForce {
    fingerprint: Fingerprint,
    path: PathBuf,
}

/// What changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Objects to put in force, new or changed, ordered by reference.
    pub(super) apply: Vec<(ObjectRef, Object)>,
    /// Objects that are gone, in order.
    pub(super) delete: Vec<ObjectRef>,
    /// All problems there are now.
    pub(super) problems: Vec<Problem>,
    /// All files that are read now.
    pub(super) sources: Vec<Source>,
    /// Kinds of other people with the count of their objects and the first place.
    pub(super) foreign: BTreeMap<(String, String), (usize, Place)>,
}

impl Changes {
    /// Each object that changed, once; none for one that is gone.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (ObjectRef, Option<Object>)> {
        let gone = self.delete.into_iter().map(|reference| (reference, None));
        gone.chain(self.apply.into_iter().map(|(reference, object)| (reference, Some(object))))
    }
}

/// A file that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// Documents in it, of whatever kind.
    pub documents: usize,
    /// Objects in force that come from it.
    pub objects: usize,
    /// False when its newest content could not be taken.
    pub good: bool,
}

/// One declaration of an object.
struct Claim<'a> {
    /// Position of the file among all files.
    file: usize,
    path: &'a Path,
    skipped: usize,
    piece: &'a Arc<Parsed>,
    judged: &'a Judged,
    leaving: bool,
}

impl Claim<'_> {
    fn place(&self) -> Place {
        Place { path: self.path.to_owned(), line: self.skipped + self.judged.line }
    }
}

/// What becomes of an object, given its declarations.
enum Outcome<'a> {
    /// This declaration is in force.
    Take(&'a Claim<'a>),
    /// What is in force stays, though this declaration of it is rejected.
    Keep(&'a Claim<'a>),
    /// Nothing is in force.
    Nothing,
}

impl Catalog {
    pub(super) fn new(admission: Arc<Admission>, unknown_fields: UnknownFields) -> Catalog {
        Catalog {
            judge: Judge::new(admission, unknown_fields),
            files: BTreeMap::new(),
            in_force: FxHashMap::default(),
            touched: false,
        }
    }

    /// Takes the contents of files, or notes why they cannot be had.
    pub(super) fn set(&mut self, contents: Vec<(PathBuf, Result<String, Fault>)>) {
        let texts: Vec<&str> = contents.iter().flat_map(|(_, content)| content.as_deref()).collect();
        self.judge.work.read += texts.len() as u64;
        let mut parsed = self.judge.parse(&texts).into_iter();
        for (path, content) in contents {
            let content = content.and_then(|_| checked(parsed.next().unwrap_or_default()));
            self.touched = true;
            let file = self.files.entry(path).or_default();
            file.leaving = false;
            match content {
                Ok((pieces, faults)) => {
                    let good = faults.is_empty();
                    if good || !file.was_good {
                        file.pieces = pieces;
                    }
                    file.was_good |= good;
                    file.faults = faults;
                }
                Err(fault) => file.faults = vec![fault],
            }
        }
    }

    /// The file may be gone or emptied: its objects stay, but nobody shall complain about its return elsewhere.
    pub(super) fn set_leaving(&mut self, path: &Path) {
        if let Some(file) = self.files.get_mut(path) {
            self.touched |= !file.leaving;
            file.leaving = true;
        }
    }

    /// The file is gone.
    pub(super) fn remove(&mut self, path: &Path) {
        self.touched |= self.files.remove(path).is_some();
    }

    /// True when a file changed since the last commit.
    pub(super) fn is_touched(&self) -> bool {
        self.touched
    }

    /// How many documents the file declares at present; 0 when it is not known.
    pub(super) fn documents_in(&self, path: &Path) -> usize {
        self.files.get(path).map_or(0, Content::len)
    }

    /// The work done so far.
    pub(super) fn work(&self) -> Work {
        self.judge.work
    }

    /// Says what changed since the last time, and what is wrong now.
    pub(super) fn commit(&mut self) -> Changes {
        let mut changes = Changes::default();
        let mut kept = FxHashSet::default();
        let mut objects_of = vec![0; self.files.len()];
        let mut claims: FxHashMap<&ObjectRef, SmallVec<[Claim<'_>; 1]>> = FxHashMap::default();
        for (reference, claim) in all_claims(&self.files) {
            claims.entry(reference).or_default().push(claim);
        }
        let mut duplicates = Vec::new();
        for (reference, claims) in &claims {
            let before = self.in_force.get(*reference);
            let claim = match outcome(claims, before) {
                Outcome::Nothing => continue,
                Outcome::Keep(claim) => {
                    kept.insert(claim.judged.fingerprint);
                    claim
                }
                Outcome::Take(claim) => {
                    let fingerprint = claim.judged.fingerprint;
                    if before.is_none_or(|before| before.fingerprint != fingerprint) {
                        let Some(object) = self.judge.object(claim.piece, fingerprint) else { continue };
                        changes.apply.push(((*reference).clone(), object));
                        let in_force = InForce { fingerprint, path: claim.path.to_owned() };
                        self.in_force.insert((*reference).clone(), in_force);
                    }
                    claim
                }
            };
            duplicates.extend(duplicate(claim, claims));
            objects_of[claim.file] += 1;
            if let Some(in_force) = self.in_force.get_mut(*reference)
                && !same(&in_force.path, claim.path)
            {
                in_force.path = claim.path.to_owned();
            }
        }
        self.in_force.retain(|reference, _| {
            let stays = claims.contains_key(reference);
            if !stays {
                changes.delete.push(reference.clone());
            }
            stays
        });
        changes.apply.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        changes.delete.sort_unstable();
        duplicates.sort_unstable();
        self.describe(&kept, &mut changes);
        changes.problems.extend(duplicates);
        changes.sources = self.sources(&objects_of);
        self.judge.forget();
        self.touched = false;
        changes
    }

    /// Collects the problems of files and documents, and the kinds of other people.
    fn describe(&self, kept: &FxHashSet<Fingerprint>, changes: &mut Changes) {
        let mut unknown: BTreeMap<(&str, &str), (usize, &Judged, Place)> = BTreeMap::new();
        let mut said = FxHashSet::default();
        for (path, file) in &self.files {
            changes.problems.extend(file.faults.iter().map(|fault| fault.problem(path, file.was_good)));
            for (skipped, _, judged) in file.documents() {
                let place = || Place { path: path.clone(), line: skipped + judged.line };
                let judgement = &judged.judgement;
                let (version, kind) = (&judgement.subject.api_version, &judgement.subject.kind);
                match judgement.kind {
                    Reading::Read if judgement.problems.is_empty() || !said.insert(judged.fingerprint) => {}
                    Reading::Read => {
                        let first = changes.problems.len();
                        changes.problems.extend(judgement.problems.iter().cloned());
                        let rejected =
                            changes.problems[first..].iter_mut().find(|p| p.severity == Severity::Rejected);
                        if kept.contains(&judged.fingerprint)
                            && let Some(problem) = rejected
                        {
                            problems::last_accepted_stays(problem);
                        }
                    }
                    Reading::Unknown => {
                        unknown.entry((version, kind)).or_insert_with(|| (0, judged, place())).0 += 1;
                    }
                    Reading::Foreign => {
                        let key = (version.clone(), kind.clone());
                        changes.foreign.entry(key).or_insert_with(|| (0, place())).0 += 1;
                    }
                }
            }
        }
        for (count, first, place) in unknown.into_values() {
            changes.problems.push(problems::unknown_kind(&first.judgement.subject, &place, count));
        }
    }

    /// The documents of kinds that belong to others, each with its place, in the order of the files.
    pub(super) fn foreign(&self) -> Vec<(Place, serde_json::Value)> {
        let mut found = Vec::new();
        for (path, content) in &self.files {
            for (skipped, piece) in &content.pieces {
                let is_foreign = |judged: &Judged| judged.judgement.kind == Reading::Foreign;
                if !piece.documents.as_ref().is_ok_and(|documents| documents.iter().any(is_foreign)) {
                    continue;
                }
                let foreign = piece.values().into_iter().filter(|(judged, _)| is_foreign(judged));
                found.extend(foreign.map(|(judged, value)| {
                    (Place { path: path.clone(), line: skipped + judged.line }, value)
                }));
            }
        }
        found
    }

    /// The places of all objects that documents declare; of several declarations the first.
    pub(super) fn declared(&self) -> BTreeMap<ir::problem::Subject, Place> {
        let mut places = BTreeMap::new();
        for (path, content) in &self.files {
            for (skipped, piece) in &content.pieces {
                for judged in piece.documents.iter().flatten() {
                    let place = || Place { path: path.clone(), line: skipped + judged.line };
                    places.entry(judged.judgement.subject.clone()).or_insert_with(place);
                }
            }
        }
        places
    }

    /// The places of all documents that have a problem, for whoever prints the problems.
    pub(super) fn places(&self) -> BTreeMap<ir::problem::Subject, Place> {
        let mut places = BTreeMap::new();
        for (path, file) in &self.files {
            for (skipped, _, judged) in file.documents() {
                let judgement = &judged.judgement;
                if !judgement.problems.is_empty() {
                    let place = Place { path: path.clone(), line: skipped + judged.line };
                    places.entry(judgement.subject.clone()).or_insert(place);
                }
            }
        }
        places
    }

    fn sources(&self, objects_of: &[usize]) -> Vec<Source> {
        let source = |((path, file), objects): ((&PathBuf, &Content), &usize)| Source {
            path: path.clone(),
            documents: file.len(),
            objects: *objects,
            good: file.faults.is_empty(),
        };
        self.files.iter().zip(objects_of).map(source).collect()
    }
}

impl Content {
    fn len(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.documents.as_ref().map_or(0, Vec::len)).sum()
    }

    /// All documents in order, each with the count of lines before its piece.
    fn documents(&self) -> impl Iterator<Item = (usize, &Arc<Parsed>, &Judged)> {
        self.pieces.iter().flat_map(|(skipped, piece)| {
            piece.documents.iter().flatten().map(move |judged| (*skipped, piece, judged))
        })
    }
}

/// The pieces of a file, with a fault for each that is broken.
fn checked(pieces: Pieces) -> Result<(Pieces, Vec<Fault>), Fault> {
    let count = pieces.iter().map(|(_, piece)| piece.documents.as_ref().map_or(1, Vec::len)).sum();
    if count > MAX_DOCUMENTS {
        return Err(Fault::TooMany(count));
    }
    let faults = pieces.iter().filter_map(|(skipped, piece)| {
        let error = piece.documents.as_ref().err()?;
        let message = error.message.clone();
        Some(Fault::Syntax { line: skipped + error.line, column: error.column, message })
    });
    let faults = faults.collect();
    Ok((pieces, faults))
}

/// All declarations of objects, by path and then by position.
fn all_claims(files: &BTreeMap<PathBuf, Content>) -> impl Iterator<Item = (&ObjectRef, Claim<'_>)> {
    files.iter().enumerate().flat_map(|(position, (path, file))| {
        file.documents().filter_map(move |(skipped, piece, judged)| {
            let reference = judged.judgement.reference.as_ref()?;
            Some((reference, Claim { file: position, path, skipped, piece, judged, leaving: file.leaving }))
        })
    })
}

/// Rules 2 and 3 of this module. A rejected declaration keeps its place in the order as long as an accepted version
/// from the same file is in force; otherwise an edit with a mistake would let another file's version in.
fn outcome<'a>(claims: &'a [Claim<'a>], before: Option<&InForce>) -> Outcome<'a> {
    for claim in claims {
        if claim.judged.judgement.accepted {
            return Outcome::Take(claim);
        }
        if before.is_some_and(|before| same(&before.path, claim.path)) {
            return Outcome::Keep(claim);
        }
    }
    match (claims.first(), before) {
        (Some(rejected), Some(_)) => Outcome::Keep(rejected),
        _ => Outcome::Nothing,
    }
}

/// The warning about an object that is declared more than once. A file that may just be moving away does not count.
fn duplicate(in_force: &Claim<'_>, claims: &[Claim<'_>]) -> Option<Problem> {
    if claims.len() == 1 || in_force.leaving {
        return None;
    }
    let others: BTreeSet<Place> = claims
        .iter()
        .filter(|claim| !claim.leaving)
        .map(Claim::place)
        .filter(|p| *p != in_force.place())
        .collect();
    let others: Vec<Place> = others.into_iter().collect();
    problems::duplicate(&in_force.judged.judgement.subject, &in_force.place(), &others)
}

/// Whether two paths are spelled the same, which is all that matters here and faster than comparing their parts.
fn same(a: &Path, b: &Path) -> bool {
    a.as_os_str() == b.as_os_str()
}
