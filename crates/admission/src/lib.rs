//! Judges documents as an API server would: strict decoding, defaults, schema and CEL.

mod documents;

pub use documents::{Document, MAX_ALIASED, MAX_DEPTH, MAX_TEXT, SyntaxError, documents};
