//! Behaviour of the file provider, with real folders and real events.

mod follow;
mod once;
mod random;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use admission::{Admission, UnknownFields};
use ir::{ObjectRef, Problem};
use tempfile::TempDir;
use tokio::time::timeout;

use super::{Loaded, Noticing, Options, Update, Updates, load, watch};

/// Compiling schemas takes a second without optimisation: once for all tests.
static ADMISSION: LazyLock<Arc<Admission>> = LazyLock::new(|| Arc::new(Admission::new()));

/// Longest wait for something that must happen; the slowest takes a tenth of it.
const SOON: Duration = Duration::from_secs(5);

/// A manifest of a ConfigMap in namespace `default`.
fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  key: \"{value}\"\n")
}

/// One that an API server refuses.
fn refused(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata: 5\n")
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

/// Replaces a file as careful programs do.
fn rename_over(folder: &Path, name: &str, text: &str) {
    let draft = folder.join(format!(".{name}.draft"));
    fs::write(&draft, text).unwrap();
    fs::rename(draft, folder.join(name)).unwrap();
}

/// A temporary folder and its path without symbolic links.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

fn once(paths: &[PathBuf]) -> Loaded {
    load(ADMISSION.clone(), paths, UnknownFields::Refuse)
}

/// `name=value` of all ConfigMaps among objects.
fn contents(objects: &[api::Object]) -> BTreeMap<String, String> {
    let content = |object: &api::Object| match object {
        api::Object::ConfigMap(map) => {
            let value = map.data.as_ref().and_then(|data| data.get("key")).cloned();
            Some((object.name().to_owned(), value.unwrap_or_default()))
        }
        _ => None,
    };
    objects.iter().filter_map(content).collect()
}

fn messages(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

/// A reader of updates who remembers what is in force.
struct Reader {
    updates: Updates,
    objects: BTreeMap<ObjectRef, api::Object>,
    /// References of all objects that were ever applied, in order.
    applied: Vec<String>,
    latest: Option<Update>,
}

impl Reader {
    /// Begins to watch, and waits for the first update.
    async fn start(options: Options) -> Reader {
        let updates = watch(ADMISSION.clone(), options).unwrap();
        let mut reader = Reader { updates, objects: BTreeMap::new(), applied: Vec::new(), latest: None };
        reader.next().await;
        reader
    }

    async fn at(path: &Path) -> Reader {
        Reader::start(Options::new([path])).await
    }

    async fn polling(path: &Path) -> Reader {
        let noticing = Noticing::Every(Duration::from_millis(50));
        Reader::start(Options { noticing, ..Options::new([path]) }).await
    }

    /// Takes the next update.
    async fn next(&mut self) {
        let update =
            timeout(SOON, self.updates.next()).await.expect("an update comes").expect("the watch lives");
        for object in &update.apply {
            let info = object.kind();
            let kind = ir::Kind::find(info.group, info.name).unwrap();
            let reference = ObjectRef::new(kind, object.namespace(), object.name());
            self.applied.push(object.name().to_owned());
            self.objects.insert(reference, object.clone());
        }
        for reference in &update.delete {
            self.objects.remove(reference);
        }
        self.latest = Some(update);
    }

    fn contents(&self) -> BTreeMap<String, String> {
        contents(&self.objects.values().cloned().collect::<Vec<_>>())
    }

    fn latest(&self) -> &Update {
        self.latest.as_ref().unwrap()
    }

    fn messages(&self) -> String {
        messages(&self.latest().problems).join("\n")
    }

    /// Takes updates until the ConfigMaps are these.
    async fn until(&mut self, expected: &[(&str, &str)]) {
        let expected =
            expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>();
        let wait = async {
            while self.contents() != expected {
                self.next().await;
            }
        };
        if timeout(SOON, wait).await.is_err() {
            panic!("{:?} instead of {expected:?}; {}", self.contents(), self.messages());
        }
    }

    /// Takes updates until a problem contains these words.
    async fn until_told(&mut self, words: &str) {
        while !self.messages().contains(words) {
            self.next().await;
        }
    }

    /// Takes updates until nothing is wrong.
    async fn until_fine(&mut self) {
        while !self.latest().problems.is_empty() {
            self.next().await;
        }
    }

    /// Nothing more comes for a while.
    async fn is_quiet(&mut self) {
        let update = timeout(Duration::from_millis(400), self.updates.next()).await;
        assert!(update.is_err(), "{update:?}");
    }
}
