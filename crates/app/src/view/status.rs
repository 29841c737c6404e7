//! Status as Kubernetes documents.

pub(crate) use status_json::document;
