//! Judges documents as an API server would: strict decoding, defaults, schema and CEL.
//!
//! Two steps: [`documents`] splits a text into documents, [`Admission::admit`] makes each a typed object or says what
//! is wrong with it. Everything comes from the schemas of crate `api`; the few rules that API servers keep in code
//! (names, ports, addresses) are written here.
//!
//! **Invariant:** no input makes this crate panic, and no value of a Secret appears in a message.

mod admit;
mod config;
mod core_rules;
mod documents;
mod finding;
mod kind;
mod mend;
mod metadata;
mod names;
mod path;
mod rules;
mod structure;
#[cfg(test)]
mod tests;
mod words;

pub use admit::{Admission, UnknownFields, Verdict};
pub use documents::{Document, MAX_ALIASED, MAX_DEPTH, MAX_TEXT, SyntaxError, documents};
