//! Forwarding to backends.

use std::{sync::LazyLock, time::Duration};

use envoy_api::{
    any,
    core::RuntimeFractionalPercent,
    duration,
    previous_hosts::PreviousHostsPredicate,
    previous_priorities::PreviousPrioritiesConfig,
    route::{
        RetryPolicy, RouteAction, WeightedCluster as WeightedMessage,
        retry_policy::{
            RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority,
        },
        route_action::{
            ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration,
            RequestMirrorPolicy, UpgradeConfig, upgrade_config::ConnectConfig,
        },
        weighted_cluster::{ClusterWeight, RandomValueSpecifier, cluster_weight},
    },
    types::{FractionalPercent, fractional_percent::DenominatorType},
    well_known::{boolean, uint32},
};
use ir::{
    cluster::INVALID_BACKEND_CLUSTER,
    route::{Forward, Mirror, PathMatch, Retry, Target, WeightedCluster},
    traffic::{CONNECT, RetryPolicy as Policy, RouteTraffic, Upgrade},
};

use super::{
    hash, headers,
    rewrite::{self, Rewrite},
    wire::Fields,
};

/// `envoy.config.route.v3.RouteAction.retry_policy`.
const RETRY_POLICY: u32 = 9;

/// HTTP connections that are idle for an hour are closed; streams with a time limit get at least as long.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
/// Attempts after the first when the route has no number.
const DEFAULT_RETRIES: u32 = 2;
/// Status that is tried again when the route has no codes.
const DEFAULT_RETRIED_STATUS: u32 = 503;
/// How often a retry looks for an endpoint that was not tried yet.
const HOST_SELECTION_ATTEMPTS: i64 = 5;

/// Adds the fields of a `RouteAction`.
pub(super) fn action(
    fields: &mut Fields,
    forward: &Forward,
    traffic: Option<&RouteTraffic>,
    matched: &PathMatch,
) {
    let mut action = to_target(&forward.target);
    match forward.path_rewrite.as_ref().map(|path| rewrite::rewrite(path, matched)) {
        None => {}
        Some(Rewrite::Full(path)) => action.regex_rewrite = Some(rewrite::whole_path(&path)),
        Some(Rewrite::Prefix(prefix)) => action.prefix_rewrite = prefix,
        Some(Rewrite::Regex(regex)) => action.regex_rewrite = Some(regex),
    }
    if let Some(host) = &forward.host_rewrite {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(host.to_string()));
        action.append_x_forwarded_host = true;
    }
    let timeout = forward.timeout.or(traffic.and_then(|traffic| traffic.request_timeout));
    action.timeout = timeout.map(duration);
    let idle_timeout = traffic.and_then(|traffic| traffic.stream_idle_timeout);
    let of_listener = traffic.is_some_and(|traffic| traffic.idle_of_listener);
    action.idle_timeout = idle_timeout.or(timeout.filter(|_| !of_listener).map(idle_of)).map(duration);
    action.max_stream_duration = traffic
        .and_then(|traffic| traffic.max_stream_duration)
        .map(|span| MaxStreamDuration { max_stream_duration: Some(duration(span)), ..Default::default() });
    action.request_mirror_policies = forward.mirrors.iter().filter_map(mirror).collect();
    if let Some(key) = traffic.and_then(|traffic| traffic.hash.as_ref()) {
        action.hash_policy = hash::policies(key);
        if let Some(ClusterSpecifier::WeightedClusters(clusters)) = &mut action.cluster_specifier {
            // A client that the hash keeps on an endpoint has to stay with the backend, too.
            clusters.random_value_specifier = boolean(true).map(RandomValueSpecifier::UseHashPolicy);
        }
    }
    fields.message(&action);
    let of_policy = || traffic.and_then(|traffic| traffic.retry.clone());
    if let Some(policy) = forward.retry.as_ref().map(of_route).or_else(of_policy) {
        fields.nested(RETRY_POLICY, |message| retry(message, &policy));
    }
    match traffic.and_then(|traffic| traffic.upgrades.as_deref()) {
        // gRPC has no upgrades, whatever a policy for other routes, too, says.
        Some(upgrades) if forward.websocket => fields.message(&RouteAction {
            upgrade_configs: upgrades.iter().map(upgrade).collect(),
            ..Default::default()
        }),
        _ => websocket(fields, forward),
    }
}

fn upgrade(upgrade: &Upgrade) -> UpgradeConfig {
    UpgradeConfig {
        upgrade_type: upgrade.protocol.to_string(),
        connect_config: (upgrade.terminates && &*upgrade.protocol == CONNECT).then(ConnectConfig::default),
        ..Default::default()
    }
}

/// Adds the fields of a `RouteAction` to the rule's clusters that changes nothing on the way: for the preflight
/// requests of a rule with CORS, which the CORS filter answers before they are forwarded.
pub(super) fn preflight_action(fields: &mut Fields, forward: &Forward) {
    fields.message(&to_target(&forward.target));
    websocket(fields, forward);
}

/// Adds the fields of a `RouteAction` to a cluster that is not there.
pub(super) fn nowhere(fields: &mut Fields) {
    fields.message(&RouteAction {
        cluster_not_found_response_code: ClusterNotFoundResponseCode::InternalServerError.into(),
        cluster_specifier: Some(ClusterSpecifier::Cluster(INVALID_BACKEND_CLUSTER.to_owned())),
        ..Default::default()
    });
}

