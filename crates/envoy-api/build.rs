//! Prepares the descriptors of Envoy's messages, from the set that the `envoy-types` package ships beside its types.
//!
//! Two files go to `OUT_DIR`, so that nothing of Envoy's is copied into this repository:
//! - `descriptors.bin`: the set without its comments, for the JSON mapping;
//! - `maps.rs`: where maps are inside each message, for deterministic encoding without loading the descriptors.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PACKAGE: &str = "envoy-types";
const ANY: &str = "google.protobuf.Any";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let (folder, version) = package(&out)?;
    let source = folder.join("src/generated/types.bin");
    println!("cargo:rerun-if-changed={}", source.display());
    // A test compares it with the lock file: cargo runs no build script again because a dependency moved.
    println!("cargo:rustc-env=ENVOY_TYPES_VERSION={version}");

    let set = fs::read(&source).map_err(|error| format!("{}: {error}", source.display()))?;
    let mut set = without_comments(&set)?;
    append(&mut set, &cel_matcher().encode_to_vec())?;
    fs::write(out.join("maps.rs"), Maps::read(&set)?.source()?)?;
    fs::write(out.join("descriptors.bin"), set)?;
    Ok(())
}

/// The folder and version of the package, as cargo resolved it for the workspace: works with a registry and a vendored
/// copy alike.
fn package(out: &Path) -> Result<(PathBuf, String)> {
    let manifest_folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    // Asked about the workspace, cargo would want every package of every member at hand, also those that this build
    // does not use and so has not downloaded. So ask about a package that uses nothing else, under the same lock.
    let probe = out.join("probe");
    fs::create_dir_all(probe.join("src"))?;
    fs::write(probe.join("src/lib.rs"), "")?;
    let manifest = probe.join("Cargo.toml");
    let text = "[package]\nname = \"probe\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n";
    fs::write(&manifest, format!("{text}{PACKAGE} = \"*\"\n"))?;
    if let Some(lock) =
        manifest_folder.ancestors().map(|folder| folder.join("Cargo.lock")).find(|lock| lock.exists())
    {
        // Written anew, not copied with its mode: cargo drops from it what the probe does not use.
        fs::write(probe.join("Cargo.lock"), fs::read(lock)?)?;
    }
    let output = Command::new(env::var("CARGO")?)
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform"])
        .arg(env::var("TARGET")?)
        .arg("--manifest-path")
        .arg(&manifest)
        // Cargo's configuration, with its registries, is found from the working folder upwards.
        .current_dir(&manifest_folder)
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let found = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == PACKAGE)
        .ok_or_else(|| format!("cargo metadata names no {PACKAGE}"))?;
    let manifest = found["manifest_path"].as_str().ok_or("a package without its manifest's path")?;
    let version = found["version"].as_str().ok_or("a package without a version")?;
    Ok((Path::new(manifest).parent().ok_or("a manifest outside any folder")?.to_owned(), version.to_owned()))
}

/// The descriptor set without `source_code_info`, which is four fifths of it.
///
/// Cut from the bytes: decoding into `prost_types` would drop the options that are extensions, which mark secrets.
fn without_comments(set: &[u8]) -> Result<Vec<u8>> {
    const FILE: u64 = 1;
    const SOURCE_CODE_INFO: u64 = 9;
    let mut out = Vec::with_capacity(set.len() / 4);
    for field in fields(set)? {
        if field.number != FILE {
            return Err(format!("field {} in a descriptor set", field.number).into());
        }
        let mut file = Vec::new();
        for inner in fields(field.payload)? {
            if inner.number != SOURCE_CODE_INFO {
                file.extend_from_slice(inner.whole);
            }
        }
        append(&mut out, &file)?;
    }
    Ok(out)
}

/// Adds a file to the bytes of a set.
fn append(set: &mut Vec<u8>, file: &[u8]) -> Result<()> {
    set.push(0x0a); // Field 1, length-delimited.
    prost::encode_length_delimiter(file.len(), set)?;
    set.extend_from_slice(file);
    Ok(())
}

/// The messages of `src/cel_matcher.rs`, which the package lacks.
fn cel_matcher() -> FileDescriptorProto {
    let field =
        |name: &str, json_name: &str, number, kind: Type, type_name: Option<&str>| FieldDescriptorProto {
            name: Some(name.to_owned()),
            json_name: Some(json_name.to_owned()),
            number: Some(number),
            label: Some(Label::Optional.into()),
            r#type: Some(kind.into()),
            type_name: type_name.map(str::to_owned),
            ..Default::default()
        };
    let matcher = DescriptorProto {
        name: Some("CelMatcher".to_owned()),
        field: vec![
            field("expr_match", "exprMatch", 1, Type::Message, Some(".xds.type.v3.CelExpression")),
            field("description", "description", 2, Type::String, None),
        ],
        ..Default::default()
    };
    let input =
        DescriptorProto { name: Some("HttpAttributesCelMatchInput".to_owned()), ..Default::default() };
    FileDescriptorProto {
        name: Some("ferrogate/cel_matcher.proto".to_owned()),
        package: Some("xds.type.matcher.v3".to_owned()),
        dependency: vec!["xds/type/v3/cel.proto".to_owned()],
        message_type: vec![matcher, input],
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    }
}

