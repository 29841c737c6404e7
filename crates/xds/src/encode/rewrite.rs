//! Rewrites of paths, in redirects and towards backends.

use std::sync::Arc;

use envoy_api::matcher::RegexMatchAndSubstitute;
use ir::route::{PathMatch, PathRewrite};

use super::matching::{push_quoted, regex_matcher, without_trailing_slash};

/// How Envoy is told to rewrite a path.
pub(super) enum Rewrite {
    /// The whole path becomes this.
    Full(Arc<str>),
    /// The matched prefix becomes this.
    Prefix(String),
    /// What the pattern matches is substituted.
    Regex(RegexMatchAndSubstitute),
}

/// The rewrite of a path that this match took.
///
/// Envoy's `prefix_rewrite` replaces characters, Gateway API's `ReplacePrefixMatch` replaces path elements. They agree
/// but for the root: with an empty replacement `/foo` would become an empty path and `/foo/bar` become `//bar` if the
/// replacement were `/`, so a pattern takes the slashes that follow as well (envoyproxy/envoy#26055); and the prefix
/// `/` takes the slash that separates the replacement from the rest, so that slash is put back.
pub(super) fn rewrite(path: &PathRewrite, matched: &PathMatch) -> Rewrite {
    match (path, matched) {
        (PathRewrite::Full(path), _) => Rewrite::Full(path.clone()),
        (PathRewrite::Prefix(replacement), PathMatch::Prefix(prefix)) => {
            match (without_trailing_slash(prefix), without_trailing_slash(replacement)) {
                ("", "") => Rewrite::Regex(to_root("/")),
                (prefix, "") => Rewrite::Regex(to_root(prefix)),
                ("", replacement) => Rewrite::Prefix(format!("{replacement}/")),
                (_, replacement) => Rewrite::Prefix(replacement.to_owned()),
            }
        }
        // Refused by the API's own rules; Envoy replaces the whole path.
        (PathRewrite::Prefix(replacement), _) => Rewrite::Prefix(replacement.to_string()),
    }
}

/// Replaces the whole path, query excluded, by a text that is taken literally.
pub(super) fn whole_path(replacement: &str) -> RegexMatchAndSubstitute {
    // A backslash starts a reference to a group in a substitution.
    substitute("^/.*$", replacement.replace('\\', r"\\"))
}

fn to_root(prefix: &str) -> RegexMatchAndSubstitute {
    let mut pattern = "^".to_owned();
    push_quoted(&mut pattern, prefix);
    pattern.push_str(r"\/*");
    substitute(&pattern, "/".to_owned())
}

fn substitute(pattern: &str, substitution: String) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute { pattern: Some(regex_matcher(pattern)), substitution }
}
