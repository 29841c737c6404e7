//! Random routes and requests.

use std::fmt::Write;

use e2e::manifest as m;

use super::world::{BACKENDS, EMPTY, MIRRORS, MISSING, SET};
use crate::listener_sets;

/// Preflight requests are answered before errors are made on purpose. It stays as it is: another order of filters makes
/// Envoy drain its listeners.
pub(super) const FILTER_ORDER: &str =
    "filterOrder: [{name: envoy.filters.http.cors, before: envoy.filters.http.fault}]\n";

/// A generator of numbers: the same for the same seed, so that a failure comes again.
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // The multiplier and increment of PCG (O'Neill 2014); its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// True once in `times`.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

const HOSTS: [&str; 9] = [
    "x.a.test",
    "y.a.test",
    "*.a.test",
    "b.test",
    "*.test",
    "deep.x.a.test",
    "c.test",
    "*.x.a.test",
    "s.set.test",
];
const ASKED_HOSTS: [&str; 10] = [
    "x.a.test",
    "y.a.test",
    "z.a.test",
    "b.test",
    "c.test",
    "deep.x.a.test",
    "nowhere.org",
    "X.A.test",
    "x.a.test:8080",
    "s.set.test",
];
const PATHS: [&str; 8] = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/B", "/c.d"];
const ASKED_PATHS: [&str; 16] = [
    "/", "/a", "/a/", "/a/b", "/ab", "/a/b/c/d", "/B", "/b", "/cxd", "/c.d", "//a//b", "/a/../ab", "/a/./b",
    "/a%2Fb", "/zz", "/health",
];
const METHODS: [&str; 3] = ["GET", "POST", "OPTIONS"];

fn matched(random: &mut Random) -> String {
    let mut text = String::new();
    if !random.one_in(5) {
        let kind = random.pick(&["Exact", "PathPrefix", "PathPrefix", "RegularExpression"]);
        let path = match kind {
            "RegularExpression" => random.pick(&["/a.*", "/[ab]", "/c.d", "/a/b(/c)?", "/.*"]),
            _ => random.pick(&PATHS),
        };
        let _ = write!(text, "path: {{type: {kind}, value: '{path}'}}, ");
    }
    if random.one_in(4) {
        let _ = write!(text, "method: {}, ", random.pick(&METHODS));
    }
    if random.one_in(3) {
        let kind = random.pick(&["Exact", "RegularExpression"]);
        let _ =
            write!(text, "headers: [{{type: {kind}, name: X-A, value: '{}'}}], ", random.pick(&["1", "2"]));
    }
    if random.one_in(4) {
        let _ = write!(text, "queryParams: [{{name: q, value: '{}'}}], ", random.pick(&["1", "2"]));
    }
    format!("  - {{{}}}\n", text.trim_end_matches(", "))
}

fn backend_ref(random: &mut Random) -> String {
    let mut text = match random.below(16) {
        0 | 6 => return format!("  - name: {EMPTY}\n    port: 80\n"),
        1 => m::backend_ref(MISSING),
        2 => "  - name: tls\n    port: 80\n".to_owned(),
        3 => m::backend_ref("of-backend"),
        4 => m::backend_ref("unverified"),
        5 => m::backend_ref("http2"),
        _ => m::backend_ref(random.pick(&BACKENDS)),
    };
    if random.one_in(4) {
        let _ = writeln!(text, "    weight: {}", random.below(3));
    }
    text
}

/// Whether a rule with this filter may have backends, with the filter.
fn filter(random: &mut Random, prefix_only: bool) -> (bool, String) {
    let path = match (random.below(3), prefix_only) {
        (0, _) => String::new(),
        (1, true) => format!(
            ", path: {{type: ReplacePrefixMatch, replacePrefixMatch: '{}'}}",
            random.pick(&["/", "/new", "/new/"])
        ),
        _ => ", path: {type: ReplaceFullPath, replaceFullPath: /full}".to_owned(),
    };
    let host = if random.one_in(2) { "hostname: new.test" } else { "" };
    let both = format!("{host}{path}");
    let both = both.trim_start_matches(", ");
    match random.below(10) {
        0 | 8 => {
            let extra = random.pick(&["statusCode: 301", "statusCode: 301, port: 8443", "statusCode: 302, scheme: https"]);
            let sep = if both.is_empty() { "" } else { ", " };
            (false, format!("{{type: RequestRedirect, requestRedirect: {{{both}{sep}{extra}}}}}"))
        }
        1 if !both.is_empty() => (true, format!("{{type: URLRewrite, urlRewrite: {{{both}}}}}")),
        2 => (
            true,
            "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: s}], add: [{name: x-a, \
             value: added}], remove: [x-gone]}}"
                .to_owned(),
        ),
        3 => (
            true,
            "{type: CORS, cors: {allowOrigins: ['https://good.test'], allowMethods: [GET]}}".to_owned(),
        ),
        4 | 5 => (true, mirror(random)),
        6 | 7 => {
            let first = mirror(random);
            (true, format!("{first}, {}", mirror(random)))
        }
        _ => (true, String::new()),
    }
}

