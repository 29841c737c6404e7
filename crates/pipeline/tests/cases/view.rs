//! What the outputs of cases show: everything but what is the same in all of them.

use ir::{
    Condition, ConditionStatus,
    resource::{Resource, ResourceType},
    status::{ListenerStatus, ParentReference, StatusBody},
};
use pipeline::Fleet;
use serde_json::{Map, Value, json};

use crate::translated::Translated;

/// Conditions that tell of trouble when they are true.
const BAD_WHEN_TRUE: [&str; 5] = [
    "Conflicted",
    "InsecureFrontendValidationMode",
    "OverlappingTLSConfig",
    "PartiallyInvalid",
    "RouteRulesOverlap",
];
/// Listeners of every proxy in a cluster: readiness.
const READY: &str = "envoy-gateway-proxy-ready";

/// Statuses as short as they can be told; conditions that are as they should be without their message.
pub(crate) fn status(of: &Translated) -> String {
    let mut out = Map::new();
    for problem in &of.rejected {
        let entry = out.entry("rejected").or_insert_with(|| json!([]));
        entry.as_array_mut().unwrap().push(cut_path(&problem.to_string()).into());
    }
    // What conditions show is below.
    for problem in of.pipeline.problems().iter().filter(|problem| problem.condition.is_empty()) {
        let entry = out.entry("warnings").or_insert_with(|| json!([]));
        entry.as_array_mut().unwrap().push(problem.to_string().into());
    }
    for status in of.pipeline.statuses() {
        let body = match &status.body {
            StatusBody::Conditions(all) | StatusBody::Class { conditions: all, .. } => conditions(all),
            StatusBody::Gateway { conditions, listeners, attached_listener_sets, .. } => {
                let mut body = with_listeners(conditions, listeners);
                if *attached_listener_sets > 0 {
                    body["attachedListenerSets"] = (*attached_listener_sets).into();
                }
                body
            }
            StatusBody::ListenerSet { conditions, listeners, .. } => with_listeners(conditions, listeners),
            StatusBody::Route { parents } => {
                parents.iter().map(|p| (parent("parent", &p.parent), conditions(&p.conditions))).collect()
            }
            StatusBody::Parameters { ancestors } => (ancestors.iter())
                .map(|a| (format!("ancestor {}", a.ancestor), conditions(&a.conditions)))
                .collect(),
            StatusBody::Policy { ancestors } => (ancestors.iter())
                .map(|a| (parent("ancestor", &a.parent), conditions(&a.conditions)))
                .collect(),
        };
        out.insert(status.object.to_string(), body);
    }
    yaml(&Value::Object(out))
}

fn with_listeners(own: &[Condition], listeners: &[ListenerStatus]) -> Value {
    let mut body = conditions(own);
    for listener in listeners {
        let mut value = conditions(&listener.conditions);
        value["attachedRoutes"] = listener.attached_routes.into();
        if listener.supported_kinds != ["HTTPRoute", "GRPCRoute"] {
            value["supportedKinds"] = json!(listener.supported_kinds);
        }
        body[format!("listener {}", listener.name)] = value;
    }
    body
}

/// The place of a problem without the folder of this machine.
fn cut_path(text: &str) -> String {
    let folder = crate::root().display().to_string();
    text.replace(&folder, "cases")
}

fn parent(role: &str, reference: &ParentReference) -> String {
    let mut text = reference.name.to_string();
    if let Some(namespace) = &reference.namespace {
        text = format!("{namespace}/{text}");
    }
    text = match &*reference.kind {
        "Gateway" => format!("{role} {text}"),
        kind => format!("{role} {kind} {text}"),
    };
    for (name, value) in
        [("section", reference.section_name.clone()), ("port", reference.port.map(|p| p.to_string().into()))]
    {
        if let Some(value) = value {
            text.push_str(&format!(" {name} {value}"));
        }
    }
    text
}

fn conditions(all: &[Condition]) -> Value {
    let all = all.iter().map(|condition| {
        let bad = (condition.status == ConditionStatus::True) == BAD_WHEN_TRUE.contains(&condition.kind);
        let generation = match condition.observed_generation {
            1 => String::new(),
            other => format!(" of generation {other}"),
        };
        let message = if bad { format!(": {}", condition.message) } else { String::new() };
        let text = format!("{} {}{generation}{message}", condition.status, condition.reason);
        (condition.kind.to_owned(), text.into())
    });
    Value::Object(all.collect())
}

