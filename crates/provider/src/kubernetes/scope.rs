//! Which namespaces count.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{
    LabelSelector,
    config::{KubernetesProvider, KubernetesWatchModeType},
};

/// The namespaces whose objects count (`provider.kubernetes.watch`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    #[default]
    All,
    /// These; of the control plane's namespace, Services, EndpointSlices, Secrets and ConfigMaps besides. No other
    /// namespace is asked for, so permissions in these suffice.
    Namespaces(BTreeSet<Arc<str>>),
    /// Those with such labels, as they are now. All are asked for.
    Selector(LabelSelector),
}

impl Scope {
    /// The scope that the configuration asks for.
    pub fn of(provider: &KubernetesProvider) -> Scope {
        let Some(watch) = &provider.watch else { return Scope::All };
        match watch.type_ {
            KubernetesWatchModeType::Namespaces if watch.namespaces.is_empty() => Scope::All,
            KubernetesWatchModeType::Namespaces => {
                Scope::Namespaces(watch.namespaces.iter().map(|name| name.as_str().into()).collect())
            }
            KubernetesWatchModeType::NamespaceSelector => {
                Scope::Selector(watch.namespace_selector.clone().unwrap_or_default())
            }
        }
    }
}

/// Whether labels fulfil a selector, as Kubernetes defines it: an empty one selects everything, and `NotIn` is
/// fulfilled where the label is missing. An unknown operator is fulfilled by nothing.
pub(super) fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    selector.match_labels.iter().all(|(key, wanted)| value(key) == Some(wanted))
        && selector.match_expressions.iter().all(|requirement| {
            let value = value(&requirement.key);
            let listed = value.is_some_and(|value| requirement.values.contains(value));
            match requirement.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
