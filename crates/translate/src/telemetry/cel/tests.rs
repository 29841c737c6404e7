//! Expressions as real Envoy judges them, and texts that nobody should write.

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};

use super::{MAX_DEPTH, MAX_LENGTH, check};

/// What Envoy takes.
const GOOD: &[&str] = &[
    "response.code >= 400",
    "'x-envoy-logged' in request.headers",
    r#"request.path.startsWith("/a") && !has(request.headers.x) || -1 < - 2u"#,
    "request.headers['a'].matches(r'\\d+') ? true : false",
    "[1, 0x1F, 2.5e-3, .5,].size() == 4",
    "{'a': 1, 'b': [2],}['a'] == 1 // why",
    "google.protobuf.Duration{seconds: 1} == request.duration",
    "google.protobuf.Timestamp{nanos: 1,} < request.time",
    "a ? b : c ? d : e",
    "a ? (b ? c : d) : e",
    "\"\"\"two\nlines\"\"\" == b'\\x00\\377\\101'",
    "br'q' == bR\"q\" && r'\\q' == R\"\\q\"",
    "'\\u00e9\\U0001F600\\`\\?' == 'é😀'",
    "[,] == []",
    "--1 == - - 1",
    "!!a && !b",
    "a.for.`b-c`",
    ".a.b",
    "1.a",
    "1.e5",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615u",
    "a == b == c",
    "1 + 'a'",
    "no_such.attribute == 1",
    "size(a) == a.size() && .size(a) == re.size()",
    "type(a) == int",
    "string",
    "matches(a, 'b') && a.contains('b') && contains(a, 'b') && endsWith(a, b)",
    "timestamp('x').getHours() + request.time.getDate('UTC')",
    "re.extract(a, b, c) == re.capture(a, b)",
    "bool(a) || double(a) > 1.0 || uint(a) == 1u || bytes(a) == b'' || dyn(a) == duration('1s')",
    "a\u{c}&& b",
    "01",
    "r",
    "false.a",
];

/// What Envoy refuses, with what is said of it.
const BAD: &[(&str, &str)] = &[
    ("", "Syntax error: mismatched input the end at 1"),
    ("response.code >", "Syntax error: mismatched input the end at 16"),
    ("a b", "Syntax error: extraneous input 'b' at 3"),
    ("a &&\nb c", "Syntax error: extraneous input 'c' at 2:3"),
    ("a ? b", "Syntax error: mismatched input the end at 6"),
    ("(a", "Syntax error: missing ')' at the end at 3"),
    ("a.", "Syntax error: no viable alternative"),
    ("a.in", "Syntax error: no viable alternative"),
    ("a # b", "Syntax error: token recognition error at: '#"),
    ("é", "Syntax error: token recognition error"),
    ("'a", "Syntax error: token recognition error"),
    (r"'\q'", "Syntax error: token recognition error"),
    ("'a\nb'", "Syntax error: token recognition error"),
    ("rb'a'", "Syntax error: extraneous input"),
    ("!-a", ""),
    ("f(a,)", "Syntax error"),
    ("a.?b", "unsupported syntax"),
    ("[?a]", "unsupported syntax"),
    ("a = b", "Syntax error"),
    ("()", "Syntax error"),
    ("1.", "Syntax error"),
    ("9223372036854775808", "invalid int literal"),
    ("18446744073709551616u", "invalid uint literal"),
    (r"'\ud800'", ""),
    (r"b'\u00e9'", ""),
    (r"r'\'", "a raw string cannot end with a backslash"),
    ("for", "for is a reserved word"),
    ("1 < namespace", "namespace is a reserved word"),
    ("has(a)", ""),
    ("has(a[0])", ""),
    ("has(a.b, c)", "no function has that is called by itself with 2 arguments"),
    ("a.all(1, b)", ""),
    ("a.all(x, b)", "goes over no lists"),
    ("[1, 2].exists(n, n == response.code)", "goes over no lists"),
    ("a.map(x, x)", "goes over no lists"),
    ("a.exists(x)", "no function exists that is called on a value with 1 arguments"),
    ("string(response.code) == '200'", "no function string that is called by itself with 1 arguments"),
    ("a.lowerAscii()", "no function lowerAscii"),
    ("'a'.startsWith()", "no function startsWith that is called on a value with 0 arguments"),
    ("getHours(a)", "no function getHours that is called by itself"),
    (".f(a)", "no function f"),
    ("math.greatest(1, 2)", "no function greatest"),
    ("re.matches(a, b)", "no function matches"),
    ("a.matches('((')", "the regular expression \"((\" is not valid"),
    ("matches(a, '[')", "the regular expression \"[\" is not valid"),
    ("google.protobuf.Duration{minutes: 1}", "google.protobuf.Duration has no field minutes"),
    ("a.b{}", "no message a.b can be made here"),
];

