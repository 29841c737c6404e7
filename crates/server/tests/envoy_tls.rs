//! Real Envoy over TLS, with the bootstrap of a Pod: certificates and token from files, by SDS.

#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]
#![allow(clippy::print_stderr, reason = "tells that a test was skipped")]

mod site;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use server::{BearerToken, ByToken, ReviewError, TokenIdentity, TokenReviewer};
use site::{Authority, NAMESPACE, SOON, Site};
use tempfile::TempDir;
use tokio::process::{Child, Command};

fn envoy() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/envoy/1.40.0/envoy");
    let path = std::env::var_os("FERROGATE_ENVOY").map_or(installed, PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!("no Envoy at {}: skipped (run `make tools`)", path.display());
    None
}

/// Files and process of one proxy, that of Pod `one`.
struct Proxy {
    folder: TempDir,
    _process: Child,
}

impl Proxy {
    /// With the certificate of proxies, and without a token; or with a token alone.
    fn start(binary: &Path, authority: &Authority, server: SocketAddr, token: Option<&str>) -> Proxy {
        let folder = tempfile::tempdir().expect("tempdir");
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("write");
            path
        };
        let (certificate, key, root) = authority.sign(&format!("*.{NAMESPACE}")).pem(authority);
        let sds = |name: &str, kind: &str, content: Value| {
            let mut secret = json!({
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
                "name": name,
            });
            secret[kind] = content;
            let path = write(&format!("{name}.json"), &json!({ "resources": [secret] }).to_string());
            json!({ "name": name, "sds_config": { "path_config_source": { "path": path } } })
        };
        let names = json!([{ "san_type": "DNS", "matcher": { "exact": "envoy-gateway" } }]);
        let trusted = json!({
            "trusted_ca": { "filename": write("ca.crt", &root) },
            "match_typed_subject_alt_names": names,
        });
        let mut tls =
            json!({ "validation_context_sds_secret_config": sds("ca", "validation_context", trusted) });
        let mut filters = Vec::new();
        match token {
            Some(token) => {
                let token = json!({ "secret": { "filename": write("token", token) } });
                filters = with_token(&sds("jwt", "generic_secret", token));
            }
            None => {
                let pair = json!({
                    "certificate_chain": { "filename": write("tls.crt", &certificate) },
                    "private_key": { "filename": write("tls.key", &key) },
                });
                tls["tls_certificate_sds_secret_configs"] = json!([sds("pair", "tls_certificate", pair)]);
            }
        }
        let config = write("envoy.json", &bootstrap(server, &tls, &filters).to_string());
        let process = Command::new(binary)
            .arg("--config-path")
            .arg(config)
            .arg("--log-path")
            .arg(folder.path().join("envoy.log"))
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"])
            .args(["--component-log-level", "connection:debug,config:debug"])
            .args(["--service-node", "one", "--service-cluster", "default/b"])
            .kill_on_drop(true)
            .spawn()
            .expect("spawn Envoy");
        Proxy { folder, _process: process }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("envoy.log")).unwrap_or_default()
    }
}

fn with_token(credential: &Value) -> Vec<Value> {
    vec![
        json!({
            "name": "envoy.filters.http.credential_injector",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
                "overwrite": true,
                "credential": {
                    "name": "envoy.http.injected_credentials.generic",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
                        "credential": credential,
                        "header": "authorization",
                        "header_value_prefix": "Bearer ",
                    },
                },
            },
        }),
        json!({
            "name": "envoy.filters.http.upstream_codec",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
            },
        }),
    ]
}

fn bootstrap(server: SocketAddr, tls: &Value, filters: &[Value]) -> Value {
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let socket =
        |address: String, port: u16| json!({ "socket_address": { "address": address, "port_value": port } });
    // Pod `one` is at this address.
    let source = json!({ "address": "127.0.0.2", "port_value": 0 });
    let endpoint = json!({ "endpoint": { "address": socket(server.ip().to_string(), server.port()) } });
    json!({
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds_cluster" } }],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": { "clusters": [{
            "name": "xds_cluster",
            "type": "STATIC",
            "connect_timeout": "1s",
            "upstream_bind_config": { "source_address": source },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                    "http_filters": filters,
                },
            },
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "common_tls_context": tls,
                },
            },
            "load_assignment": { "cluster_name": "xds_cluster", "endpoints": [{ "lb_endpoints": [endpoint] }] },
        }] },
    })
}

/// Waits until the proxy has the resources of its fleet.
async fn served(site: &Site, proxy: &Proxy) {
    let has_all = site.feeds.until("default/a", |status| status.acked == Some(status.revision));
    if tokio::time::timeout(SOON, has_all).await.is_err() {
        let denied = site.feeds.metrics().denied.get();
        panic!("{:?}, {denied} denied\n{}", site.feeds.debug().await, proxy.log());
    }
    assert_eq!(site.feeds.status("default/b").expect("live").streams, 0);
}

#[tokio::test]
async fn envoy_is_known_by_certificate_and_address() {
    let Some(binary) = envoy() else { return };
    let authority = Authority::new();
    let site = Site::start(&authority).await;
    let proxy = Proxy::start(&binary, &authority, site.address, None);
    served(&site, &proxy).await;
}

/// Knows one token.
struct Api;

#[tonic::async_trait]
impl TokenReviewer for Api {
    async fn review(&self, token: &BearerToken, _: &str) -> Result<TokenIdentity, ReviewError> {
        match token.expose() {
            "token-of-one" => {
                Ok(TokenIdentity { namespace: NAMESPACE.into(), pod: "one".into(), pod_uid: None })
            }
            other => Err(ReviewError::Refused(format!("{other:?} is unknown"))),
        }
    }
}

#[tokio::test]
async fn envoy_is_known_by_its_token() {
    let Some(binary) = envoy() else { return };
    let authority = Authority::new();
    let site = Site::tokens(&authority, |pods| Box::new(ByToken::new(pods, Api, "envoy-gateway"))).await;
    let proxy = Proxy::start(&binary, &authority, site.address, Some("token-of-one"));
    served(&site, &proxy).await;
}
