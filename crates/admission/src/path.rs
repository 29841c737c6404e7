//! Paths of fields, such as `spec.rules[0].filters[1].type`.

use std::fmt;

use serde_json::Value;

/// A path as a chain of steps towards the root, so that walking costs no allocation.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(parent, name) => {
                parent.fmt(f)?;
                field(f, name, matches!(parent, Path::Root))
            }
            Path::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Names of fields are joined with dots; keys of maps that are no such names stand in brackets, as API servers write.
fn field(f: &mut impl fmt::Write, name: &str, first: bool) -> fmt::Result {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) || name.is_empty() {
        write!(f, "[{name}]")
    } else if first {
        f.write_str(name)
    } else {
        write!(f, ".{name}")
    }
}

/// The path that a JSON pointer (RFC 6901) takes through a document, and the value it leads to.
pub(crate) fn follow<'v>(pointer: &str, document: &'v Value) -> (String, Option<&'v Value>) {
    let mut path = String::new();
    let mut at = Some(document);
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let index = at.filter(|value| value.is_array()).and_then(|_| step.parse::<usize>().ok());
        match index {
            Some(index) => {
                path.push_str(&format!("[{index}]"));
                at = at.and_then(|value| value.get(index));
            }
            None => {
                let first = path.is_empty();
                // Writing to a String cannot fail.
                let _ = field(&mut path, &step, first);
                at = at.and_then(|value| value.get(&step));
            }
        }
    }
    (path, at)
}

/// The path of a field below a path.
pub(crate) fn join(path: &str, name: &str) -> String {
    let mut joined = path.to_owned();
    // Writing to a String cannot fail.
    let _ = field(&mut joined, name, path.is_empty());
    joined
}