/// What the parameters of each fleet change in its objects: the objects as they are, but for what they are without any
/// parameters.
pub(crate) fn objects(of: &Translated) -> String {
    let context = infra::Context { installation: &of.installation, ca: None };
    let mut out = Map::new();
    for wish in of.pipeline.wishes() {
        let render = |wish: &ir::infra::Wish| match infra::render(wish, &context) {
            Ok(rendered) => rendered.objects,
            Err(error) => panic!("{}: {error}", of.name),
        };
        let plain = ir::infra::Wish { parameters: json!({}).into(), ..ir::infra::Wish::clone(wish) };
        let plain = render(&plain);
        let mut changed = Map::new();
        for object in render(wish) {
            // A DaemonSet stands in the place of the Deployment.
            let pods = |body: &Value| body.pointer("/spec/template").is_some();
            let usual = (plain.iter().find(|other| other.kind == object.kind))
                .or_else(|| plain.iter().find(|other| pods(&other.body) && pods(&object.body)));
            if let Some(change) = change(&object.body, usual.map_or(&Value::Null, |usual| &usual.body)) {
                changed.insert(format!("{:?} {}", object.kind, object.name), change);
            }
        }
        out.insert(wish.fleet.to_string(), changed.into());
    }
    yaml(&Value::Object(out))
}

/// What is not as usual: fields by name, entries of lists of one length by place, words that came and went, and JSON in
/// text by its fields.
fn change(value: &Value, usual: &Value) -> Option<Value> {
    let json = |text: &str| serde_json::from_str(text).ok().filter(Value::is_object);
    match (value, usual) {
        _ if value == usual => None,
        (Value::Object(fields), Value::Object(usual)) => {
            let gone = usual.keys().filter(|key| !fields.contains_key(*key));
            let gone = gone.map(|key| (key.clone(), Value::Null));
            let changed = fields.iter().filter_map(|(key, field)| {
                Some((key.clone(), change(field, usual.get(key).unwrap_or(&Value::Null))?))
            });
            Some(Value::Object(changed.chain(gone).collect()))
        }
        (Value::Array(entries), Value::Array(usual)) if entries.len() == usual.len() => {
            let changed = entries.iter().zip(usual).enumerate();
            let changed =
                changed.filter_map(|(at, (entry, usual))| Some((at.to_string(), change(entry, usual)?)));
            Some(Value::Object(changed.collect()))
        }
        (Value::Array(words), Value::Array(usual)) if words.iter().all(Value::is_string) => {
            let only = |of: &[Value], others: &[Value]| -> Value {
                of.iter().filter(|word| !others.contains(word)).cloned().collect()
            };
            Some(json!({ "added": only(words, usual), "removed": only(usual, words) }))
        }
        (Value::String(text), Value::String(usual)) => match (json(text), json(usual)) {
            (Some(value), Some(usual)) => change(&value, &usual),
            _ => Some(value.clone()),
        },
        _ => Some(value.clone()),
    }
}

/// Resources by fleet and type, without constant fields.
pub(crate) fn resources(of: &Translated) -> String {
    let fleets = of.pipeline.fleets().iter().map(|(name, fleet)| (name.to_string(), resources_of(fleet)));
    yaml(&Value::Object(fleets.collect()))
}

fn resources_of(fleet: &Fleet) -> Value {
    let mut out = Map::new();
    for ((kind, name), resource) in &fleet.resources {
        if name.starts_with(READY) {
            continue;
        }
        let value = redacted(resource);
        let (key, value) = match kind {
            ResourceType::Listener => ("listeners", listener(&value)),
            ResourceType::Route => ("routes", hosts(&value)),
            ResourceType::Cluster => ("clusters", cluster(value)),
            ResourceType::Endpoints => ("endpoints", endpoints(&value)),
            ResourceType::Secret => ("secrets", secret(&value)),
        };
        let of_type = out.entry(key).or_insert_with(|| json!({}));
        of_type[name.as_ref()] = value;
    }
    Value::Object(out)
}

fn redacted(resource: &Resource) -> Value {
    envoy_api::json::to_redacted_value(resource.kind.type_url(), &resource.body()).unwrap()
}

/// That it is there; of authorities also where from.
fn secret(value: &Value) -> Value {
    match value.pointer("/validationContext/trustedCa") {
        Some(trusted) => match trusted.get("filename") {
            Some(file) => json!({ "authorities of": file }),
            None => json!("authorities"),
        },
        None => json!("present"),
    }
}

