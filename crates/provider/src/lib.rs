//! Where objects come from and where status goes: files now, the API server next.

pub mod file;
