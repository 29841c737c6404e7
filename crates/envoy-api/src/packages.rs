// The protobuf packages that Ferrogate names, one a line: `short module name: package;`.
// Read twice: by `lib.rs`, which makes a module of each line, and by the build script.
packages! {
    // Resources.
    listener: envoy::config::listener::v3;
    route: envoy::config::route::v3;
    cluster: envoy::config::cluster::v3;
    endpoint: envoy::config::endpoint::v3;
    core: envoy::config::core::v3;
    bootstrap: envoy::config::bootstrap::v3;
    metrics: envoy::config::metrics::v3;
    overload: envoy::config::overload::v3;
    trace: envoy::config::trace::v3;
    access_log: envoy::config::accesslog::v3;
    rbac_rules: envoy::config::rbac::v3;
    mutation_rules: envoy::config::common::mutation_rules::v3;
    // Discovery.
    discovery: envoy::service::discovery::v3;
    // Shared types.
    types: envoy::r#type::v3;
    http_types: envoy::r#type::http::v3;
    matcher: envoy::r#type::matcher::v3;
    metadata: envoy::r#type::metadata::v3;
    tracing: envoy::r#type::tracing::v3;
    xds_core: xds::core::v3;
    xds_matcher: xds::r#type::matcher::v3;
    xds_types: xds::r#type::v3;
    cel: cel::expr;
    // Network and listener filters.
    hcm: envoy::extensions::filters::network::http_connection_manager::v3;
    tcp_proxy: envoy::extensions::filters::network::tcp_proxy::v3;
    connection_limit: envoy::extensions::filters::network::connection_limit::v3;
    direct_response: envoy::extensions::filters::network::direct_response::v3;
    network_rbac: envoy::extensions::filters::network::rbac::v3;
    http_rbac: envoy::extensions::filters::http::rbac::v3;
    sni_dynamic_forward_proxy: envoy::extensions::filters::network::sni_dynamic_forward_proxy::v3;
    network_set_filter_state: envoy::extensions::filters::network::set_filter_state::v3;
    tls_inspector: envoy::extensions::filters::listener::tls_inspector::v3;
    http_inspector: envoy::extensions::filters::listener::http_inspector::v3;
    proxy_protocol: envoy::extensions::filters::listener::proxy_protocol::v3;
    udp_proxy: envoy::extensions::filters::udp::udp_proxy::v3;
    // HTTP filters.
    router: envoy::extensions::filters::http::router::v3;
    cors: envoy::extensions::filters::http::cors::v3;
    basic_auth: envoy::extensions::filters::http::basic_auth::v3;
    fault: envoy::extensions::filters::http::fault::v3;
    fault_common: envoy::extensions::filters::common::fault::v3;
    health_check: envoy::extensions::filters::http::health_check::v3;
    header_mutation: envoy::extensions::filters::http::header_mutation::v3;
    grpc_stats: envoy::extensions::filters::http::grpc_stats::v3;
    grpc_web: envoy::extensions::filters::http::grpc_web::v3;
    dynamic_forward_proxy: envoy::extensions::filters::http::dynamic_forward_proxy::v3;
    dynamic_forward_proxy_common: envoy::extensions::common::dynamic_forward_proxy::v3;
    set_filter_state: envoy::extensions::filters::http::set_filter_state::v3;
    set_filter_state_common: envoy::extensions::filters::common::set_filter_state::v3;
    stateful_session: envoy::extensions::filters::http::stateful_session::v3;
    stateful_session_cookie: envoy::extensions::http::stateful_session::cookie::v3;
    stateful_session_header: envoy::extensions::http::stateful_session::header::v3;
    admission_control: envoy::extensions::filters::http::admission_control::v3;
    bandwidth_limit: envoy::extensions::filters::http::bandwidth_limit::v3;
    buffer: envoy::extensions::filters::http::buffer::v3;
    compressor: envoy::extensions::filters::http::compressor::v3;
    gzip: envoy::extensions::compression::gzip::compressor::v3;
    brotli: envoy::extensions::compression::brotli::compressor::v3;
    zstd: envoy::extensions::compression::zstd::compressor::v3;
    custom_response: envoy::extensions::filters::http::custom_response::v3;
    local_response: envoy::extensions::http::custom_response::local_response_policy::v3;
    redirect_response: envoy::extensions::http::custom_response::redirect_policy::v3;
    local_ratelimit: envoy::extensions::filters::http::local_ratelimit::v3;
    ratelimit: envoy::extensions::common::ratelimit::v3;
    upstream_codec: envoy::extensions::filters::http::upstream_codec::v3;
    preserve_case: envoy::extensions::http::header_formatters::preserve_case::v3;
    early_header_mutation: envoy::extensions::http::early_header_mutation::header_mutation::v3;
    xff: envoy::extensions::http::original_ip_detection::xff::v3;
    custom_header: envoy::extensions::http::original_ip_detection::custom_header::v3;
    request_id: envoy::extensions::request_id::uuid::v3;
    // Access loggers.
    file_access_log: envoy::extensions::access_loggers::file::v3;
    stream_access_log: envoy::extensions::access_loggers::stream::v3;
    // Clusters, load balancing, retries.
    http_protocol_options: envoy::extensions::upstreams::http::v3;
    dns_cluster: envoy::extensions::clusters::dns::v3;
    dns_common: envoy::extensions::clusters::common::dns::v3;
    dynamic_forward_proxy_cluster: envoy::extensions::clusters::dynamic_forward_proxy::v3;
    original_dst_cluster: envoy::extensions::clusters::original_dst::v3;
    load_balancing: envoy::extensions::load_balancing_policies::common::v3;
    least_request: envoy::extensions::load_balancing_policies::least_request::v3;
    round_robin: envoy::extensions::load_balancing_policies::round_robin::v3;
    random: envoy::extensions::load_balancing_policies::random::v3;
    maglev: envoy::extensions::load_balancing_policies::maglev::v3;
    ring_hash: envoy::extensions::load_balancing_policies::ring_hash::v3;
    wrr_locality: envoy::extensions::load_balancing_policies::wrr_locality::v3;
    cluster_provided: envoy::extensions::load_balancing_policies::cluster_provided::v3;
    override_host: envoy::extensions::load_balancing_policies::override_host::v3;
    client_side_weighted_round_robin: envoy::extensions::load_balancing_policies::client_side_weighted_round_robin::v3;
    health_check_file_sink: envoy::extensions::health_check::event_sinks::file::v3;
    previous_hosts: envoy::extensions::retry::host::previous_hosts::v3;
    previous_priorities: envoy::extensions::retry::priority::previous_priorities::v3;
    cares: envoy::extensions::network::dns_resolver::cares::v3;
    getaddrinfo: envoy::extensions::network::dns_resolver::getaddrinfo::v3;
    // Transport sockets.
    tls: envoy::extensions::transport_sockets::tls::v3;
    raw_buffer: envoy::extensions::transport_sockets::raw_buffer::v3;
    quic: envoy::extensions::transport_sockets::quic::v3;
    upstream_proxy_protocol: envoy::extensions::transport_sockets::proxy_protocol::v3;
    // Match inputs.
    network_inputs: envoy::extensions::matching::common_inputs::network::v3;
    ssl_inputs: envoy::extensions::matching::common_inputs::ssl::v3;
    ip_matcher: envoy::extensions::matching::input_matchers::ip::v3;
    // Process: overload monitors, regular expressions, statistics.
    downstream_connections: envoy::extensions::resource_monitors::downstream_connections::v3;
    fixed_heap: envoy::extensions::resource_monitors::fixed_heap::v3;
}
