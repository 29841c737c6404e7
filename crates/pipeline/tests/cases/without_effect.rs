//! Fields that change nothing by themselves, and why.

/// Kind, field with everything below it, reason. A line that is not needed fails.
pub(crate) const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
    ("Backend", "spec.tls.fingerprints", "only clients of listeners are recognised by their handshake"),
    ("BackendTrafficPolicy", "spec.compression[].brotli", "the older list looks at the type alone"),
    ("BackendTrafficPolicy", "spec.compression[].gzip", "the older list looks at the type alone"),
    ("BackendTrafficPolicy", "spec.compression[].zstd", "the older list looks at the type alone"),
    ("BackendTrafficPolicy", "spec.connection.socketBufferLimit", "Envoy Gateway has it without effect"),
    ("BackendTrafficPolicy", "spec.loadBalancer.dynamicModule", "Envoy Gateway has it without effect"),
    ("BackendTrafficPolicy", "spec.rateLimit.global", "there is no rate-limit service yet"),
    ("BackendTrafficPolicy", "spec.rateLimit.local.rules[].cost.response", "a rule rejects it"),
    ("BackendTrafficPolicy", "spec.rateLimit.local.rules[].limit.fromMetadata", "a rule rejects it"),
    (
        "BackendTrafficPolicy",
        "spec.rateLimit.local.rules[].shared",
        "only global limits are shared, as with Envoy Gateway",
    ),
    ("BackendTrafficPolicy", "spec.responseOverride[].redirect.path.replacePrefixMatch", "a rule rejects it"),
    (
        "BackendTrafficPolicy",
        "spec.responseOverride[].response.header.remove",
        "a rule rejects all but empty lists",
    ),
    ("BackendTrafficPolicy", "spec.targetSelectors[].group", "a rule rejects all but the default"),
    ("ClientTrafficPolicy", "spec.clientIPDetection.directSourceIP", "it is so when nothing is said"),
    ("ClientTrafficPolicy", "spec.targetSelectors[].group", "a rule rejects all but the default"),
    (
        "EnvoyProxy",
        "spec.backendTLS.fingerprints",
        "only clients of listeners are recognised by their handshake",
    ),
    ("EnvoyProxy", "spec.dynamicModules", "for EnvoyExtensionPolicy, which is not read yet"),
    ("EnvoyProxy", "spec.geoIP", "for SecurityPolicy, which is not read yet"),
    ("EnvoyProxy", "spec.lua", "for EnvoyExtensionPolicy, which is not read yet"),
    ("EnvoyProxy", "spec.provider.host", "`ferrogate run` has one version of Envoy"),
    ("EnvoyProxy", "spec.provider.kubernetes.envoyHpa.patch.type", "no list in it is merged by key"),
    ("EnvoyProxy", "spec.provider.kubernetes.envoyPDB.patch.type", "no list in it is merged by key"),
];
