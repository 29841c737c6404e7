//! Labels of objects that may be chosen by them, which hardly anybody does: kept as small as they can be.

use std::{collections::BTreeMap, sync::Arc};

/// `metadata.labels`, as one text. Neither keys nor values can hold what stands between them (Kubernetes, syntax of
/// labels).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Option<Box<str>>);

impl Labels {
    /// Labels, ascending by key.
    pub fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let lines: Vec<String> = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        Labels((!lines.is_empty()).then(|| lines.join("\n").into()))
    }

    /// As selectors look at them.
    pub fn to_map(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        let lines = self.0.iter().flat_map(|text| text.split('\n'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        pairs.map(|(key, value)| (key.into(), value.into())).collect()
    }
}
