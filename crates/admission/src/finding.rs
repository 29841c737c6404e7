//! What is found wrong, before it is known whose object it is.

use ir::{Problem, Severity, problem::Subject};

/// Reasons, in the words of Kubernetes' own field errors.
pub(crate) mod reason {
    pub(crate) const REQUIRED: &str = "FieldValueRequired";
    pub(crate) const INVALID: &str = "FieldValueInvalid";
    pub(crate) const TYPE: &str = "FieldValueTypeInvalid";
    pub(crate) const NOT_SUPPORTED: &str = "FieldValueNotSupported";
    pub(crate) const DUPLICATE: &str = "FieldValueDuplicate";
    pub(crate) const TOO_LONG: &str = "FieldValueTooLong";
    pub(crate) const TOO_MANY: &str = "FieldValueTooMany";
    pub(crate) const UNKNOWN_FIELD: &str = "UnknownField";
    pub(crate) const UNKNOWN_KIND: &str = "UnknownKind";

    /// Failures after which an API server does not try CEL rules, because they would only repeat it in worse words.
    pub(crate) const BLOCKING: [&str; 5] = [NOT_SUPPORTED, REQUIRED, TOO_LONG, TOO_MANY, TYPE];
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) field: String,
    pub(crate) severity: Severity,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Finding {
    /// A failure for which the object is refused.
    pub(crate) fn rejected(
        field: impl Into<String>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Finding {
        Finding { field: field.into(), severity: Severity::Rejected, reason, message: message.into() }
    }

    pub(crate) fn into_problem(self, object: &Subject) -> Problem {
        Problem {
            object: object.clone(),
            field: self.field,
            severity: self.severity,
            condition: String::new(),
            reason: self.reason.to_owned(),
            message: self.message,
        }
    }
}