fn websocket(fields: &mut Fields, forward: &Forward) {
    if forward.websocket {
        fields.raw(&WEBSOCKET);
    }
}

fn to_target(target: &Target) -> RouteAction {
    match target {
        Target::Cluster(name) => RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(name.to_string())),
            ..Default::default()
        },
        Target::Weighted { clusters, missing_status } => {
            let clusters = clusters.iter().map(weighted).collect();
            let missing = match missing_status {
                Some(503) => ClusterNotFoundResponseCode::ServiceUnavailable,
                // 500 is Gateway API's answer for an invalid backend.
                None | Some(_) => ClusterNotFoundResponseCode::InternalServerError,
            };
            RouteAction {
                cluster_not_found_response_code: missing.into(),
                cluster_specifier: Some(ClusterSpecifier::WeightedClusters(WeightedMessage {
                    clusters,
                    ..Default::default()
                })),
                ..Default::default()
            }
        }
    }
}

fn weighted(cluster: &WeightedCluster) -> ClusterWeight {
    ClusterWeight {
        name: cluster.name.to_string(),
        weight: uint32(cluster.weight),
        request_headers_to_add: headers::to_add(&cluster.request_headers),
        request_headers_to_remove: headers::to_remove(&cluster.request_headers),
        response_headers_to_add: headers::to_add(&cluster.response_headers),
        response_headers_to_remove: headers::to_remove(&cluster.response_headers),
        host_rewrite_specifier: cluster
            .host_rewrite
            .as_deref()
            .map(|host| cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host.to_owned())),
        ..Default::default()
    }
}

/// The share of requests that a mirror gets, in Envoy's terms; `None` when it gets none.
pub(super) fn mirrored_share(mirror: &Mirror) -> Option<FractionalPercent> {
    let Some(numerator) = mirror.numerator else {
        return Some(FractionalPercent { numerator: 100, denominator: DenominatorType::Hundred.into() });
    };
    // Envoy knows three denominators only, of which the largest is a million. The product of two 32-bit numbers fits.
    let millionths = u64::from(numerator) * 1_000_000 / u64::from(mirror.denominator.max(1));
    let numerator = millionths.min(1_000_000) as u32;
    (numerator > 0).then(|| FractionalPercent { numerator, denominator: DenominatorType::Million.into() })
}

fn mirror(mirror: &Mirror) -> Option<RequestMirrorPolicy> {
    Some(RequestMirrorPolicy {
        cluster: mirror.cluster.to_string(),
        runtime_fraction: Some(RuntimeFractionalPercent {
            default_value: Some(mirrored_share(mirror)?),
            ..Default::default()
        }),
        // The backend sees the host of the original; the cluster tells the copies apart in statistics.
        disable_shadow_host_suffix_append: true,
        ..Default::default()
    })
}

/// Time without traffic after which a stream with a time limit is reset: at least the limit, and none without a limit.
fn idle_of(timeout: Duration) -> Duration {
    if timeout.is_zero() { timeout } else { timeout.max(DEFAULT_IDLE_TIMEOUT) }
}

/// The retries of a rule as a policy would have them.
fn of_route(retry: &Retry) -> Policy {
    Policy {
        attempts: retry.attempts,
        codes: retry.codes.clone(),
        per_try_timeout: retry.per_try_timeout,
        // Envoy refuses an interval of zero.
        base_interval: retry.backoff.filter(|interval| !interval.is_zero()),
        ..Policy::default()
    }
}

fn retry(fields: &mut Fields, retry: &Policy) {
    let back_off = RetryBackOff {
        base_interval: retry.base_interval.map(duration),
        max_interval: retry.max_interval.map(duration),
    };
    fields.message(&RetryPolicy {
        retry_on: retry.triggers.as_ref().map_or_else(|| RETRY_ON.to_owned(), |triggers| triggers.join(",")),
        retry_priority: retry.attempts_per_priority.map(|attempts| RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(retry_priority::ConfigType::TypedConfig(any(&PreviousPrioritiesConfig {
                update_frequency: attempts,
            }))),
        }),
        num_retries: uint32(retry.attempts.unwrap_or(DEFAULT_RETRIES)),
        retriable_status_codes: match &retry.codes {
            Some(codes) => codes.iter().map(|code| u32::from(*code)).collect(),
            None => vec![DEFAULT_RETRIED_STATUS],
        },
        retry_back_off: (back_off != RetryBackOff::default()).then_some(back_off),
        per_try_timeout: retry.per_try_timeout.map(duration),
        ..Default::default()
    });
    fields.raw(&RETRY_DEFAULTS);
}

static RETRY_DEFAULTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    envoy_api::encode(&RetryPolicy {
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(any(&PreviousHostsPredicate {}))),
        }],
        host_selection_retry_max_attempts: HOST_SELECTION_ATTEMPTS,
        ..Default::default()
    })
});

static WEBSOCKET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let upgrade = UpgradeConfig { upgrade_type: "websocket".to_owned(), ..Default::default() };
    envoy_api::encode(&RouteAction { upgrade_configs: vec![upgrade], ..Default::default() })
});
