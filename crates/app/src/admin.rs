//! The admin port: health, metrics, log level, status and dumps.

use std::net::SocketAddr;

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::IntoResponse,
    routing::get,
};
use prometheus_client::encoding::text::encode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    check::Wanted,
    explain::{Asked, PolicyName},
    gateway::Gateway,
    telemetry, view,
};

/// Binds the admin port before anything starts, so that a taken port is said at once.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on the admin address {address}; choose another with --admin"))
}

/// Serves until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    gateway: Gateway,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/", get(index))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/logging", get(|| async { telemetry::level() + "\n" }).put(set_level))
        .route("/status", get(status))
        .route("/problems", get(problems))
        .route("/check", get(check))
        .route("/explain", get(explain))
        .route("/explain/policy", get(explain_policy))
        .route("/stages", get(stages))
        .route("/xds", get(xds))
        .route("/streams", get(streams))
        .route("/audit", get(audit))
        .with_state(gateway);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
    Ok(())
}

async fn index() -> &'static str {
    "GET /healthz  alive\n\
     GET /readyz   nothing is waited for\n\
     GET /metrics  Prometheus\n\
     GET /logging  log level; PUT a new one as the body\n\
     GET /status   every object with its status\n\
     GET /problems what is wrong with files and objects\n\
     GET /check    findings with codes; ?namespace=shop to choose, &margin=30 days before certificates end\n\
     GET /explain  what becomes of a request; ?url=http://shop.example.com/cart&gateway=default/shop&header=a:+b\n\
     GET /explain/policy  where a policy acts, and who says what; ?policy=BackendTrafficPolicy/shop&namespace=default\n\
     GET /stages   outputs with what they were made from; ?stage=virtual_host&text=shop to choose\n\
     GET /xds      resources by fleet, secrets redacted; ?fleet=default/shop to choose\n\
     GET /streams  xDS streams: what was sent, what was accepted\n\
     GET /audit    the incremental result against one from scratch; [] when equal\n"
}

/// Ready when nothing is waited for any more.
pub(crate) async fn ready(State(gateway): State<Gateway>) -> impl IntoResponse {
    match gateway.ready() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(waiting) => (StatusCode::SERVICE_UNAVAILABLE, waiting + "\n"),
    }
}

/// Prometheus' text format.
pub(crate) async fn metrics(State(gateway): State<Gateway>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &gateway.metrics().await) {
        Ok(()) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn set_level(body: String) -> impl IntoResponse {
    match telemetry::set_level(body.trim()) {
        Ok(()) => (StatusCode::OK, telemetry::level() + "\n"),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}\n")),
    }
}

async fn status(State(gateway): State<Gateway>) -> Json<Vec<Value>> {
    let (statuses, controller) = gateway.statuses().await;
    Json(statuses.iter().map(|status| view::status::document(status, &controller)).collect())
}

async fn problems(State(gateway): State<Gateway>) -> Json<Vec<ir::Problem>> {
    let mut problems = gateway.outside().await;
    problems.extend(gateway.control.query(|pipeline| pipeline.problems()).await.unwrap_or_default());
    Json(problems)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Choice {
    stage: String,
    text: String,
    fleet: String,
}

/// 400 with a sentence when the question cannot be understood.
async fn check(
    State(gateway): State<Gateway>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Vec<::check::Finding>>, (StatusCode, String)> {
    let wanted = Wanted::from_query(pairs).map_err(|e| (StatusCode::BAD_REQUEST, format!("{e:#}\n")))?;
    let wrong = gateway.outside().await;
    let findings = gateway.control.query(move |pipeline| wanted.findings(pipeline, &wrong, &[])).await;
    findings.map(Json).ok_or((StatusCode::SERVICE_UNAVAILABLE, "the gateway ends\n".to_owned()))
}

/// 400 with a sentence when the question cannot be answered.
async fn explain(
    State(gateway): State<Gateway>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<::explain::Explanation>, (StatusCode, String)> {
    let refuse = |error: anyhow::Error| (StatusCode::BAD_REQUEST, format!("{error:#}\n"));
    let asked = Asked::from_query(pairs).map_err(refuse)?;
    let told = gateway.control.query(move |pipeline| asked.answer(pipeline)).await;
    let told = told.ok_or((StatusCode::SERVICE_UNAVAILABLE, "the gateway ends\n".to_owned()))?;
    told.map(Json).map_err(refuse)
}

/// 400 with a sentence when there is no such policy.
async fn explain_policy(
    State(gateway): State<Gateway>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<::explain::PolicyExplanation>, (StatusCode, String)> {
    let refuse = |error: anyhow::Error| (StatusCode::BAD_REQUEST, format!("{error:#}\n"));
    let named = PolicyName::from_query(pairs).map_err(refuse)?;
    let told = gateway.control.query(move |pipeline| named.answer(pipeline)).await;
    let told = told.ok_or((StatusCode::SERVICE_UNAVAILABLE, "the gateway ends\n".to_owned()))?;
    told.map(Json).map_err(refuse)
}

async fn stages(State(gateway): State<Gateway>, Query(choice): Query<Choice>) -> Json<Value> {
    let ask = move |pipeline: &pipeline::Pipeline| view::ir::stages(pipeline, &choice.stage, &choice.text);
    Json(gateway.control.query(ask).await.unwrap_or_default())
}

async fn xds(State(gateway): State<Gateway>, Query(choice): Query<Choice>) -> impl IntoResponse {
    let ask = move |pipeline: &pipeline::Pipeline| {
        let fleets =
            pipeline.fleets().iter().filter(|(name, _)| choice.fleet.is_empty() || ***name == *choice.fleet);
        // The admin port never shows secrets; `translate --show-secrets` does, from the files.
        view::xds::fleets(fleets.map(|(name, fleet)| (&**name, fleet)), false)
    };
    match gateway.control.query(ask).await {
        Some(Ok(value)) => (StatusCode::OK, Json(value)),
        Some(Err(error)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": format!("{error:#}") })))
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(Value::Null)),
    }
}

async fn streams(State(gateway): State<Gateway>) -> impl IntoResponse {
    Json(gateway.feeds.debug().await)
}

async fn audit(State(gateway): State<Gateway>) -> Json<Vec<Value>> {
    let differences = gateway.control.query(|pipeline| pipeline.audit()).await.unwrap_or_default();
    let show = |d: &pipeline::Difference| json!({ "what": d.what, "running": d.running, "fresh": d.fresh });
    Json(differences.iter().map(show).collect())
}
