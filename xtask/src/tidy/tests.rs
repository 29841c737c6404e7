//! Each rule, broken and kept.

use std::path::Path;

use super::{check, edges::forbidden_for_tests};

/// Lines and rules of the findings in a file.
fn rules(file: &str, text: &str) -> Vec<(usize, &'static str)> {
    check(Path::new(file), text).iter().map(|finding| (finding.line, finding.rule)).collect()
}

#[test]
fn edges_follow_the_table() {
    let none: Vec<String> = Vec::new();
    assert_eq!(forbidden_for_tests("store", &[("ir", None), ("serde", None), ("xds", Some("dev"))]), none);
    assert_eq!(forbidden_for_tests("ferrogate", &[("xds", None), ("tokio", None)]), none);
    assert_eq!(forbidden_for_tests("ir", &[("api", None)]), ["crate ir must not depend on api"]);
    assert_eq!(forbidden_for_tests("ir", &[("api", Some("build"))]), ["crate ir must not depend on api"]);
    assert!(
        forbidden_for_tests("translate", &[("tokio-util", None)])[0]
            .starts_with("crate translate must not use")
    );
    assert!(
        forbidden_for_tests("server", &[("kube", None)])[0].contains("only api, admission, provider, leader")
    );
    assert_eq!(forbidden_for_tests("stray", &[]).len(), 1);
}

#[test]
fn stages_and_encoding_name_no_kind_of_routes() {
    let text = "fn f(kind: Kind) -> bool {\n    kind == ir::Kind::TcpRoute\n}\n";
    assert_eq!(rules("crates/xds/src/x.rs", text), [(2, "kind-of-route")]);
    assert_eq!(rules("crates/pipeline/src/stages/x.rs", text), [(2, "kind-of-route")]);
    assert_eq!(rules("crates/xds/src/encode/tests/x.rs", text), []);
    assert_eq!(rules("crates/translate/src/route/x.rs", text), []);
    assert_eq!(
        rules("crates/xds/src/x.rs", "fn f(kind: Kind) -> bool {\n    kind == Kind::Gateway\n}\n"),
        []
    );
}

#[test]
fn functions_have_eighty_lines_at_most() {
    let function =
        |lines: usize| format!("impl X {{\n    fn f() {{\n{}    }}\n}}\n", "        x();\n".repeat(lines));
    assert_eq!(rules("a.rs", &function(80)), []);
    assert_eq!(rules("a.rs", &function(81)), [(2, "function-length")]);
}

#[test]
fn files_are_measured_without_their_tests() {
    let file = |lines: usize| {
        format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(lines), "\n".repeat(900))
    };
    assert_eq!(rules("a.rs", &file(500)), []);
    let found = check(Path::new("a.rs"), &file(501));
    assert!(found[0].warning && found.len() == 1, "{found:?}");
    assert_eq!(rules("a.rs", &file(801)), [(1, "file-length")]);
    assert_eq!(rules("src/tests.rs", &file(801)), []);
    assert_eq!(rules("crates/x/tests/a.rs", &file(801)), []);
}

#[test]
fn allowed_lints_have_a_reason() {
    assert_eq!(rules("a.rs", "#[allow(dead_code)]\nfn f() {}\n"), [(1, "allow")]);
    assert_eq!(rules("a.rs", "#![allow(dead_code)]\nfn f() {}\n"), [(1, "allow")]);
    assert_eq!(rules("a.rs", "/// Doc.\n#[expect(dead_code)]\nfn f() {}\n"), [(2, "allow")]);
    assert_eq!(rules("a.rs", "#[allow(dead_code, reason = \"x\")]\nfn f() {}\n"), []);
    assert_eq!(rules("a.rs", "// Because.\n#[allow(dead_code)]\nfn f() {}\n"), []);
}

#[test]
fn names_say_something() {
    assert_eq!(
        rules("a.rs", "struct RouteManager;\nmod util {}\nstruct TestHelper;\n"),
        [(1, "name"), (2, "name"), (3, "name")]
    );
    assert_eq!(rules("utils.rs", ""), [(1, "name")]);
    assert_eq!(rules("a.rs", "struct Utilization;\nstruct HttpConnectionManager;\nfn helper() {}\n"), []);
    assert_eq!(rules("http_connection_manager.rs", ""), []);
}

#[test]
fn crates_tell_their_purpose() {
    assert_eq!(rules("crates/x/src/lib.rs", "mod a;\n"), [(1, "purpose")]);
    assert_eq!(rules("crates/x/src/lib.rs", "//! Does x.\nmod a;\n"), []);
}

#[test]
fn no_traces_of_one_machine() {
    let path = |folder: &str| format!("see\npath = \"/{folder}/someone/x\"\n");
    for folder in ["root", "home", "work"] {
        assert_eq!(rules("a.md", &path(folder)), [(2, "absolute-path")]);
    }
    let fine = format!("a/{0}/b $X/{0}/b https://x.example/{0}/b /{0} ~/{0}/x\n", "work");
    assert_eq!(rules("a.md", &fine), []);
}

#[test]
fn no_names_of_registries() {
    let line = |top: &str| format!("url: https://static.crates.{top}/x\n");
    assert_eq!(rules("a.md", &line("io")), [(1, "registry")]);
    assert_eq!(rules("Cargo.lock", &line("io")), []);
    assert_eq!(rules("a.md", &line("iox")), []);
}

#[test]
fn overviews_are_short_and_dependencies_explained() {
    assert_eq!(rules("ARCHITECTURE.md", &"x\n".repeat(300)), []);
    assert_eq!(rules("ARCHITECTURE.md", &"x\n".repeat(301)), [(301, "overview-length")]);
    let manifest =
        "[workspace.dependencies]\na = \"1\"\n# Why.\nb = \"1\"\nc = \"1\"\n\nd = \"1\"\ne = \"1\" # why\n";
    assert_eq!(rules("Cargo.toml", manifest), [(2, "dependency"), (7, "dependency")]);
    let lints = "[workspace.lints.clippy]\na = \"warn\"\nb = \"allow\"\n# Why.\nc = \"allow\"\n";
    assert_eq!(rules("Cargo.toml", lints), [(3, "allow")]);
}
