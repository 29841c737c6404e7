//! Judges Envoy Gateway's configuration file.

use api::config::EnvoyGateway;
use ir::{Problem, Severity, problem::Subject};
use serde::Deserialize;

use crate::{
    Admission, UnknownFields, documents,
    finding::{Finding, reason},
    kind::Compiled,
};

impl Admission {
    /// Reads Envoy Gateway's configuration file. Unknown fields are refused; what is not there has its default.
    ///
    /// # Errors
    ///
    /// All that is wrong, each with the path of the field.
    pub fn config(&self, text: &str) -> Result<EnvoyGateway, Vec<Problem>> {
        let subject = Subject {
            api_version: "gateway.envoyproxy.io/v1alpha1".to_owned(),
            kind: "EnvoyGateway".to_owned(),
            namespace: None,
            name: String::new(),
        };
        self.read_config(text)
            .map_err(|findings| findings.into_iter().map(|finding| finding.into_problem(&subject)).collect())
    }

    fn read_config(&self, text: &str) -> Result<EnvoyGateway, Vec<Finding>> {
        let refused = |field: &str, reason, message: String| vec![Finding::rejected(field, reason, message)];
        let documents = documents(text).map_err(|error| refused("", reason::INVALID, error.to_string()))?;
        let [document] = documents.as_slice() else {
            let message = format!("the file must hold one document, not {}", documents.len());
            return Err(refused("", reason::INVALID, message));
        };
        let mut value = document.value.clone();
        let compiled = self.config.get_or_init(|| Compiled::new(api::config::schema(), false));
        let compiled = compiled.as_ref().map_err(|error| refused("", reason::INVALID, error.clone()))?;
        let mut findings = Vec::new();
        compiled.judge(&mut value, UnknownFields::Refuse, &self.functions, false, &mut findings);
        if findings.iter().any(|finding| finding.severity == Severity::Rejected) {
            return Err(findings);
        }
        EnvoyGateway::deserialize(&value).map_err(|error| refused("", reason::TYPE, error.to_string()))
    }
}
