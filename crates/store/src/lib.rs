//! Facts: Kubernetes objects lowered to what translation needs, with the indexes that are facts too.
//!
//! [`Store::apply`] takes a [`ChangeSet`] as one transaction and returns the [`FactKey`]s that it touched. Objects are
//! lowered at this edge and dropped; equality of the lowered fact decides whether anything was touched at all, so an
//! annotation or a managed field that nobody reads wakes nobody.
//!
//! **Invariant:** lowering never fails. What a schema cannot exclude (a route to an unknown kind, an unreadable
//! certificate) is kept in the fact and judged by translation, where a condition can say so.

mod bundle;
mod certificate;
mod crl;
pub mod facts;
mod lower;
mod policies;
mod settings;
mod store;

pub use bundle::{Authority, Bundle, BundleError};
pub use certificate::{
    Certificate, CertificateError, Curve, KeyAlgorithm, NameIndex, Validity, dns_name_matches, names_overlap,
    parse as parse_certificate,
};
pub use crl::{Revocations, RevocationsError};
pub use facts::Fact;
pub use lower::{applied_selector, references};
pub use settings::{DEFAULT_CONTROLLER_NAME, Infrastructure, SYSTEM_AUTHORITIES_FILE, Settings};
pub use store::{Addresses, ChangeSet, FactKey, NameId, ObjectId, Store};
