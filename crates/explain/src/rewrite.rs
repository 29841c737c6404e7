//! A request as it goes on to a backend, and the place that a redirect leads to.

use envoy_api::{
    core::HeaderValueOption,
    matcher::RegexMatchAndSubstitute,
    route::{
        RedirectAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
        redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
        route_action::HostRewriteSpecifier,
        route_match::PathSpecifier,
        weighted_cluster::{ClusterWeight, cluster_weight},
    },
};
use regex::Regex;

use crate::{
    Outcome,
    request::{Request, split_port},
};

/// The request that a backend sees: headers of cluster, route, virtual host and table, in this order, then host and path.
pub(crate) fn forwarded(
    request: &Request,
    (table, host, route): (&RouteConfiguration, &VirtualHost, &Route),
    action: &RouteAction,
    weighted: Option<&ClusterWeight>,
) -> Request {
    let mut request = request.clone();
    if let Some(cluster) = weighted {
        change(&mut request, &cluster.request_headers_to_add, &cluster.request_headers_to_remove);
    }
    change(&mut request, &route.request_headers_to_add, &route.request_headers_to_remove);
    change(&mut request, &host.request_headers_to_add, &host.request_headers_to_remove);
    change(&mut request, &table.request_headers_to_add, &table.request_headers_to_remove);
    // Envoy's own, which it adds to every request.
    request.remove("x-forwarded-proto");
    let of_cluster = weighted.and_then(|cluster| cluster.host_rewrite_specifier.as_ref());
    let literal = match (of_cluster, &action.host_rewrite_specifier) {
        (Some(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host)), _) => Some(host.clone()),
        (None, Some(HostRewriteSpecifier::HostRewriteLiteral(host))) => Some(host.clone()),
        (None, Some(HostRewriteSpecifier::HostRewriteHeader(name))) => {
            request.header(&name.to_ascii_lowercase())
        }
        (None, _) => None,
    };
    if let Some(host) = literal {
        if action.append_x_forwarded_host {
            request.headers.push(("x-forwarded-host".to_owned(), request.authority.clone()));
        }
        request.authority = host;
    }
    let prefix = (!action.prefix_rewrite.is_empty()).then_some(&*action.prefix_rewrite);
    request.path = rewritten(&request.path, route.r#match.as_ref(), prefix, action.regex_rewrite.as_ref());
    request
}

fn change(request: &mut Request, add: &[HeaderValueOption], remove: &[String]) {
    remove.iter().for_each(|name| request.remove(name));
    for option in add {
        let value = option.header.as_ref().map(|header| header.value.replace("%%", "%")).unwrap_or_default();
        request.change(option, value);
    }
}

/// A path with its query after a rewrite.
fn rewritten(
    path: &str,
    matched: Option<&RouteMatch>,
    prefix: Option<&str>,
    regex: Option<&RegexMatchAndSubstitute>,
) -> String {
    let (bare, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let bare = match (prefix, regex) {
        (Some(replacement), _) => {
            let length = match matched.and_then(|matched| matched.path_specifier.as_ref()) {
                Some(PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix)) => {
                    prefix.len()
                }
                _ => bare.len(),
            };
            format!("{replacement}{}", bare.get(length..).unwrap_or_default())
        }
        (None, Some(regex)) => substituted(bare, regex),
        (None, None) => bare.to_owned(),
    };
    bare + query
}

fn substituted(path: &str, rewrite: &RegexMatchAndSubstitute) -> String {
    let Some(pattern) = rewrite.pattern.as_ref().and_then(|pattern| Regex::new(&pattern.regex).ok()) else {
        return path.to_owned();
    };
    // `\1` names a group and `\\` is a backslash (RE2); here `${1}` names a group and `$$` is a dollar.
    let mut replacement = String::new();
    let mut characters = rewrite.substitution.chars();
    while let Some(character) = characters.next() {
        match character {
            '$' => replacement.push_str("$$"),
            '\\' => match characters.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    replacement.push_str("${");
                    replacement.push(digit);
                    replacement.push('}');
                }
                Some(other) => replacement.push(other),
                None => {}
            },
            other => replacement.push(other),
        }
    }
    pattern.replace_all(path, replacement).into_owned()
}

/// The answer of a redirect.
pub(crate) fn redirected(
    request: &Request,
    matched: Option<&RouteMatch>,
    action: &RedirectAction,
) -> Outcome {
    let scheme = match &action.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => scheme.clone(),
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => "https".to_owned(),
        _ => request.scheme.to_owned(),
    };
    let port = if action.port_redirect == 0 { String::new() } else { format!(":{}", action.port_redirect) };
    let host = if action.host_redirect.is_empty() {
        own_host(request, &scheme, !port.is_empty())
    } else {
        action.host_redirect.clone()
    };
    let (bare, query) = request.path.split_at(request.path.find('?').unwrap_or(request.path.len()));
    let kept = if action.strip_query { bare } else { &request.path };
    let path = match &action.path_rewrite_specifier {
        // A query of its own replaces that of the request.
        Some(PathRewriteSpecifier::PathRedirect(path)) if path.contains('?') || action.strip_query => {
            path.clone()
        }
        Some(PathRewriteSpecifier::PathRedirect(path)) => format!("{path}{query}"),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => rewritten(kept, matched, Some(prefix), None),
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => rewritten(kept, matched, None, Some(regex)),
        _ => kept.to_owned(),
    };
    let (status, why) = (redirect_status(action), "the rule redirects".to_owned());
    Outcome::Redirected { status, location: format!("{scheme}://{host}{port}{path}"), why }
}

/// The request's own host; without its port where the redirect has one, or where it is the port of a scheme that is left.
fn own_host(request: &Request, scheme: &str, has_port: bool) -> String {
    let Some((host, port)) = split_port(&request.authority) else { return request.authority.clone() };
    let left = scheme != request.scheme
        && ((request.scheme == "https" && port == "443") || (request.scheme == "http" && port == "80"));
    if has_port || left { host.to_owned() } else { request.authority.clone() }
}

fn redirect_status(action: &RedirectAction) -> u16 {
    match RedirectResponseCode::try_from(action.response_code).unwrap_or_default() {
        RedirectResponseCode::MovedPermanently => 301,
        RedirectResponseCode::Found => 302,
        RedirectResponseCode::SeeOther => 303,
        RedirectResponseCode::TemporaryRedirect => 307,
        RedirectResponseCode::PermanentRedirect => 308,
    }
}

/// What a redirect changes, whatever the request is.
pub(crate) fn redirect_in_words(action: &RedirectAction) -> String {
    let mut parts = vec![format!("redirected with {}", redirect_status(action))];
    match &action.scheme_rewrite_specifier {
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => parts.push(format!("scheme {scheme}")),
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => parts.push("scheme https".to_owned()),
        _ => {}
    }
    if !action.host_redirect.is_empty() {
        parts.push(format!("host {}", action.host_redirect));
    }
    if action.port_redirect != 0 {
        parts.push(format!("port {}", action.port_redirect));
    }
    match &action.path_rewrite_specifier {
        Some(PathRewriteSpecifier::PathRedirect(path)) => parts.push(format!("path {path}")),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => parts.push(format!("prefix {prefix}")),
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => parts.push(format!("path {}", regex.substitution)),
        _ => {}
    }
    parts.join(", ")
}
