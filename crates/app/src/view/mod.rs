//! Results as JSON, YAML and tables: conversion happens here, at the edge, and nowhere else.

pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod ir;
pub(crate) mod metrics;
pub(crate) mod policy;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod xds;

use std::io::Write;

use serde::Serialize;

/// Format of structured output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// YAML; several documents are separated by `---`.
    Yaml,
    /// JSON, indented.
    Json,
}

/// Format of what has a form for people as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// Lines for people.
    Table,
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
}

/// Prints one value.
pub(crate) fn print(value: &impl Serialize, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => serde_yaml_ng::to_string(value)?,
        Format::Json => serde_json::to_string_pretty(value)? + "\n",
    };
    write_out(text.as_bytes())
}

/// Prints a list: a JSON array, or YAML documents one after the other.
pub(crate) fn print_documents(values: &[serde_json::Value], format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => print(&values, format),
        Format::Yaml => {
            let documents: Result<Vec<String>, _> = values.iter().map(serde_yaml_ng::to_string).collect();
            write_out(documents?.join("---\n").as_bytes())
        }
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn write_out(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
