//! Redirects.

use envoy_api::route::{
    RedirectAction,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
};
use ir::route::{PathMatch, Redirect, RedirectPort};

use super::rewrite::{Rewrite, rewrite};

/// What a redirect needs to know of the listener that it is on.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    /// Port of the Gateway's listener.
    pub(super) port: u16,
    /// True when the listener terminates TLS, which makes its scheme `https`.
    pub(super) tls: bool,
}

pub(super) fn redirect(redirect: &Redirect, matched: &PathMatch, origin: Origin) -> RedirectAction {
    RedirectAction {
        host_redirect: redirect.hostname.as_deref().unwrap_or_default().to_owned(),
        port_redirect: u32::from(port(redirect, origin)),
        response_code: response_code(redirect.status).into(),
        scheme_rewrite_specifier: redirect
            .scheme
            .as_deref()
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier: redirect.path.as_ref().map(|path| match rewrite(path, matched) {
            Rewrite::Full(path) => PathRewriteSpecifier::PathRedirect(path.to_string()),
            Rewrite::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix),
            Rewrite::Regex(regex) => PathRewriteSpecifier::RegexRewrite(regex),
        }),
        ..Default::default()
    }
}

/// The port of the `Location`; zero to leave it out, as for the scheme's own port (Gateway API,
/// `HTTPRequestRedirectFilter.port`).
///
/// Envoy takes what is left out from the request, so the scheme's own port is written all the same where requests name
/// another one: on a listener with an odd port, unless the redirect replaces the host as a whole.
fn port(redirect: &Redirect, origin: Origin) -> u16 {
    let from = if origin.tls { "https" } else { "http" };
    let to = redirect.scheme.as_deref().unwrap_or(from);
    let port = match redirect.port {
        RedirectPort::Given(port) => port,
        RedirectPort::OfScheme => well_known(to),
        RedirectPort::OfListener => origin.port,
    };
    let named_by_requests = redirect.hostname.is_none() && origin.port != well_known(from);
    if port == well_known(to) && !named_by_requests { 0 } else { port }
}

/// The port of URLs of a scheme that name none.
fn well_known(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

fn response_code(status: u16) -> RedirectResponseCode {
    match status {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    }
}