/// What is refused here, and not by Envoy.
const STRICTER: &[&str] =
    &["1e999", r"br'\q' == a", "google.protobuf.Struct{} == a", "envoy.config.core.v3.Node{} == a"];

/// Expressions of a depth, each nested in another way.
fn nested(depth: usize) -> [String; 6] {
    [
        "(".repeat(depth) + "a" + &")".repeat(depth),
        "[".repeat(depth) + &"]".repeat(depth),
        "a ? b : ".repeat(depth - 1) + "c",
        "a".to_owned() + &".b".repeat(depth - 1),
        vec!["1"; depth].join(" + "),
        vec!["a"; depth].join(" in "),
    ]
}

/// An access log for an expression.
fn log(expression: &str) -> Value {
    let url = |name: &str| format!("type.googleapis.com/envoy.extensions.access_loggers.{name}");
    json!({
        "name": "file",
        "filter": { "extension_filter": {
            "name": "cel",
            "typed_config": { "@type": url("filters.cel.v3.ExpressionFilter"), "expression": expression },
        } },
        "typed_config": { "@type": url("file.v3.FileAccessLog"), "path": "/dev/null" },
    })
}

/// Whether Envoy takes access logs for all of these expressions; its words when it does not.
fn envoy(expressions: &[&str]) -> Result<(), String> {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/envoy/1.40.0/envoy");
    assert!(program.is_file(), "Envoy is missing: `make tools` installs it");
    let logs: Vec<Value> = expressions.iter().map(|expression| log(expression)).collect();
    let proxy = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    let config = json!({ "static_resources": {
        "clusters": [{ "name": "c", "type": "STATIC", "connect_timeout": "1s" }],
        "listeners": [{
            "name": "l",
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 20_000 } },
            "access_log": logs,
            "filter_chains": [{ "filters": [{
                "name": "proxy",
                "typed_config": { "@type": proxy, "stat_prefix": "s", "cluster": "c" },
            }] }],
        }],
    } });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(program);
    let output = command.args(["--mode", "validate", "-l", "error", "-c"]).arg(&file).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn what_envoy_takes_is_taken() {
    let deep = nested(MAX_DEPTH);
    let many = vec!["response.code == 400"; 100].join(" || ");
    let good: Vec<&str> =
        GOOD.iter().copied().chain(deep.iter().map(String::as_str)).chain([&*many]).collect();
    let refused: Vec<String> = (good.iter())
        .filter_map(|expression| Some(format!("{expression}: {}", check(expression).err()?)))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    envoy(&good).unwrap();
    envoy(STRICTER).unwrap();
    let taken: Vec<&&str> = STRICTER.iter().filter(|expression| check(expression).is_ok()).collect();
    assert!(taken.is_empty(), "{taken:?}");
}

#[test]
fn what_envoy_refuses_is_refused() {
    let deep = nested(MAX_DEPTH + 1);
    let deep = deep.iter().map(|expression| (expression.as_str(), "nested more than 32 levels deep"));
    let mut wrong = Vec::new();
    for (expression, wanted) in BAD.iter().copied().chain(deep) {
        match check(expression) {
            Ok(()) => wrong.push(format!("{expression} is taken")),
            Err(message) if !message.contains(wanted) => wrong.push(format!("{expression}: {message}")),
            Err(_) => {}
        }
        if envoy(&[expression]).is_ok() {
            wrong.push(format!("Envoy takes {expression}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_text_ends_the_process() {
    let parts = [
        "(", "[", "{", "a?b:", "a.b", ".b", "1+", "!", "-", "a in ", "1in ", "a[0]", "[0]", "has(", "f(",
        "{1:", "a.all(x,", "a{b:", "'", "\"", "'''", "r'", "\\", "//", "?", ":", ",", "a&&", "a||", "é",
        "\0", "\n",
    ];
    for part in parts {
        for times in [MAX_DEPTH, 100, MAX_LENGTH / part.len(), MAX_LENGTH] {
            let text = part.repeat(times);
            let _ = check(&text);
            let _ = check(&format!("{text}a"));
        }
    }
    // Texts made of parts by chance, the same in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chosen = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).unwrap()
    };
    let closing = [")", "]", "}", "a", "1", " ", "1u)", "'x'", "true"];
    let all: Vec<&str> = parts.into_iter().chain(closing).chain(GOOD.iter().copied()).collect();
    for _ in 0..5_000 {
        let text: String = (0..=chosen(12)).map(|_| all[chosen(all.len())]).collect();
        let _ = check(&text);
    }
}
