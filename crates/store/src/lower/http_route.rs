//! HTTPRoute.

use std::{sync::Arc, time::Duration};

use ir::{
    Kind,
    route::{Cors, PathMatch, Retry, RouteMatch, SessionCarrier, StringMatch, ValueMatch},
    status::ParentReference,
};

use super::{Lowering, gateway::parent_kind, port, text};
use crate::facts::{
    BackendRef, BackendTarget, Filter, HeaderEdit, HttpRoute, ParentRef, PathModifier, Redirect, Rule,
    SessionPersistence, Timeouts,
};

impl Lowering<'_> {
    pub(super) fn http_route(&mut self, route: &api::HttpRoute) -> HttpRoute {
        HttpRoute {
            meta: self.meta(Kind::HttpRoute, &route.metadata),
            parents: route.spec.parent_refs.iter().map(|parent| self.parent_ref(parent)).collect(),
            hostnames: route.spec.hostnames.iter().map(|h| self.name(h)).collect(),
            rules: route.spec.rules.iter().map(|rule| self.rule(rule)).collect(),
        }
    }

    pub(super) fn parent_ref(&mut self, parent: &api::ParentReference) -> ParentRef {
        let namespace = parent.namespace.as_deref();
        let own = self.namespace.clone();
        ParentRef {
            reference: ParentReference {
                group: text(&parent.group),
                kind: text(&parent.kind),
                namespace: namespace.map(text),
                name: text(&parent.name),
                section_name: parent.section_name.as_deref().map(text),
                port: parent.port.and_then(port),
            },
            target: parent_kind(&parent.group, &parent.kind)
                .map(|kind| self.object(kind, namespace.unwrap_or(&own), &parent.name)),
        }
    }

    fn rule(&mut self, rule: &api::HttpRouteRule) -> Rule {
        Rule {
            name: rule.name.as_deref().map(text),
            matches: matches(rule.matches.iter().map(http_match)),
            filters: rule.filters.iter().map(|filter| self.filter(filter)).collect(),
            backends: (rule.backend_refs.iter())
                .map(|b| self.backend_ref(&b.backend_ref, &b.filters))
                .collect(),
            timeouts: rule.timeouts.as_ref().map_or_else(Timeouts::default, |t| Timeouts {
                request: t.request.as_deref().and_then(duration),
                backend_request: t.backend_request.as_deref().and_then(duration),
            }),
            retry: rule.retry.as_ref().map(|r| Retry {
                attempts: r.attempts.and_then(|a| u32::try_from(a).ok()),
                codes: (!r.codes.is_empty())
                    .then(|| r.codes.iter().filter_map(|c| u16::try_from(*c).ok()).collect()),
                backoff: r.backoff.as_deref().and_then(duration),
                per_try_timeout: None,
            }),
            session: rule.session_persistence.as_ref().map(session),
        }
    }

    pub(super) fn backend_ref(
        &mut self,
        backend: &api::BackendRef,
        filters: &[api::HttpRouteFilter],
    ) -> BackendRef {
        BackendRef {
            backend: self.backend_target(&backend.reference),
            weight: u32::try_from(backend.weight).unwrap_or(1),
            filters: filters.iter().map(|filter| self.filter(filter)).collect(),
        }
    }

    pub(super) fn backend_target(&mut self, reference: &api::BackendObjectReference) -> BackendTarget {
        let kind = [Kind::Service, Kind::ServiceImport, Kind::Backend]
            .into_iter()
            .find(|kind| kind.group() == &*reference.group && kind.name() == &*reference.kind);
        let namespace = reference.namespace.as_deref();
        BackendTarget {
            group: text(&reference.group),
            kind: text(&reference.kind),
            namespace: namespace.map(text),
            name: text(&reference.name),
            port: reference.port.and_then(port),
            target: kind.map(|kind| self.target(kind, namespace, &reference.name)),
        }
    }

    fn filter(&mut self, filter: &api::HttpRouteFilter) -> Filter {
        // The schema sees to it that exactly the member named by `type` is there. The order below is that of `type`.
        if let Some(edit) = &filter.request_header_modifier {
            Filter::RequestHeaders(header_edit(edit))
        } else if let Some(edit) = &filter.response_header_modifier {
            Filter::ResponseHeaders(header_edit(edit))
        } else if let Some(mirror) = &filter.request_mirror {
            self.mirror(mirror)
        } else if let Some(redirect) = &filter.request_redirect {
            Filter::Redirect(Redirect {
                scheme: redirect.scheme.map(|scheme| match scheme {
                    api::RedirectScheme::Http => "http".into(),
                    api::RedirectScheme::Https => "https".into(),
                }),
                hostname: redirect.hostname.as_deref().map(text),
                path: redirect.path.as_ref().and_then(path_modifier),
                port: redirect.port.and_then(port),
                status: u16::try_from(redirect.status_code).unwrap_or(302),
            })
        } else if let Some(rewrite) = &filter.url_rewrite {
            Filter::UrlRewrite {
                hostname: rewrite.hostname.as_deref().map(text),
                path: rewrite.path.as_ref().and_then(path_modifier),
            }
        } else if let Some(cors) = &filter.cors {
            Filter::Cors(cors_policy(cors))
        } else if let Some(extension) = &filter.extension_ref {
            self::extension(extension)
        } else {
            Filter::ExternalAuth
        }
    }

    pub(super) fn mirror(&mut self, mirror: &api::HttpRequestMirrorFilter) -> Filter {
        let fraction = match (&mirror.fraction, mirror.percent) {
            (Some(f), _) => Some((unsigned(f.numerator), unsigned(f.denominator))),
            (None, Some(percent)) => Some((unsigned(percent), 100)),
            (None, None) => None,
        };
        Filter::Mirror { backend: self.backend_target(&mirror.backend_ref), fraction }
    }
}

