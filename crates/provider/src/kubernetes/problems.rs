//! The words for what is wrong with the API server, or with what it lets us read.

use ir::{Kind, Problem, Severity, problem::Subject};

use super::{
    hub::SourceView,
    server::{Failure, FailureKind},
};

/// What is waited for, with the latest failure.
pub(super) fn waiting_for(source: SourceView<'_>) -> String {
    match source.failure {
        Some(failure) => format!("{}: {failure}", place(source)),
        None => place(source),
    }
}

/// `HTTPRoute`, or `HTTPRoute in default` for a watch of one namespace.
fn place(source: SourceView<'_>) -> String {
    match source.namespace {
        Some(namespace) => format!("{} in {namespace}", source.resource),
        None => source.resource.to_string(),
    }
}

/// The problem with a source: reading is forbidden.
pub(super) fn of_source(source: SourceView<'_>) -> Option<Problem> {
    let failure = source.failure.filter(|failure| failure.kind == FailureKind::Forbidden)?;
    (!source.optional).then(|| Problem {
        object: Subject {
            api_version: source.resource.api_version(source.version),
            kind: source.resource.kind.to_owned(),
            namespace: source.namespace.map(ToString::to_string),
            name: String::new(),
        },
        field: String::new(),
        severity: Severity::Warning,
        condition: String::new(),
        reason: "Forbidden".to_owned(),
        message: forbidden(source, failure),
    })
}

fn forbidden(source: SourceView<'_>, failure: &Failure) -> String {
    let role = match source.namespace {
        Some(namespace) => format!("a Role in {namespace}"),
        None => "a ClusterRole".to_owned(),
    };
    format!(
        "objects of this kind may not be read, so they have no effect: grant {} by {role} to the controller's \
         ServiceAccount ({failure}).",
        source.resource.rule()
    )
}

/// Says a new failure of a source.
pub(super) fn log_failure(source: SourceView<'_>, failure: &Failure) {
    let place = place(source);
    match failure.kind {
        FailureKind::Forbidden if source.optional => {
            tracing::debug!("{place}: {}", forbidden(source, failure));
        }
        FailureKind::Forbidden => tracing::warn!("{place}: {}", forbidden(source, failure)),
        FailureKind::NotFound => tracing::debug!("{place}: {failure}"),
        _ => tracing::warn!("{place} cannot be read for now, what is in force stays: {failure}"),
    }
}

/// A kind without which nothing can work is not installed.
pub(super) fn missing_crd(kind: Kind) -> Problem {
    Problem {
        object: Subject {
            api_version: kind.api_version(),
            kind: kind.name().to_owned(),
            namespace: None,
            name: String::new(),
        },
        field: String::new(),
        severity: Severity::Warning,
        condition: String::new(),
        reason: "NotInstalled".to_owned(),
        message: format!(
            "the API server does not have this kind: install the CRDs of Gateway API. {} objects are read as soon as \
             they can exist.",
            kind.name()
        ),
    }
}
