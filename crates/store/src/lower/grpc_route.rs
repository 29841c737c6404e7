//! GRPCRoute.

use std::sync::Arc;

use ir::{
    Kind,
    route::{PathMatch, RouteMatch},
};

use super::{
    Lowering,
    http_route::{every_request, extension, header_edit, header_matches, matches, session},
    text,
};
use crate::facts::{BackendRef, Filter, GrpcRoute, Rule, Timeouts};

/// What a service may be called, as a regular expression: names joined by dots.
const ANY_SERVICE: &str = r"\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*";
/// What a method may be called, as a regular expression.
const ANY_METHOD: &str = "[A-Za-z_][A-Za-z_0-9]*";

impl Lowering<'_> {
    pub(super) fn grpc_route(&mut self, route: &api::GrpcRoute) -> GrpcRoute {
        GrpcRoute {
            meta: self.meta(Kind::GrpcRoute, &route.metadata),
            parents: route.spec.parent_refs.iter().map(|parent| self.parent_ref(parent)).collect(),
            hostnames: route.spec.hostnames.iter().map(|h| self.name(h)).collect(),
            rules: route.spec.rules.iter().map(|rule| self.grpc_rule(rule)).collect(),
        }
    }

    fn grpc_rule(&mut self, rule: &api::GrpcRouteRule) -> Rule {
        Rule {
            name: rule.name.as_deref().map(text),
            matches: matches(rule.matches.iter().map(grpc_match)),
            filters: self.grpc_filters(&rule.filters),
            backends: (rule.backend_refs.iter())
                .map(|backend| BackendRef {
                    backend: self.backend_target(&backend.reference),
                    weight: u32::try_from(backend.weight).unwrap_or(1),
                    filters: self.grpc_filters(&backend.filters),
                })
                .collect(),
            timeouts: Timeouts::default(),
            retry: None,
            session: rule.session_persistence.as_ref().map(session),
        }
    }

    fn grpc_filters(&mut self, filters: &[api::GrpcRouteFilter]) -> Box<[Filter]> {
        // The schema sees to it that exactly the member named by `type` is there.
        let filter = |filter: &api::GrpcRouteFilter| {
            if let Some(edit) = &filter.request_header_modifier {
                Some(Filter::RequestHeaders(header_edit(edit)))
            } else if let Some(edit) = &filter.response_header_modifier {
                Some(Filter::ResponseHeaders(header_edit(edit)))
            } else if let Some(mirror) = &filter.request_mirror {
                Some(self.mirror(mirror))
            } else {
                filter.extension_ref.as_ref().map(extension)
            }
        };
        filters.iter().filter_map(filter).collect()
    }
}

fn grpc_match(matched: &api::GrpcRouteMatch) -> RouteMatch {
    RouteMatch {
        path: matched.method.as_ref().map_or_else(|| every_request().path, path),
        headers: header_matches(matched.headers.iter().map(|h| (&*h.name, &*h.value, h.type_))),
        ..every_request()
    }
}

/// The path of a call is `/service/method`; an empty part is one that is left open.
fn path(method: &api::GrpcMethodMatch) -> PathMatch {
    let set = |part: &Option<String>| part.clone().filter(|part| !part.is_empty());
    let regex = method.type_ == api::GrpcMethodMatchType::RegularExpression;
    match (regex, set(&method.service), set(&method.method)) {
        (_, None, None) => every_request().path,
        (false, Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}").into()),
        (false, Some(service), None) => PathMatch::Prefix(format!("/{service}").into()),
        (false, None, Some(method)) => PathMatch::Suffix(format!("/{method}").into()),
        (true, service, method) => {
            let part = |part: Option<String>, any: &str| part.map_or_else(|| any.to_owned(), apart);
            let (service, method) = (part(service, ANY_SERVICE), part(method, ANY_METHOD));
            PathMatch::Regex(Arc::from(format!("/{service}/{method}")))
        }
    }
}

/// An expression that stays itself beside others: alternatives would otherwise take the other part with them. It is
/// left as it is where that cannot be, because the expression shows in xDS.
fn apart(expression: String) -> String {
    if expression.contains('|') { format!("(?:{expression})") } else { expression }
}
