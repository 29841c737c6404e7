//! Judges documents as an API server would: strict decoding, defaults, schema and CEL.