pub(super) fn extension(extension: &api::LocalObjectReference) -> Filter {
    Filter::Extension {
        group: text(&extension.group),
        kind: text(&extension.kind),
        name: text(&extension.name),
    }
}

/// Matches with their positions; none means every request.
pub(super) fn matches(matches: impl Iterator<Item = RouteMatch>) -> Arc<[RouteMatch]> {
    let matches: Arc<[RouteMatch]> =
        (0i32..).zip(matches).map(|(index, matched)| RouteMatch { index, ..matched }).collect();
    if matches.is_empty() { [every_request()].into() } else { matches }
}

/// The match that takes every request, as a rule without matches has it.
pub(super) fn every_request() -> RouteMatch {
    RouteMatch {
        index: -1,
        path: PathMatch::Prefix("/".into()),
        method: None,
        headers: [].into(),
        query: [].into(),
        cookies: [].into(),
    }
}

fn http_match(m: &api::HttpRouteMatch) -> RouteMatch {
    RouteMatch {
        path: match m.path.type_ {
            api::PathMatchType::Exact => PathMatch::Exact(text(&m.path.value)),
            api::PathMatchType::PathPrefix => PathMatch::Prefix(text(&m.path.value)),
            api::PathMatchType::RegularExpression => PathMatch::Regex(text(&m.path.value)),
        },
        method: m.method.map(|method| method.as_str().into()),
        headers: header_matches(m.headers.iter().map(|h| (&*h.name, &*h.value, h.type_))),
        query: (m.query_params.iter())
            .map(|q| value_match(&q.name, &q.value, q.type_ == api::QueryParamMatchType::RegularExpression))
            .collect(),
        ..every_request()
    }
}

/// Header matches; of several with one name, whatever its case, the first counts (Gateway API, HTTPHeaderMatch.name).
pub(super) fn header_matches<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str, api::HeaderMatchType)>,
) -> Box<[ValueMatch]> {
    let mut matches: Vec<ValueMatch> = Vec::new();
    for (name, value, kind) in headers {
        if !matches.iter().any(|known| known.name.eq_ignore_ascii_case(name)) {
            matches.push(value_match(name, value, kind == api::HeaderMatchType::RegularExpression));
        }
    }
    matches.into()
}

fn value_match(name: &str, value: &str, regex: bool) -> ValueMatch {
    let value = if regex { StringMatch::Regex(text(value)) } else { StringMatch::Exact(text(value)) };
    ValueMatch { name: text(name), value }
}

pub(super) fn header_edit(edit: &api::HttpHeaderFilter) -> HeaderEdit {
    let pairs =
        |headers: &[api::HttpHeader]| headers.iter().map(|h| (text(&h.name), text(&h.value))).collect();
    HeaderEdit {
        set: pairs(&edit.set),
        add: pairs(&edit.add),
        remove: edit.remove.iter().map(|h| text(h)).collect(),
    }
}

fn path_modifier(modifier: &api::HttpPathModifier) -> Option<PathModifier> {
    match modifier.type_ {
        api::HttpPathModifierType::ReplaceFullPath => {
            modifier.replace_full_path.as_deref().map(text).map(PathModifier::Full)
        }
        api::HttpPathModifierType::ReplacePrefixMatch => {
            modifier.replace_prefix_match.as_deref().map(text).map(PathModifier::Prefix)
        }
    }
}

fn cors_policy(cors: &api::HttpCorsFilter) -> Cors {
    Cors {
        allow_origins: cors.allow_origins.iter().map(|o| text(o)).collect(),
        allow_methods: cors.allow_methods.iter().map(|m| text(m.as_str())).collect(),
        allow_headers: cors.allow_headers.iter().map(|h| text(h)).collect(),
        expose_headers: cors.expose_headers.iter().map(|h| text(h)).collect(),
        max_age: u32::try_from(cors.max_age).ok(),
        allow_credentials: cors.allow_credentials.unwrap_or(false),
    }
}

pub(super) fn session(session: &api::SessionPersistence) -> SessionPersistence {
    let permanent =
        session.cookie_config.as_ref().is_some_and(|c| c.lifetime_type == api::CookieLifetimeType::Permanent);
    let ttl = session.absolute_timeout.as_deref().and_then(duration).filter(|_| permanent);
    SessionPersistence {
        name: session.session_name.as_deref().filter(|n| !n.is_empty()).map(text),
        carrier: match session.type_ {
            api::SessionPersistenceType::Cookie => SessionCarrier::Cookie { ttl },
            api::SessionPersistenceType::Header => SessionCarrier::Header,
        },
    }
}

fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// A Gateway API duration (GEP-2257): up to four numbers with units h, m, s, ms, such as `1m30s`. `None` when it is
/// not one.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let millis = match &rest[..unit] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = &rest[unit..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_gep_2257_has_them() {
        let millis = |text| duration(text).map(|d| d.as_millis());
        assert_eq!(millis("1m30s"), Some(90_000));
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("1h0m2s3ms"), Some(3_602_003));
        assert_eq!(millis("0s"), Some(0));
        for bad in ["", "5", "s", "1.5s", "5d", "-1s", "1s ", "99999999999999999999h"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }
}
