//! One case, translated in this process.

use std::{fs, sync::Arc, sync::LazyLock};

use admission::{Admission, UnknownFields};
use ir::{
    Problem,
    infra::{DeployMode, Installation},
};
use pipeline::{ChangeSet, Infrastructure, Pipeline, Settings};

use crate::root;

/// 2027-01-01: certificates of the cases are judged by it.
const NOW: i64 = 1_798_761_600;

/// Schemas and rules are compiled once for all cases.
static ADMISSION: LazyLock<Arc<Admission>> = LazyLock::new(|| Arc::new(Admission::new()));

/// A case with what became of it.
pub(crate) struct Translated {
    pub name: String,
    /// What an API server would refuse.
    pub rejected: Vec<Problem>,
    pub pipeline: Pipeline,
}

impl Translated {
    /// Translates `cases/<name>/in.yaml`.
    pub(crate) fn of(name: &str) -> Translated {
        let file = root().join(name).join("in.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let loaded = provider::file::load(ADMISSION.clone(), &[file], UnknownFields::Refuse);
        let mut pipeline = Pipeline::new(settings(&text));
        pipeline.commit(ChangeSet { apply: loaded.objects, now: Some(NOW), ..ChangeSet::default() });
        assert_eq!(pipeline.audit(), [], "{name}");
        Translated { name: name.to_owned(), rejected: loaded.problems, pipeline }
    }
}

/// In a cluster, with every class ours and every namespace there unless the case says otherwise in a line such as
/// `# settings: host no-backend no-implicit-class no-implicit-namespaces local-backends partial-input beside-gateways
/// merge-gateways merge-backends merge-backends-by-default`.
fn settings(text: &str) -> Settings {
    let line = text.lines().find_map(|line| line.strip_prefix("# settings:")).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    let known = [
        "host",
        "no-backend",
        "no-implicit-class",
        "no-implicit-namespaces",
        "local-backends",
        "partial-input",
        "beside-gateways",
        "merge-gateways",
        "merge-backends",
        "merge-backends-by-default",
    ];
    assert!(words.iter().all(|word| known.contains(word)), "unknown setting in {line:?}");
    // What the configuration file says in `envoyProxy`.
    let mut base = serde_json::Map::new();
    if words.contains(&"merge-gateways") {
        base.insert("mergeGateways".to_owned(), true.into());
    }
    if words.contains(&"merge-backends") {
        base.insert("mergeBackends".to_owned(), serde_json::json!({}));
    }
    let installation = Installation {
        mode: if words.contains(&"beside-gateways") {
            DeployMode::GatewayNamespace
        } else {
            DeployMode::ControllerNamespace
        },
        base: (!base.is_empty()).then(|| Arc::new(base.into())),
        ..Installation::default()
    };
    Settings {
        installation: installation.into(),
        infrastructure: if words.contains(&"host") {
            Infrastructure::Host { listen: "127.0.0.1".into() }
        } else {
            Infrastructure::Kubernetes
        },
        enable_backend: !words.contains(&"no-backend"),
        implicit_gateway_class: !words.contains(&"no-implicit-class"),
        implicit_namespaces: !words.contains(&"no-implicit-namespaces"),
        allow_local_backends: words.contains(&"local-backends"),
        merge_backends: words.contains(&"merge-backends-by-default"),
        partial_input: words.contains(&"partial-input"),
        ..Settings::default()
    }
}
