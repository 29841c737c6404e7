//! What all objects of a fleet have in common.

use std::collections::BTreeMap;

use ir::{
    Kind,
    infra::{DeployMode, Identity, Owner, Wish},
};
use serde_json::{Map, Value, json};

use crate::{Context, ObjectKind, RenderedObject, names, parameters::Parameters};

/// A wish with what is derived from it once.
pub(crate) struct Fleet<'a> {
    pub wish: &'a Wish,
    pub context: &'a Context<'a>,
    pub parameters: &'a Parameters,
    /// Name of its objects, where no EnvoyProxy gives another.
    pub name: String,
    /// Namespace of its objects.
    pub namespace: String,
    /// Labels of its objects and Pods.
    pub labels: BTreeMap<String, String>,
    /// Labels that select its Pods.
    pub selector: BTreeMap<String, String>,
    /// Annotations of its objects and Pods.
    pub annotations: BTreeMap<String, String>,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(wish: &'a Wish, context: &'a Context<'a>, parameters: &'a Parameters) -> Self {
        let installation = context.installation;
        let mode = mode(wish, context);
        Fleet {
            wish,
            context,
            parameters,
            name: names::object_name(wish, mode),
            namespace: match mode {
                DeployMode::ControllerNamespace => installation.controller_namespace.to_string(),
                DeployMode::GatewayNamespace => wish.owner.identity().object.namespace.to_string(),
            },
            labels: names::object_labels(wish, mode),
            selector: names::selector_labels(&wish.owner),
            annotations: wish.annotations.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        }
    }

    /// Whether Pods run beside their Gateway and prove themselves by a token.
    pub(crate) fn beside_gateway(&self) -> bool {
        mode(self.wish, self.context) == DeployMode::GatewayNamespace
    }

    /// DNS name of the control plane, without a dot at its end. It is the audience of tokens too.
    pub(crate) fn controller_host(&self) -> String {
        let installation = self.context.installation;
        format!(
            "{}.{}.svc.{}",
            names::CONTROLLER_SERVICE,
            installation.controller_namespace,
            installation.dns_domain
        )
    }

    /// Name of the ServiceAccount.
    pub(crate) fn service_account(&self) -> &str {
        let account = self.parameters.kubernetes.envoy_service_account.as_ref();
        account.and_then(|account| account.name.as_deref()).unwrap_or(&self.name)
    }

    /// An object with metadata and these further fields.
    pub(crate) fn object(&self, kind: ObjectKind, name: &str, fields: Map<String, Value>) -> RenderedObject {
        self.object_with(kind, name, (&self.labels, &self.annotations), fields)
    }

    /// An object with labels and annotations of its own.
    pub(crate) fn object_with(
        &self,
        kind: ObjectKind,
        name: &str,
        (labels, annotations): (&BTreeMap<String, String>, &BTreeMap<String, String>),
        fields: Map<String, Value>,
    ) -> RenderedObject {
        let mut metadata = json!({ "name": name, "namespace": self.namespace, "labels": labels });
        if !annotations.is_empty() {
            metadata["annotations"] = json!(annotations);
        }
        if let Some(owner) = self.owner_reference() {
            metadata["ownerReferences"] = json!([owner]);
        }
        let mut body = json!({ "apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata });
        if let Value::Object(body) = &mut body {
            body.extend(fields);
        }
        RenderedObject { kind, namespace: self.namespace.clone(), name: name.to_owned(), body }
    }

    /// What the garbage collector goes by: an owner must be in the same namespace or in none, so it is the class for
    /// objects in the control plane's namespace. `None` where there is no API server.
    fn owner_reference(&self) -> Option<Value> {
        let Identity { object, uid } =
            if self.beside_gateway() { self.wish.owner.identity() } else { &self.wish.class };
        (!uid.is_empty()).then(|| {
            json!({ "apiVersion": object.kind.api_version(), "kind": object.kind.name(), "name": object.name, "uid": uid })
        })
    }
}

/// Merged Gateways have no namespace in common, so their proxies stay with the control plane.
fn mode(wish: &Wish, context: &Context<'_>) -> DeployMode {
    match &wish.owner {
        Owner::Gateway(identity) if identity.object.kind == Kind::Gateway => context.installation.mode,
        _ => DeployMode::ControllerNamespace,
    }
}

/// The fields of an object literal; empty for anything else.
pub(crate) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