struct Field<'a> {
    number: u64,
    /// Tag, length and payload.
    whole: &'a [u8],
    /// The payload of a length-delimited field; empty for others.
    payload: &'a [u8],
}

/// The fields of a message's bytes, of the wire types that descriptors have.
fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = rest;
        let tag = prost::decode_length_delimiter(&mut rest)? as u64;
        let payload = match tag & 7 {
            0 => {
                prost::decode_length_delimiter(&mut rest)?;
                &[]
            }
            2 => {
                let length = prost::decode_length_delimiter(&mut rest)?;
                let (payload, after) = rest.split_at_checked(length).ok_or("a field longer than its file")?;
                rest = after;
                payload
            }
            other => return Err(format!("wire type {other} in a descriptor set").into()),
        };
        fields.push(Field { number: tag >> 3, whole: &start[..start.len() - rest.len()], payload });
    }
    Ok(fields)
}

/// What a field leads to, as far as maps go.
#[derive(Clone)]
enum Nested {
    Message(String),
    Any,
    Map,
    MapOfMessages(String),
    MapOfAny,
}

/// By message: its fields that are maps or may hold one further down. `Any` may hold anything.
struct Maps(BTreeMap<String, BTreeMap<i32, Nested>>);

impl Maps {
    fn read(set: &[u8]) -> Result<Self> {
        let set = FileDescriptorSet::decode(set)?;
        let mut messages = BTreeMap::new();
        for file in &set.file {
            for message in &file.message_type {
                collect(&format!("{}.{}", file.package(), message.name()), message, &mut messages);
            }
        }
        let mut maps = Self(messages);
        maps.prune();
        Ok(maps)
    }

    /// Keeps only what leads to a map: from the maps backwards until nothing more is found.
    fn prune(&mut self) {
        let mut leads: BTreeSet<String> = BTreeSet::new();
        loop {
            let before = leads.len();
            for (name, fields) in &self.0 {
                let direct = |nested: &Nested| !matches!(nested, Nested::Message(to) if !leads.contains(to));
                if fields.values().any(direct) {
                    leads.insert(name.clone());
                }
            }
            if leads.len() == before {
                break;
            }
        }
        self.0.retain(|name, fields| {
            fields.retain(|_, nested| !matches!(nested, Nested::Message(to) if !leads.contains(to)));
            for nested in fields.values_mut() {
                if matches!(nested, Nested::MapOfMessages(to) if !leads.contains(to)) {
                    *nested = Nested::Map;
                }
            }
            leads.contains(name)
        });
    }

    /// The table as Rust source; messages in the order of their names, named by their place in it.
    fn source(&self) -> Result<String> {
        let place: BTreeMap<&str, usize> =
            self.0.keys().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
        let index = |name: &String| place.get(name.as_str()).ok_or_else(|| format!("{name} is missing"));
        let mut source = String::from("static MESSAGES: &[(&str, &[(u32, Nested)])] = &[\n");
        for (name, fields) in &self.0 {
            write!(source, "({name:?}, &[")?;
            for (number, nested) in fields {
                match nested {
                    Nested::Message(to) => write!(source, "({number}, Nested::Message({})), ", index(to)?)?,
                    Nested::Any => write!(source, "({number}, Nested::Any), ")?,
                    Nested::Map => write!(source, "({number}, Nested::Map), ")?,
                    Nested::MapOfMessages(to) => {
                        write!(source, "({number}, Nested::MapOfMessages({})), ", index(to)?)?;
                    }
                    Nested::MapOfAny => write!(source, "({number}, Nested::MapOfAny), ")?,
                }
            }
            source.push_str("]),\n");
        }
        source.push_str("];\n");
        Ok(source)
    }
}

/// Adds a message and those declared inside it.
fn collect(name: &str, message: &DescriptorProto, into: &mut BTreeMap<String, BTreeMap<i32, Nested>>) {
    let entries: BTreeMap<String, Option<String>> = message
        .nested_type
        .iter()
        .filter(|nested| nested.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry))
        .map(|entry| {
            let value = entry.field.iter().find(|field| field.number() == 2);
            let value = value.map(|field| message_type(field.type_name())).filter(|name| !name.is_empty());
            (format!("{name}.{}", entry.name()), value)
        })
        .collect();
    let mut fields = BTreeMap::new();
    for field in &message.field {
        let target = message_type(field.type_name());
        // The type name of an enum names no message; it is pruned as one that leads nowhere.
        let nested = match entries.get(&target) {
            Some(Some(value)) if value == ANY => Nested::MapOfAny,
            Some(Some(value)) => Nested::MapOfMessages(value.clone()),
            Some(None) => Nested::Map,
            None if target == ANY => Nested::Any,
            None if target.is_empty() => continue,
            None => Nested::Message(target),
        };
        fields.insert(field.number(), nested);
    }
    into.insert(name.to_owned(), fields);
    for nested in &message.nested_type {
        let nested_name = format!("{name}.{}", nested.name());
        if !entries.contains_key(&nested_name) {
            collect(&nested_name, nested, into);
        }
    }
}

/// A type's full name without the leading dot.
fn message_type(type_name: &str) -> String {
    type_name.trim_start_matches('.').to_owned()
}
