//! All codes. A code keeps its meaning for ever: pipelines of users name it.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; works as written.
    Info,
    /// Works, but not as its author may think, or not for long.
    Warning,
    /// Something has no effect, or requests fail.
    Error,
}

impl Severity {
    /// In lower case, as outputs have it.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// What a code stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The code, such as `FG201`.
    pub id: &'static str,
    /// Its name in words with dashes.
    pub name: &'static str,
    /// How bad its findings are.
    pub severity: Severity,
    /// Why it matters.
    pub why: &'static str,
    /// What to do, where the finding itself does not say it better.
    pub fix: &'static str,
}

macro_rules! codes {
    ($($constant:ident = $id:literal $name:literal $severity:ident: $why:literal; $fix:literal.)+) => {
        $(
            #[doc = concat!("`", $id, "`: ", $name, ".")]
            pub const $constant: &Code =
                &Code { id: $id, name: $name, severity: Severity::$severity, why: $why, fix: $fix };
        )+

        /// All codes, ascending.
        pub const ALL: &[&Code] = &[$($constant,)+];
    };
}

codes! {
    // Documents.
    OBJECT_REFUSED = "FG001" "object-refused" Error:
        "An API server refuses the object, so it never takes effect";
        "Mend the field that the message names".
    FILE_UNREADABLE = "FG002" "file-unreadable" Error:
        "Nothing in the file, or after the place that is named, takes effect";
        "Mend the file at the line that the message names".
    KIND_UNKNOWN = "FG003" "kind-not-read" Warning:
        "Objects of this kind have no effect; where they should protect something, it is not protected";
        "Remove the object, or do not rely on it".
    DECLARED_TWICE = "FG004" "declared-twice" Warning:
        "Only one of the declarations is in force, and which one depends on names of files";
        "Keep one declaration".
    FIELD_DROPPED = "FG005" "field-dropped" Warning:
        "The field has no effect, although its author means something by it";
        "Correct the name of the field, or remove it".
    NOTHING_TO_READ = "FG006" "nothing-to-read" Warning:
        "A path that was given holds no manifests, so nothing of it was looked at";
        "Correct the path".
    // Gateways and listeners.
    CLASS_MISSING = "FG101" "class-missing" Error:
        "No controller feels responsible for a Gateway whose GatewayClass does not exist: nothing listens";
        "Add the GatewayClass, or name one that exists".
    LISTENER_CONFLICT = "FG102" "listener-conflict" Error:
        "Listeners that cannot be told apart are not served";
        "Give each its own port or hostname".
    LISTENER_INVALID = "FG103" "listener-invalid" Error:
        "The listener is not served, or not for all the kinds of routes that it should be for";
        "Mend the field that the message names".
    GATEWAY_INVALID = "FG104" "gateway-invalid" Error:
        "The Gateway, or what its proxies are made from, cannot be used";
        "Mend the field that the message names".
    LISTENER_SET_REFUSED = "FG105" "listener-set-refused" Error:
        "No listener of the ListenerSet is served";
        "Allow it in allowedListeners of the Gateway, or mend the Gateway".
    LISTENER_UNUSED = "FG106" "listener-without-routes" Info:
        "Every request to the listener is answered with 404, and its port is open for nothing";
        "Attach a route, or remove the listener".
    MODE_UNKNOWN = "FG107" "annotation-invalid" Warning:
        "The annotation has no effect; the default holds";
        "Use one of the values that the message names".
    LISTENER_SET_DANGLING = "FG108" "listener-set-without-gateway" Error:
        "The Gateway that the ListenerSet is for does not exist, so no listener of it is served";
        "Correct spec.parentRef, or add the Gateway".
    BOOTSTRAP_REFUSED = "FG109" "bootstrap-refused" Error:
        "Proxies with this bootstrap do not start";
        "Mend spec.bootstrap by Envoy's words".
    // Certificates.
    CERTIFICATE_SHARED = "FG201" "certificate-shared-across-namespaces" Warning:
        "HTTP/2 clients reuse a connection for every name of its certificate; where both Gateways have one address, \
         requests for the one arrive at the other, which does not know the host";
        "Give each Gateway a certificate for its own names alone, or bring the listeners together in one Gateway, \
         which answers such requests with 421".
    TLS_OVERLAP = "FG202" "tls-overlap" Info:
        "Clients may send requests for one listener over connections of another; they are answered with 421 and sent \
         again, or served, as the mode says";
        "Nothing, or give each listener a certificate for its own names alone".
    GRPC_DOWNGRADED = "FG203" "grpc-without-http2" Error:
        "gRPC needs HTTP/2; over HTTP/1.1 calls fail without a grpc-status (13 INTERNAL)";
        "One of four: a certificate for each hostname, a Gateway of its own, a port of its own, or another mode than \
         DowngradeALPN".
    CERTIFICATE_UNUSABLE = "FG204" "certificate-unusable" Error:
        "Without a certificate the listener is not served";
        "Mend the Secret, or refer to another".
    CERTIFICATE_EXPIRING = "FG205" "certificate-expiring" Warning:
        "When the certificate ends, the listener ends with it";
        "Renew the certificate".
    CERTIFICATE_MISMATCHED = "FG206" "certificate-for-other-names" Warning:
        "Clients that verify certificates refuse every connection to the listener";
        "Use a certificate for the listener's hostname".
    CERTIFICATE_WEAK = "FG207" "certificate-weak" Warning:
        "Clients, or some of them, refuse the certificate although it is served, or expect a staple that is left out";
        "Issue a new certificate, or mend what the message names".
    CERTIFICATE_UNGRANTED = "FG208" "certificate-not-granted" Error:
        "A Secret of another namespace may be used with its owner's consent alone: the listener is not served";
        "Add a ReferenceGrant in the namespace of the Secret".
    CERTIFICATE_PARTLY = "FG209" "certificate-partly-unusable" Warning:
        "The listener serves its other certificates; clients that need this one fail";
        "Mend the Secret, or remove the reference".
    CLIENT_SIDE_INVALID = "FG210" "client-certificate-unusable" Error:
        "Backends that ask for a certificate cannot be reached";
        "Mend the Secret, or the reference to it".
    BACKEND_TLS_INVALID = "FG211" "backend-tls-unusable" Error:
        "A backend that cannot be verified as it should be is never reached: its requests are answered with 500";
        "Mend the authorities or names that the message tells".
    ISTIO_CERTIFICATE_SHARED = "FG221" "istio-certificate-shared" Warning:
        "Istio's Gateways with one certificate on one port answer requests of reused HTTP/2 connections with 404";
        "Merge the Gateways into one, or give each a certificate for its own hosts alone".
    // Routes.
    PARENT_WITHOUT_LISTENER = "FG301" "parent-without-listener" Error:
        "The route is attached to nothing there, so its requests are answered with 404";
        "Correct sectionName or port of the parentRef".
    ROUTE_NOT_ALLOWED = "FG302" "route-not-allowed" Error:
        "No listener admits the route, so its requests are answered with 404";
        "Allow its namespace and kind in allowedRoutes, or attach it elsewhere".
    HOSTNAME_WITHOUT_LISTENER = "FG303" "hostnames-without-listener" Error:
        "No listener of the parent is for any hostname of the route, so it serves nothing";
        "Add a listener for the hostname, or correct it".
    HOSTNAME_UNSERVED = "FG304" "hostname-without-listener" Warning:
        "No listener of the route's parents is for this hostname, so its requests are answered with 404";
        "Add a listener for the hostname, or remove it from the route".
    PARENT_MISSING = "FG305" "parent-missing" Error:
        "The Gateway or ListenerSet that the route is for does not exist, so it serves nothing";
        "Correct the parentRef, or add the parent".
    ROUTE_SHADOWED = "FG306" "route-shadowed" Warning:
        "Another route asks for the same requests and has precedence, so this one never gets them";
        "Remove one of the two, or tell them apart by path, headers or hostnames".
    MATCH_REPEATED = "FG307" "match-repeated" Warning:
        "An earlier rule of the same route takes the same requests, so this one never gets them";
        "Remove the match, or tell the two apart".
    MATCH_UNREACHABLE = "FG308" "match-unreachable" Warning:
        "A regular expression goes before path prefixes, and one that takes every path leaves them nothing";
        "Make the regular expression a prefix match of /, which comes last".
    RULE_INVALID = "FG309" "rule-invalid" Error:
        "The rule has no effect; its requests fail, or go to other rules";
        "Mend the field that the message names".
    // Backends.
    BACKEND_MISSING = "FG401" "backend-missing" Error:
        "Requests for the backend are answered with 500";
        "Correct the reference, or add the backend".
    BACKEND_UNGRANTED = "FG402" "reference-not-granted" Error:
        "An object of another namespace may be used with its owner's consent alone: requests are answered with 500";
        "Add a ReferenceGrant in the namespace of the backend".
    BACKEND_UNUSABLE = "FG403" "backend-unusable" Error:
        "Requests for the backend are answered with 500";
        "Use a kind and a form of backend that is supported".
    BACKEND_EMPTY = "FG404" "backend-without-endpoints" Warning:
        "Requests for the backend are answered with 503 until it has endpoints";
        "Start the workload, or correct selector and port of the Service".
    MIRROR_EMPTY = "FG405" "mirror-without-endpoints" Warning:
        "Copies of requests are lost, and nobody is told";
        "Start the workload of the mirror, or remove the filter".
    WEIGHTS_ZERO = "FG406" "weights-all-zero" Warning:
        "Every request to the rule is answered with 500";
        "Give one of the backends a weight".
    // Protocols.
    GRPC_BACKEND_HTTP1 = "FG501" "grpc-backend-over-http1" Warning:
        "Requests of an HTTPRoute go to the backend in HTTP/1.1 unless its port says otherwise, and gRPC needs HTTP/2";
        "Set appProtocol kubernetes.io/h2c at the port, or use a GRPCRoute".
    PROTOCOL_DISAGREES = "FG502" "app-protocol-disagrees" Warning:
        "A Service and the ServiceImport of its name ask for different protocols; that of the import is used";
        "Give both the same appProtocol".
    PROTOCOL_UNKNOWN = "FG503" "app-protocol-unknown" Warning:
        "A value that is not known says nothing: the backend gets HTTP/1.1, where HTTP/2 seems to be meant";
        "Use kubernetes.io/h2c".
    PROTOCOL_DEPRECATED = "FG504" "app-protocol-deprecated" Warning:
        "The value is Envoy Gateway's own, from before there were standard ones, and other controllers do not know it";
        "Use kubernetes.io/h2c".
    PROTOCOL_UNSUPPORTED = "FG505" "protocol-cannot-carry-grpc" Error:
        "The backend asks for a protocol in which gRPC cannot be spoken";
        "Use a port that speaks HTTP/2".
    // Policies.
    POLICY_DANGLING = "FG601" "policy-without-target" Warning:
        "The policy acts on nothing, so what it should protect or tune is as without it";
        "Correct the target, or remove the policy".
    POLICY_CONFLICT = "FG602" "policy-conflict" Error:
        "An older policy of the kind has the same target, and this one has no effect there";
        "Merge the two into one".
    POLICY_OVERRIDDEN = "FG603" "policy-overridden" Info:
        "A policy of a narrower scope has effect in its place there";
        "Nothing if that is meant; else use mergeType in the narrower policy".
    POLICY_INVALID = "FG604" "policy-invalid" Error:
        "A policy that cannot be applied answers the requests that it is for with 500, so that nothing is open without it";
        "Mend the field that the message names".
    POLICY_SECTION = "FG605" "policy-section-missing" Error:
        "The listener, rule or port that the policy is for does not exist, so it has no effect there";
        "Correct sectionName".
    FIELD_DEPRECATED = "FG606" "field-deprecated" Warning:
        "The field will go in a later version of the API";
        "Use what the message names".
    // The rest.
    OTHER = "FG900" "not-accepted" Warning:
        "Something has no effect, or not the one that was meant";
        "Follow the message".
}

/// The code with this id.
pub fn find(id: &str) -> Option<&'static Code> {
    ALL.iter().copied().find(|code| code.id == id)
}