/// Copies of all requests, of some, of none.
fn mirror(random: &mut Random) -> String {
    let share =
        random.pick(&["", "", ", percent: 50", ", percent: 0", ", fraction: {numerator: 1, denominator: 3}"]);
    let name = random.pick(&MIRRORS);
    format!(
        "{{type: RequestMirror, requestMirror: {{backendRef: {{group: gateway.envoyproxy.io, kind: Backend, name: \
         {name}}}{share}}}}}"
    )
}

fn rule(random: &mut Random) -> String {
    let mut text = String::new();
    let matches: Vec<String> = (0..random.below(3)).map(|_| matched(random)).collect();
    let prefix_only = matches.len() == 1 && matches[0].contains("PathPrefix");
    let (may_have_backends, filter) =
        if !random.one_in(3) { filter(random, prefix_only) } else { (true, String::new()) };
    let backends: String = match random.below(9) {
        _ if !may_have_backends => String::new(),
        0 => String::new(),
        1..=3 => backend_ref(random) + &backend_ref(random),
        _ => backend_ref(random),
    };
    for (name, list) in [("matches", matches.concat()), ("backendRefs", backends)] {
        if !list.is_empty() {
            let _ = write!(
                text,
                "  {name}:\n{}",
                list.lines().map(|line| format!("{line}\n")).collect::<String>()
            );
        }
    }
    if !filter.is_empty() {
        let _ = writeln!(text, "  filters: [{filter}]");
    }
    if text.is_empty() {
        return "- {}\n".to_owned();
    }
    text.replacen("  ", "- ", 1)
}

/// Routes, some of which have policies by their names, and the EnvoyProxy, which may have them tried as they are written.
pub(super) fn routes(random: &mut Random) -> String {
    let mut text = m::envoy_proxy("eg", &format!("{FILTER_ORDER}preserveRouteOrder: {}\n", random.one_in(4)));
    for number in 0..3 + random.below(6) {
        let mut hosts: Vec<&str> = (0..random.pick(&[0, 0, 1, 2])).map(|_| random.pick(&HOSTS)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let rules: String = (0..1 + random.below(3)).map(|_| rule(random)).collect();
        let name = format!("r{number}");
        text += &match random.below(6) {
            0 => m::route_at(&name, "eg", random.pick(&["http", "any", "wild", "exact"]), &hosts, &rules),
            1 => listener_sets::route(&name, SET, &hosts, &rules),
            _ => m::route(&name, "eg", &hosts, &rules),
        };
    }
    text
}

/// A request.
pub(super) struct Asked {
    pub(super) host: &'static str,
    pub(super) path: String,
    pub(super) method: &'static str,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: &'static str,
}

impl Asked {
    /// One that every other time is for the host that the connection was made for.
    pub(super) fn random(own: Option<&'static str>, random: &mut Random) -> Asked {
        let mut headers = Vec::new();
        if random.one_in(2) {
            headers.push(("x-a", random.pick(&["1", "2", "3"])));
        }
        if random.one_in(6) {
            headers.push(("x-gone", "g"));
        }
        if random.one_in(4) {
            headers.push(("origin", random.pick(&["https://good.test", "https://bad.test"])));
            headers.push(("access-control-request-method", "GET"));
        }
        let query = random.pick(&["", "", "?q=1", "?q=2", "?x=y&q=1&q=2", "?q"]);
        let method = random.pick(&["GET", "GET", "POST", "POST", "OPTIONS"]);
        let body = if method == "POST" {
            random.pick(&["", "short", "a body of twenty-two b", "a body of twenty-two b"])
        } else {
            ""
        };
        let host = own.filter(|_| random.one_in(2));
        Asked {
            host: host.unwrap_or_else(|| random.pick(&ASKED_HOSTS)),
            path: format!("{}{query}", random.pick(&ASKED_PATHS)),
            method,
            headers,
            body,
        }
    }
}