/// Address, and each filter chain with what tells it apart.
fn listener(value: &Value) -> Value {
    let socket = &value["address"]["socketAddress"];
    let mut out = json!({ "address": address(&json!({ "socketAddress": socket })) });
    if let Some(protocol) = socket.get("protocol") {
        out["protocol"] = protocol.clone();
    }
    if let Some(inspector) = value.get("listenerFilters") {
        let names = inspector.as_array().unwrap().iter().map(|f| f["name"].clone());
        out["listenerFilters"] = names.collect();
        const DATAGRAMS: &str = "/0/typedConfig/matcher/onNoMatch/action/typedConfig/cluster";
        if let Some(cluster) = inspector.pointer(DATAGRAMS) {
            out["cluster"] = cluster.clone();
            return out;
        }
    }
    // What all listeners have unless something else is asked for goes without saying.
    let usual = [("maxConnectionsToAcceptPerSocketEvent", 1), ("perConnectionBufferLimitBytes", 32768)];
    for field in ["socketOptions", "listenerFiltersTimeout", usual[0].0, usual[1].0] {
        if let Some(value) =
            value.get(field).filter(|value| !usual.iter().any(|(f, v)| *f == field && **value == *v))
        {
            out[field] = value.clone();
        }
    }
    if let Some(logs) = logs(value.get("accessLog")) {
        out["accessLog"] = logs;
    }
    let of_list = value["filterChains"].as_array().into_iter().flatten();
    let chains: Vec<Value> = of_list.chain(value.get("defaultFilterChain")).map(chain).collect();
    out["chains"] = chains.into();
    out
}

fn chain(chain: &Value) -> Value {
    let (last, others) = chain["filters"].as_array().unwrap().split_last().unwrap();
    let config = &last["typedConfig"];
    let mut out = json!({});
    if !others.is_empty() {
        out["networkFilters"] = others.iter().map(|filter| filter["name"].clone()).collect();
    }
    if let Some(names) = chain.pointer("/filterChainMatch/serverNames") {
        out["serverNames"] = names.clone();
    }
    if let Some(tls) = chain.pointer("/transportSocket/typedConfig/commonTlsContext") {
        let secrets = tls["tlsCertificateSdsSecretConfigs"].as_array().into_iter().flatten();
        out["certificates"] = secrets.map(|s| s["name"].clone()).collect();
        out["alpn"] = tls["alpnProtocols"].clone();
        show(&mut out, "tls", of_transport_socket(&chain["transportSocket"]["typedConfig"]));
    }
    if let Some(mutation) = config.pointer("/earlyHeaderMutationExtensions/0/typedConfig/mutations/0/append")
    {
        out["notes"] = mutation.pointer("/header/value").unwrap().clone();
    }
    match config.pointer("/rds/routeConfigName") {
        Some(routes) => out["routes"] = routes.clone(),
        None => {
            for key in ["cluster", "weightedClusters", "statPrefix"] {
                if let Some(value) = config.get(key) {
                    out[key] = value.clone();
                }
            }
            out["name"] = chain["name"].clone();
        }
    }
    if let Some(logs) = logs(config.get("accessLog")) {
        out["accessLog"] = logs;
    }
    if config.get("rds").is_some() {
        show(&mut out, "http", of_connection_manager(config));
    }
    let filters = config["httpFilters"].as_array().into_iter().flatten();
    let (routers, filters): (Vec<&Value>, Vec<&Value>) =
        filters.partition(|filter| filter["name"] == "envoy.filters.http.router");
    let upstream = routers.iter().find_map(|router| router["typedConfig"].get("upstreamLog"));
    if let Some(logs) = upstream.and_then(|logs| self::logs(Some(logs))) {
        out["upstreamLog"] = logs;
    }
    let filters: Vec<Value> = filters.into_iter().map(http_filter).collect();
    if !filters.is_empty() {
        out["httpFilters"] = filters.into();
    }
    out
}

/// Access logs in short; nothing of the one that is there unless something else is asked for.
fn logs(logs: Option<&Value>) -> Option<Value> {
    let mut logs = logs.cloned().unwrap_or_else(|| json!([]));
    for log in logs.as_array_mut().unwrap() {
        let usual = |fields: &Value| fields.get("x-envoy-origin-path").is_some();
        if let Some(format) = log.pointer_mut("/typedConfig/logFormat/jsonFormat").filter(|f| usual(f)) {
            *format = "usual".into();
        }
        let attributes = log.pointer_mut("/typedConfig/attributes/values").and_then(Value::as_array_mut);
        let usual = |value: &Value| value["key"] == "x-envoy-origin-path";
        if let Some(values) = attributes.filter(|values| values.iter().any(usual)) {
            // Those of the proxy come first.
            values.truncate(2);
            values.push("usual".into());
        }
        drop_types(log);
    }
    let usual = [
        json!({"name": "envoy.access_loggers.file", "typedConfig": {"path": "/dev/stdout", "logFormat": {"jsonFormat": "usual"}}}),
        json!({"name": "envoy.access_loggers.file", "typedConfig": {"path": "/dev/stdout", "logFormat": {"jsonFormat": "usual"}},
               "filter": {"responseFlagFilter": {"flags": ["NR"]}}}),
    ];
    (!matches!(logs.as_array().map(Vec::as_slice), Some([only]) if usual.contains(only))).then_some(logs)
}

