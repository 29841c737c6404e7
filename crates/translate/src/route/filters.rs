//! Filters of a rule, and of a backend.

use std::sync::Arc;

use ir::route::{Cors, HeaderMutations, HeaderValue, PathRewrite, Redirect, RedirectPort};
use store::facts::{self, Filter, HeaderEdit, PathModifier};

use crate::{Finding, reader::EG_GROUP};

/// Filters of a rule in the model's terms.
#[derive(Debug, Default)]
pub(super) struct Filters {
    pub request_headers: HeaderMutations,
    pub response_headers: HeaderMutations,
    pub redirect: Option<Redirect>,
    pub host_rewrite: Option<Arc<str>>,
    pub path_rewrite: Option<PathRewrite>,
    pub cors: Option<Cors>,
    /// Status that answers all requests of the rule, because a filter cannot be honoured.
    pub direct: Option<u16>,
    /// References that do not resolve.
    pub unresolved: Vec<Finding>,
    /// Why the rule is not served at all.
    pub dropped: Option<Finding>,
}

/// Filters of a rule. One that cannot be honoured makes the rule answer 500: leaving it out would serve requests
/// unfiltered (Gateway API, HTTPRouteRule.filters).
pub(super) fn of_rule(rule: u16, filters: &[Filter]) -> Filters {
    let mut out = Filters::default();
    let mirrored = filters.iter().any(|f| matches!(f, Filter::Mirror { .. }));
    for (i, filter) in filters.iter().enumerate() {
        let field = format!("spec.rules[{rule}].filters[{i}]");
        match filter {
            Filter::RequestHeaders(edit) => out.request_headers = out.headers(&field, rule, edit),
            Filter::ResponseHeaders(edit) => out.response_headers = out.headers(&field, rule, edit),
            Filter::Redirect(_) if mirrored => {
                out.direct = Some(500);
                out.dropped = Some(Finding::new(
                    field,
                    "IncompatibleFilters",
                    format!("Rule {rule}: RequestMirror and RequestRedirect cannot stand in one rule"),
                ));
            }
            Filter::Redirect(redirect) => out.redirect = Some(self::redirect(redirect)),
            Filter::UrlRewrite { hostname, path } => {
                out.host_rewrite.clone_from(hostname);
                out.path_rewrite = path.as_ref().map(path_rewrite);
            }
            Filter::Cors(cors) => out.cors = Some(cors.clone()),
            // Resolved with the backends.
            Filter::Mirror { .. } => {}
            Filter::Extension { group, kind, name } => {
                out.direct = Some(500);
                out.unresolved.push(unknown_extension(&field, group, kind, name));
            }
            Filter::ExternalAuth => {
                out.direct = Some(500);
                out.dropped = None;
                out.unresolved.push(Finding::new(
                    format!("{field}.type"),
                    "UnsupportedValue",
                    format!("Rule {rule}: filters of type ExternalAuth are not supported; use a SecurityPolicy with extAuth"),
                ));
            }
        }
    }
    out
}

fn unknown_extension(field: &str, group: &str, kind: &str, name: &str) -> Finding {
    let message = if group == EG_GROUP && kind == "HTTPRouteFilter" {
        format!("HTTPRouteFilter {name} cannot be found")
    } else {
        format!("Filters of kind {group}/{kind} are not known here ({name})")
    };
    Finding::new(format!("{field}.extensionRef"), "UnsupportedValue", message)
}

impl Filters {
    fn headers(&mut self, field: &str, rule: u16, edit: &HeaderEdit) -> HeaderMutations {
        match header_mutations(edit) {
            Ok(mutations) => mutations,
            Err(message) => {
                self.direct = Some(500);
                self.dropped.get_or_insert(Finding::new(
                    field.to_owned(),
                    "UnsupportedValue",
                    format!("Rule {rule}: {message}"),
                ));
                HeaderMutations::default()
            }
        }
    }
}

/// Header changes as Envoy takes them: names that would break HTTP/2 framing or belong to the URL are refused.
pub(super) fn header_mutations(edit: &HeaderEdit) -> Result<HeaderMutations, String> {
    let names = || edit.set.iter().chain(edit.add.iter()).map(|(name, _)| name).chain(edit.remove.iter());
    if let Some(name) = names().find(|name| name.is_empty() || name.contains(['/', ':'])) {
        return Err(format!("the header name {name:?} is not valid"));
    }
    if names().any(|name| name.eq_ignore_ascii_case("host")) {
        return Err("the Host header is changed by a URLRewrite filter, not by a header modifier".to_owned());
    }
    // A header that is both added and set, in whichever case, is added: what stands first wins, and `add` goes first.
    let mut add: Vec<HeaderValue> = Vec::with_capacity(edit.add.len() + edit.set.len());
    for (headers, append) in [(&edit.add, true), (&edit.set, false)] {
        for (name, value) in headers {
            if !add.iter().any(|header| header.name.eq_ignore_ascii_case(name)) {
                add.push(HeaderValue { name: name.clone(), value: value.clone(), append });
            }
        }
    }
    Ok(HeaderMutations { add: add.into(), remove: edit.remove.clone() })
}

fn redirect(redirect: &facts::Redirect) -> Redirect {
    Redirect {
        scheme: redirect.scheme.clone(),
        hostname: redirect.hostname.clone(),
        path: redirect.path.as_ref().map(path_rewrite),
        port: match (redirect.port, &redirect.scheme) {
            (Some(port), _) => RedirectPort::Given(port),
            (None, Some(_)) => RedirectPort::OfScheme,
            (None, None) => RedirectPort::OfListener,
        },
        status: redirect.status,
    }
}

fn path_rewrite(modifier: &PathModifier) -> PathRewrite {
    match modifier {
        PathModifier::Full(path) => PathRewrite::Full(path.clone()),
        PathModifier::Prefix(path) => PathRewrite::Prefix(path.clone()),
    }
}

/// Filters of one backend of a rule.
#[derive(Debug, Default)]
pub(super) struct BackendFilters {
    pub request_headers: HeaderMutations,
    pub response_headers: HeaderMutations,
    pub host_rewrite: Option<Arc<str>>,
}

/// Filters of a backend: header changes and the host; the rest has no meaning once a backend is chosen.
pub(super) fn of_backend(filters: &[Filter]) -> Result<BackendFilters, String> {
    let mut out = BackendFilters::default();
    for filter in filters {
        match filter {
            Filter::RequestHeaders(edit) => out.request_headers = header_mutations(edit)?,
            Filter::ResponseHeaders(edit) => out.response_headers = header_mutations(edit)?,
            Filter::UrlRewrite { path: Some(_), .. } => {
                return Err("a URLRewrite filter within backendRefs can change the hostname only".to_owned());
            }
            Filter::UrlRewrite { hostname, .. } => out.host_rewrite.clone_from(hostname),
            other => {
                return Err(format!(
                    "filters of type {} are not supported within backendRefs; possible are RequestHeaderModifier, ResponseHeaderModifier and URLRewrite",
                    other.kind()
                ));
            }
        }
    }
    Ok(out)
}
