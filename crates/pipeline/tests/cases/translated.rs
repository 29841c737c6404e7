//! One case, translated in this process.

use std::{fs, sync::Arc, sync::LazyLock};

use admission::{Admission, UnknownFields};
use api::Object;
use ir::{
    Problem,
    infra::{DeployMode, Installation},
};
use pipeline::{ChangeSet, Infrastructure, Pipeline, Settings};

use crate::root;

/// 2027-01-01: certificates of the cases are judged by it.
pub(crate) const NOW: i64 = 1_798_761_600;

/// Schemas and rules are compiled once for all cases.
pub(crate) static ADMISSION: LazyLock<Arc<Admission>> = LazyLock::new(|| Arc::new(Admission::new()));

/// A case with what became of it.
pub(crate) struct Translated {
    pub name: String,
    /// What an API server would refuse.
    pub rejected: Vec<Problem>,
    pub pipeline: Pipeline,
    pub installation: Arc<Installation>,
    /// Whether what parameters change in the objects of fleets is part of the case.
    pub shows_objects: bool,
}

impl Translated {
    /// Translates `cases/<name>/in.yaml`.
    pub(crate) fn of(name: &str) -> Translated {
        let translated = Translated::with(name, |pipeline, apply| {
            pipeline.commit(ChangeSet { apply, now: Some(NOW), ..ChangeSet::default() });
        });
        assert_eq!(translated.pipeline.audit(), [], "{name}");
        translated
    }

    /// Translates it with the objects coming in one by one, the last of the file first.
    pub(crate) fn backwards(name: &str) -> Translated {
        Translated::with(name, |pipeline, objects| {
            for object in objects.into_iter().rev() {
                pipeline.commit(ChangeSet { apply: vec![object], now: Some(NOW), ..ChangeSet::default() });
            }
        })
    }

    fn with(name: &str, commit: impl FnOnce(&mut Pipeline, Vec<Object>)) -> Translated {
        let file = root().join(name).join("in.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let loaded = provider::file::load(ADMISSION.clone(), &[file], UnknownFields::Refuse);
        let settings = settings(&text);
        let installation = settings.installation.clone();
        let mut pipeline = Pipeline::new(settings);
        commit(&mut pipeline, loaded.objects);
        let shows_objects = shows_objects(&text);
        Translated { name: name.to_owned(), rejected: loaded.problems, pipeline, installation, shows_objects }
    }
}

/// The words of the line with the settings.
fn words(text: &str) -> Vec<&str> {
    let line = text.lines().find_map(|line| line.strip_prefix("# settings:")).unwrap_or_default();
    line.split_whitespace().collect()
}

/// Whether a case asks for what its parameters change in the objects of fleets.
pub(crate) fn shows_objects(text: &str) -> bool {
    words(text).contains(&"objects")
}

/// In a cluster, with every class ours and every namespace there unless the case says otherwise in a line such as
/// `# settings: host no-backend no-implicit-class no-implicit-namespaces local-backends partial-input beside-gateways
/// merge-gateways merge-backends merge-backends-by-default objects`.
pub(crate) fn settings(text: &str) -> Settings {
    let words = words(text);
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
        "objects",
        "merge-backends-by-default",
    ];
    assert!(words.iter().all(|word| known.contains(word)), "unknown setting in {words:?}");
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