/// A filter by its name; with its settings where they are a policy's.
fn http_filter(filter: &Value) -> Value {
    let name = filter["name"].clone();
    let of_policy = ["custom_response", "compressor", "buffer"];
    if of_policy.iter().all(|part| !name.as_str().unwrap().contains(part)) {
        return name;
    }
    let mut config = filter["typedConfig"].clone();
    drop_types(&mut config);
    let mut out = json!({});
    out[name.as_str().unwrap()] = config;
    out
}

/// Shows an object that is not empty.
fn show(out: &mut Value, key: &str, value: Value) {
    if value.as_object().is_some_and(|fields| !fields.is_empty()) {
        out[key] = value;
    }
}

/// TLS of a listener but for its certificates and ALPN.
fn of_transport_socket(config: &Value) -> Value {
    let constant = json!({
        "sessionTicketKeysType": null, "disableStatelessSessionResumption": true,
        "disableStatefulSessionResumption": true,
    });
    let mut common = config["commonTlsContext"].clone();
    drop_keys(&mut common, &["alpnProtocols", "tlsCertificateSdsSecretConfigs"]);
    let mut out = config.clone();
    prune(&mut out, &constant);
    drop_keys(&mut out, &["commonTlsContext"]);
    out.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
    drop_types(&mut out);
    drop_sources(&mut out);
    out
}

/// A connection manager but for what is shown otherwise, and for what all have.
fn of_connection_manager(config: &Value) -> Value {
    let constant = json!({
        "commonHttpProtocolOptions": {"headersWithUnderscoresAction": "REJECT_REQUEST"},
        "http2ProtocolOptions": {
            "maxConcurrentStreams": 100, "initialStreamWindowSize": 65536, "initialConnectionWindowSize": 1048576,
        },
        "normalizePath": true, "mergeSlashes": true, "pathWithEscapedSlashesAction": "UNESCAPE_AND_REDIRECT",
        "serverHeaderTransformation": "PASS_THROUGH", "useRemoteAddress": true,
    });
    let mut out = config.clone();
    prune(&mut out, &constant);
    drop_keys(&mut out, &["accessLog", "earlyHeaderMutationExtensions", "httpFilters", "rds", "statPrefix"]);
    drop_types(&mut out);
    out
}

fn drop_keys(value: &mut Value, keys: &[&str]) {
    if let Value::Object(fields) = value {
        fields.retain(|key, _| !keys.contains(&&**key));
    }
}

/// Secrets come by ADS, all of them.
fn drop_sources(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("sdsConfig");
            fields.values_mut().for_each(drop_sources);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_sources),
        _ => {}
    }
}

/// Virtual hosts by their domains, each with its routes in order.
fn hosts(value: &Value) -> Value {
    let hosts = value["virtualHosts"].as_array().into_iter().flatten().map(|host| {
        let domains: Vec<&str> =
            host["domains"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let routes = host["routes"].as_array().into_iter().flatten().cloned().map(route);
        let mut shown: Value = routes.collect();
        if let Some(counted) = host.get("virtualClusters") {
            shown = json!({ "virtualClusters": counted, "routes": shown });
        }
        (format!("{} as {}", domains.join(" "), host["name"].as_str().unwrap()), shown)
    });
    Value::Object(hosts.collect())
}

fn route(mut route: Value) -> Value {
    let plain = json!({"upgradeConfigs": [{"upgradeType": "websocket"}]});
    if let Some(forward) = route.get_mut("route") {
        prune(forward, &plain);
    }
    // The name first: it tells rule and match.
    let mut out = json!({ "name": route["name"].clone() });
    if let Some(policies) = policies(&route) {
        out["policies"] = policies;
    }
    drop_plain_metadata(&mut route);
    drop_types(&mut route);
    out.as_object_mut().unwrap().extend(route.as_object().unwrap().clone());
    out
}

fn cluster(mut value: Value) -> Value {
    let name = value["name"].clone();
    let constant = json!({
        "name": name, "type": "EDS",
        "edsClusterConfig": {"edsConfig": {"ads": {}, "resourceApiVersion": "V3"}, "serviceName": name},
        "connectTimeout": "10s", "perConnectionBufferLimitBytes": 32768,
        "circuitBreakers": {"thresholds": [{"maxRetries": 1024}]},
        "dnsLookupFamily": "V4_PREFERRED", "commonLbConfig": {}, "ignoreHealthOnHostRemoval": true,
        "loadBalancingPolicy": {"policies": [{"typedExtensionConfig": {
            "name": "envoy.load_balancing_policies.least_request",
            "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
                "localityLbConfig": {"localityWeightedLbConfig": {}},
            },
        }}]},
    });
    prune(&mut value, &constant);
    let policies = policies(&value);
    drop_plain_metadata(&mut value);
    if let Some(policies) = policies.filter(|_| value.get("metadata").is_none()) {
        value["policies"] = policies;
    }
    drop_types(&mut value);
    value
}

