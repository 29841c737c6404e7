//! What a route does with a request.

use envoy_api::{
    route::{
        Route, RouteAction, RouteConfiguration, VirtualHost, route,
        route_action::{ClusterNotFoundResponseCode, ClusterSpecifier, RequestMirrorPolicy},
        weighted_cluster::ClusterWeight,
    },
    types::{FractionalPercent, fractional_percent::DenominatorType},
};
use ir::{Kind, cluster::INVALID_BACKEND_CLUSTER};
use store::facts::Filter;

use crate::{
    Entrance, Explanation, Mirror, Outcome, Possible, backends,
    config::Config,
    filters, host,
    origin::{self, Origin, Origins},
    request::Request,
    response, rewrite, settings,
    sources::Sources,
    upstream::{self, Carries},
};

/// The status of refused requests that came over another listener's connection.
const MISDIRECTED: u32 = 421;

/// Follows a request through the route that has it.
pub(crate) fn of_route(
    entrance: Entrance<'_>,
    place: (&RouteConfiguration, &VirtualHost, &Route),
    (request, origins): (&Request, &Origins<'_>),
    told: &mut Explanation,
) {
    let Entrance { config, manager, .. } = entrance;
    let (.., route) = place;
    told.route = Some(origins.route(route));
    let sources = origins.sources(route);
    if let Some(sources) = &sources {
        told.settings = settings::of_route(config, route, sources);
        told.policies = origin::told(&sources.policies);
        if let Some((origin, _)) = &sources.rule {
            troubles(origins, origin, told);
        }
    }
    let answers = filters::pass(manager, place, (request, sources.as_ref()), told);
    let left = 100.0 - answers.iter().map(|(percent, _)| percent).sum::<f64>();
    if left > 0.0 {
        act((entrance, place), (request, origins, sources.as_ref()), told);
    }
    let early = answers.into_iter().map(|(percent, outcome)| Possible { percent, outcome });
    let later = std::mem::take(&mut told.outcomes).into_iter();
    let later = later.map(|possible| Possible { percent: possible.percent * left / 100.0, ..possible });
    told.outcomes = early.chain(later).collect();
    response::replace(manager, route, sources.as_ref(), told);
}

/// Does what the route says.
fn act(
    (entrance, place): (Entrance<'_>, (&RouteConfiguration, &VirtualHost, &Route)),
    (request, origins, sources): (&Request, &Origins<'_>, Option<&Sources<'_>>),
    told: &mut Explanation,
) {
    let (_, host, route) = place;
    match &route.action {
        Some(route::Action::DirectResponse(answer)) => {
            let why = direct(answer.status, host, told);
            if answer.status == 503 && origins.pipeline.store().of_kind(Kind::EndpointSlice).next().is_none()
            {
                let note = "there is no EndpointSlice among the objects; a cluster makes them, files seldom have them";
                told.notes.push(note.to_owned());
            }
            told.conclude(Outcome::answer(u16::try_from(answer.status).unwrap_or(500), why));
        }
        Some(route::Action::Redirect(redirect)) => {
            told.conclude(rewrite::redirected(request, route.r#match.as_ref(), redirect));
        }
        Some(route::Action::Route(action)) => {
            forward(entrance.config, (place, action), (request, sources), told);
        }
        Some(_) | None => told.conclude(Outcome::closed("the route has no action that is known here")),
    }
}

/// Why a rule answers by itself.
fn direct(status: u32, host: &VirtualHost, told: &Explanation) -> &'static str {
    match status {
        MISDIRECTED if host::guards(&host.name) => {
            "the host belongs to another listener of the port, which asks clients for certificates: the client shall \
             use a connection of its own; where it has, that listener is not served, and its hosts are nobody else's"
        }
        MISDIRECTED => {
            "the host belongs to another listener of the port, and the connection was made for this one: the client \
             shall use a connection of its own"
        }
        500 if told.policies.iter().any(|policy| !policy.invalid.is_empty()) => {
            "a policy of the rule cannot be applied, and the rule must not be open without it"
        }
        500 => "the rule has no backend that can be used",
        503 => "the rule's backends have no endpoints",
        _ => "the rule answers by itself",
    }
}

/// What is wrong with the rule, or with its object as a whole.
fn troubles(origins: &Origins<'_>, origin: &Origin, told: &mut Explanation) {
    let Some(object) = origin::object(&origin.named) else { return };
    let problems = origins.pipeline.status(&object).map(|status| status.problems.clone()).unwrap_or_default();
    let own = origin.rule_field();
    let concerns = |field: &str| {
        !field.starts_with("spec.rules[")
            || field.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    problems.iter().filter(|problem| concerns(&problem.field)).for_each(|problem| told.trouble(problem));
}

/// Sends a request on, by chance where clusters have weights.
fn forward(
    config: &Config<'_>,
    (place, action): ((&RouteConfiguration, &VirtualHost, &Route), &RouteAction),
    (request, sources): (&Request, Option<&Sources<'_>>),
    told: &mut Explanation,
) {
    let missing = match ClusterNotFoundResponseCode::try_from(action.cluster_not_found_response_code) {
        Ok(ClusterNotFoundResponseCode::NotFound) => 404,
        Ok(ClusterNotFoundResponseCode::InternalServerError) => 500,
        Ok(ClusterNotFoundResponseCode::ServiceUnavailable) | Err(_) => 503,
    };
    let mut possible = |name: &str, percent: f64, weighted: Option<&ClusterWeight>| {
        let sent = rewrite::forwarded(request, place, action, weighted);
        let outcome = match backends::upstream(config, name, percent) {
            Ok(mut to) => {
                if let Some(sources) = sources {
                    upstream::complete(config, sources, Carries::Requests, &mut to);
                }
                Outcome::Forwarded {
                    request: format!("{} {} at {}", sent.method, sent.path, sent.authority),
                    headers: shown(&sent),
                    to: Box::new(to),
                }
            }
            Err(_) if name == INVALID_BACKEND_CLUSTER => {
                Outcome::answer(missing, "the share of backends that cannot be used")
            }
            Err(why) if config.cluster(name).is_none() => Outcome::answer(missing, why),
            Err(why) => Outcome::answer(503, why),
        };
        told.outcomes.push(Possible { percent, outcome });
    };
    match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => possible(name, 100.0, None),
        Some(ClusterSpecifier::WeightedClusters(targets)) => {
            let weight = |target: &ClusterWeight| f64::from(target.weight.map_or(0, |weight| weight.value));
            let total: f64 = targets.clusters.iter().map(weight).sum();
            for target in targets.clusters.iter().filter(|target| weight(target) > 0.0) {
                possible(&target.name, weight(target) / total * 100.0, Some(target));
            }
        }
        Some(_) | None => told.conclude(Outcome::closed("an extension of Envoy chooses the cluster")),
    }
    if let Some(sources) = sources {
        mirrored(config, action, sources, told);
    }
}

/// Tells where copies of the request go, and which mirrors of the rule get none.
fn mirrored(config: &Config<'_>, action: &RouteAction, sources: &Sources<'_>, told: &mut Explanation) {
    for mirror in &action.request_mirror_policies {
        let (object, field) = settings::mirror_source(&mirror.cluster, sources);
        match backends::upstream(config, &mirror.cluster, mirror_percent(mirror)) {
            Ok(mut to) => {
                upstream::complete(config, sources, Carries::Copies, &mut to);
                told.mirrors.push(Mirror { to, object, field });
            }
            Err(why) => told.notes.push(format!("copies by {object} {field} go nowhere: {why}")),
        }
    }
    let filters = sources.fact().map_or(&[][..], |rule| &rule.filters);
    for (index, filter) in filters.iter().enumerate() {
        let Filter::Mirror { fraction, .. } = filter else { continue };
        let (object, field) = sources.of_rule(&format!("filters[{index}]"));
        let served = action.request_mirror_policies.iter();
        if served.map(|mirror| settings::mirror_source(&mirror.cluster, sources)).any(|(_, own)| own == field)
        {
            continue;
        }
        let problem = told.troubles.iter().find(|trouble| trouble.field.starts_with(&field));
        let why = match (fraction, problem) {
            (Some((0, _)), _) => "their share is 0",
            (_, Some(problem)) => &problem.message,
            (_, None) => "their backend cannot be used",
        };
        let note = format!("no copies are made by {object} {field}: {why}");
        told.notes.push(note);
    }
}

pub(crate) fn mirror_percent(mirror: &RequestMirrorPolicy) -> f64 {
    let share = mirror.runtime_fraction.as_ref().and_then(|fraction| fraction.default_value.as_ref());
    share.map_or(100.0, percent)
}

/// A share in percent.
pub(crate) fn percent(share: &FractionalPercent) -> f64 {
    let whole = match DenominatorType::try_from(share.denominator) {
        Ok(DenominatorType::TenThousand) => 10_000.0,
        Ok(DenominatorType::Million) => 1_000_000.0,
        Ok(DenominatorType::Hundred) | Err(_) => 100.0,
    };
    (f64::from(share.numerator) / whole * 100.0).min(100.0)
}

/// Headers in lines, credentials hidden.
fn shown(request: &Request) -> Vec<String> {
    let lines = request.headers.iter().map(|(name, value)| {
        let value = if ir::secret::is_credential_header(name) { ir::secret::REDACTED } else { value };
        format!("{name}: {value}")
    });
    lines.collect()
}
