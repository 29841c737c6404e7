//! Paths as Envoy makes them alike before it looks for a route.

use envoy_api::hcm::{
    HttpConnectionManager, http_connection_manager::PathWithEscapedSlashesAction as Escaped,
};

use crate::{Outcome, request::Request};

/// Brings the path into its normal form; an answer when that decides the request.
pub(crate) fn normalize(request: &mut Request, manager: &HttpConnectionManager) -> Option<Outcome> {
    if request.path.contains('#') {
        return Some(Outcome::answer(400, "the path has a fragment"));
    }
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (request.path.clone(), None),
    };
    let mut path = path;
    let mut redirects = false;
    let action = Escaped::try_from(manager.path_with_escaped_slashes_action).unwrap_or_default();
    if !matches!(action, Escaped::ImplementationSpecificDefault | Escaped::KeepUnchanged) {
        let unescaped = unescape_slashes(&path);
        if unescaped != path {
            match action {
                Escaped::RejectRequest => {
                    return Some(Outcome::answer(400, "the path has an escaped slash"));
                }
                Escaped::UnescapeAndRedirect => redirects = true,
                _ => {}
            }
            path = unescaped;
        }
    }
    if manager.normalize_path.is_some_and(|normalize| normalize.value) {
        path = without_dots(&path);
    }
    if manager.merge_slashes {
        path = merge_slashes(&path);
    }
    request.path = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    redirects.then(|| Outcome::Redirected {
        status: 307,
        location: request.path.clone(),
        why: "the path has an escaped slash (%2F or %5C): clients are sent to the path without it".to_owned(),
    })
}

/// `%2F` and `%5C` as the characters that they stand for.
fn unescape_slashes(path: &str) -> String {
    path.replace("%2F", "/").replace("%2f", "/").replace("%5C", "\\").replace("%5c", "\\")
}

/// Resolves `.` and `..` (RFC 3986 §5.2.4), also where they are escaped, with backslashes as slashes.
fn without_dots(path: &str) -> String {
    let path = path.replace('\\', "/").replace("%2E", ".").replace("%2e", ".");
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let mut normal = String::with_capacity(path.len());
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if ends_open || segments.is_empty() {
        normal.push('/');
    }
    normal
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}
