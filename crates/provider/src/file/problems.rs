//! The words for what is wrong with files and with what they hold.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use ir::{Problem, Severity, problem::Subject};

use super::read::{MAX_DOCUMENTS, MAX_FILE_BYTES};

/// Path of standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// Where a document begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as a user would name it: below the path that was given. `-` is standard input.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    /// `routes.yaml:12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Named(&self.path), self.line)
    }
}

/// A path in a message.
pub(super) struct Named<'a>(pub(super) &'a Path);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Path::new(STANDARD_INPUT) {
            f.write_str("standard input")
        } else {
            self.0.display().fmt(f)
        }
    }
}

/// Why the content of a file could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The operating system refused to read it.
    Unreadable(String),
    /// Longer than [`MAX_FILE_BYTES`].
    TooLarge,
    /// More documents than [`MAX_DOCUMENTS`].
    TooMany(usize),
    /// Bytes that are no text.
    NotUtf8 {
        /// The line of the first such byte.
        line: usize,
    },
    /// Neither YAML nor JSON.
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
}

impl Fault {
    pub(super) fn unreadable(error: &io::Error) -> Fault {
        Fault::Unreadable(error.to_string())
    }

    /// The problem with the file at `path`; `kept` tells that its last good content stays in force.
    pub(super) fn problem(&self, path: &Path, kept: bool) -> Problem {
        let file = Named(path);
        let (reason, mut message) = match self {
            Fault::Unreadable(error) => ("Unreadable", format!("{file} cannot be read: {error}.")),
            Fault::TooLarge => (
                "TooLarge",
                format!("{file} is larger than {} MiB; split it.", MAX_FILE_BYTES / (1024 * 1024)),
            ),
            Fault::TooMany(count) => (
                "TooManyDocuments",
                format!("{file} holds {count} documents, more than {MAX_DOCUMENTS}; split it."),
            ),
            Fault::NotUtf8 { line } => {
                ("NotText", format!("{file}:{line}: not UTF-8 text; save the file as UTF-8."))
            }
            Fault::Syntax { line, column, message } => {
                ("Syntax", format!("{file}:{line}:{column}: {}.", message.trim_end_matches('.')))
            }
        };
        if kept {
            message.push_str(" The last good content of this file stays in force.");
        }
        about_file(path, Severity::Error, reason, message)
    }
}

/// A problem whose subject is a file.
fn about_file(path: &Path, severity: Severity, reason: &str, message: String) -> Problem {
    Problem {
        object: file_subject(path),
        field: String::new(),
        severity,
        condition: String::new(),
        reason: reason.to_owned(),
        message,
    }
}

/// The subject of problems with a file: kind `File`, no `apiVersion`, the path as name.
pub(super) fn file_subject(path: &Path) -> Subject {
    Subject {
        api_version: String::new(),
        kind: "File".to_owned(),
        namespace: None,
        name: path.display().to_string(),
    }
}

/// A path that was given but does not exist; `awaited` when it will be read as soon as it appears.
pub(super) fn missing(path: &Path, awaited: bool) -> Problem {
    let hint = if awaited { "; it is read when it appears" } else { "" };
    let message = format!("{} does not exist{hint}.", Named(path));
    about_file(path, Severity::Warning, "Missing", message)
}

/// A path that was given, exists, and cannot be entered or listed.
pub(super) fn unlistable(path: &Path, error: &io::Error) -> Problem {
    Fault::unreadable(error).problem(path, false)
}

/// A directory in which there is nothing to read.
pub(super) fn nothing_in(path: &Path) -> Problem {
    let message = format!(
        "{} holds no *.yaml, *.yml or *.json file (names that begin with a dot and sub-folders are not read).",
        Named(path)
    );
    about_file(path, Severity::Warning, "Empty", message)
}

/// One object declared in several places; the first place is in force.
pub(super) fn duplicate(object: &Subject, in_force: &Place, others: &[Place]) -> Option<Problem> {
    let first = others.first()?;
    let list: Vec<String> = others.iter().map(Place::to_string).collect();
    let message = format!(
        "{object} is declared more than once: {in_force} is in force, {} has no effect.",
        list.join(", ")
    );
    Some(about_file(&first.path, Severity::Warning, "Duplicate", message))
}

/// Objects of a kind that Ferrogate does not read, though it belongs to an API group that it serves.
pub(super) fn unknown_kind(first: &Subject, place: &Place, count: usize) -> Problem {
    let (kind, version) = (&first.kind, &first.api_version);
    let message = match count {
        1 => format!("kind {kind} of {version} is not read; the object at {place} has no effect."),
        _ => format!(
            "kind {kind} of {version} is not read; {count} objects have no effect, the first at {place}."
        ),
    };
    Problem {
        object: first.clone(),
        field: "kind".to_owned(),
        severity: Severity::Warning,
        condition: String::new(),
        reason: "UnknownKind".to_owned(),
        message,
    }
}

/// Adds to a rejected object's problem that its last accepted version is still in force.
pub(super) fn last_accepted_stays(problem: &mut Problem) {
    problem.message.push_str(" The last accepted version of this object stays in force.");
}