/// Policies that have a say in a resource, by name.
fn policies(value: &Value) -> Option<Value> {
    let policies = value.pointer("/metadata/filterMetadata/envoy-gateway/policies")?.as_array()?;
    let name = |p: &Value| format!("{}/{}", p["namespace"].as_str().unwrap(), p["name"].as_str().unwrap());
    Some(policies.iter().map(name).collect())
}

/// Localities in order: where from, weight, and each endpoint in words.
fn endpoints(value: &Value) -> Value {
    let localities = value["endpoints"].as_array().into_iter().flatten().map(|locality| {
        let mut out = json!({});
        let place = &locality["locality"];
        for key in ["region", "zone"] {
            if let Some(text) = place[key].as_str() {
                // The region repeats the name of the cluster.
                let cluster = value["clusterName"].as_str().unwrap_or_default();
                out[key] = text.strip_prefix(cluster).unwrap_or(text).trim_start_matches('/').into();
            }
        }
        for (key, shown) in [("loadBalancingWeight", "weight"), ("priority", "priority")] {
            if let Some(number) = locality.get(key).filter(|n| key == "priority" || **n != json!(1)) {
                out[shown] = number.clone();
            }
        }
        let of_locality = locality["lbEndpoints"].as_array().into_iter().flatten();
        out["endpoints"] = of_locality.map(endpoint).collect();
        out
    });
    localities.collect()
}

fn endpoint(endpoint: &Value) -> Value {
    let mut text = address(&endpoint["endpoint"]["address"]);
    if let Some(hostname) = endpoint["endpoint"]["hostname"].as_str() {
        text.push_str(&format!(" as {hostname}"));
    }
    if let Some(health) = endpoint["healthStatus"].as_str() {
        text.push_str(&format!(" {health}"));
    }
    let socket = endpoint.pointer("/metadata/filterMetadata/envoy.transport_socket_match/name");
    if let Some((_, number)) = socket.and_then(Value::as_str).and_then(|name| name.rsplit_once('/')) {
        text.push_str(&format!(" by transport socket {number}"));
    }
    text.into()
}

fn address(address: &Value) -> String {
    if let Some(path) = address.pointer("/pipe/path").and_then(Value::as_str) {
        return path.to_owned();
    }
    let socket = &address["socketAddress"];
    format!("{} port {}", socket["address"].as_str().unwrap_or("?"), socket["portValue"])
}

/// Metadata that names one whole object says what the name of the resource says.
fn drop_plain_metadata(value: &mut Value) {
    let resources =
        value.pointer("/metadata/filterMetadata/envoy-gateway/resources").and_then(Value::as_array);
    let plain = resources.is_some_and(|all| {
        all.iter()
            .all(|r| r.as_object().unwrap().keys().all(|key| ["kind", "name", "namespace"].contains(&&**key)))
    });
    if plain {
        value.as_object_mut().unwrap().remove("metadata");
    }
}

fn drop_types(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("@type");
            fields.values_mut().for_each(drop_types);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_types),
        _ => {}
    }
}

/// Takes away what is equal to the constant.
fn prune(value: &mut Value, constant: &Value) {
    let (Value::Object(fields), Value::Object(constant)) = (value, constant) else { return };
    fields.retain(|key, field| constant.get(key) != Some(field));
}

fn yaml(value: &Value) -> String {
    serde_yaml_ng::to_string(value).unwrap()
}
