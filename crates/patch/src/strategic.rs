//! Kubernetes' strategic merge patch: a JSON merge whose lists may be merged member by member, with directives.

use std::fmt;

use serde_json::{Map, Value};

/// What a map or a member of a list shall become.
const DIRECTIVE: &str = "$patch";
/// Values to take out of a list of plain values; the name of the list follows.
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
/// Order of a list; the name of the list follows. It says nothing that the result depends on.
const ELEMENT_ORDER: &str = "$setElementOrder/";
/// Fields of a map to keep; all others go.
const RETAIN_KEYS: &str = "$retainKeys";
/// Maps inside of maps, at most. Documents are admitted before they come here; this is for those that were not.
const MAX_DEPTH: usize = 128;

/// How the lists of a kind of object are merged.
pub trait MergeKeys {
    /// What becomes of the list in field `field` of a map that is itself in field `parent` (empty at the top).
    fn of(&self, parent: &str, field: &str) -> ListMerge;
}

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMerge {
    /// The patch's list replaces it.
    Replace,
    /// Members are maps, found by this field.
    ByKey(&'static str),
    /// Members are plain values; the patch's are added.
    Union,
}

/// Kinds whose lists are all replaced, as Envoy Gateway's own are.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplaceLists;

impl MergeKeys for ReplaceLists {
    fn of(&self, _: &str, _: &str) -> ListMerge {
        ListMerge::Replace
    }
}

/// Why a patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where in the patch, such as `spec.template.spec.containers`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for Error {}

/// Applies a strategic merge patch.
///
/// # Errors
///
/// When a directive is unknown, or a member of a list that is merged by key has none. `target` is then half changed.
pub fn strategic_merge(target: &mut Value, patch: &Value, keys: &dyn MergeKeys) -> Result<(), Error> {
    let Value::Object(changes) = patch else {
        return Err(Error { path: String::new(), message: "the patch must be an object".to_owned() });
    };
    let merge = Merge { keys };
    merge.value(target, changes, Place { path: "", field: "", depth: 0 })
}

/// Where in the document a merge is.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a str,
    /// Name of the field that holds the map.
    field: &'a str,
    depth: usize,
}

impl Place<'_> {
    fn error(self, message: impl Into<String>) -> Error {
        Error { path: self.path.to_owned(), message: message.into() }
    }
}

struct Merge<'a> {
    keys: &'a dyn MergeKeys,
}

impl Merge<'_> {
    /// Merges a map into whatever is there.
    fn value(&self, target: &mut Value, changes: &Map<String, Value>, place: Place<'_>) -> Result<(), Error> {
        if place.depth > MAX_DEPTH {
            return Err(place.error("nested too deeply"));
        }
        match directive(changes, place)? {
            Directive::Delete => *target = Value::Object(Map::new()),
            Directive::Replace => {
                let mut new = changes.clone();
                new.remove(DIRECTIVE);
                *target = Value::Object(new);
            }
            Directive::Merge => {
                if !target.is_object() {
                    *target = Value::Object(Map::new());
                }
                let Value::Object(fields) = target else { return Ok(()) };
                self.fields(fields, changes, place)?;
            }
        }
        Ok(())
    }

    fn fields(
        &self,
        fields: &mut Map<String, Value>,
        changes: &Map<String, Value>,
        place: Place<'_>,
    ) -> Result<(), Error> {
        if let Some(Value::Array(kept)) = changes.get(RETAIN_KEYS) {
            fields.retain(|key, _| kept.iter().any(|k| k == key));
        }
        for (key, change) in changes {
            if let Some(list) = key.strip_prefix(DELETE_PRIMITIVES) {
                let (Some(Value::Array(list)), Value::Array(gone)) = (fields.get_mut(list), change) else {
                    continue;
                };
                list.retain(|member| !gone.contains(member));
                continue;
            }
            if key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(ELEMENT_ORDER) {
                continue;
            }
            let path = if place.path.is_empty() { key.clone() } else { format!("{}.{key}", place.path) };
            let inner = Place { path: &path, field: key, depth: place.depth + 1 };
            match change {
                Value::Null => drop(fields.remove(key)),
                Value::Object(change) => {
                    if matches!(directive(change, inner)?, Directive::Delete) {
                        fields.remove(key);
                    } else {
                        self.value(fields.entry(key.clone()).or_insert(Value::Null), change, inner)?;
                    }
                }
                Value::Array(change) => match self.keys.of(place.field, key) {
                    ListMerge::Replace => drop(fields.insert(key.clone(), Value::Array(change.clone()))),
                    merge => {
                        let list = fields.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
                        if !list.is_array() {
                            *list = Value::Array(Vec::new());
                        }
                        let Value::Array(list) = list else { continue };
                        match merge {
                            ListMerge::ByKey(name) => self.members(list, change, name, inner)?,
                            _ => union(list, change),
                        }
                    }
                },
                _ => drop(fields.insert(key.clone(), change.clone())),
            }
        }
        Ok(())
    }

    /// Merges a list whose members are found by the field `name`. Members stand as Kubernetes would have them: those of
    /// the patch in its order, before each of them those others that stood before it.
    fn members(
        &self,
        list: &mut Vec<Value>,
        changes: &[Value],
        name: &str,
        place: Place<'_>,
    ) -> Result<(), Error> {
        let mut members = Vec::with_capacity(changes.len());
        for change in changes {
            let Value::Object(member) = change else {
                return Err(place.error(format!("each member must be an object with the field {name:?}")));
            };
            members.push((member, directive(member, place)?));
        }
        // A member with nothing but this directive asks for the patch's list instead of the one that is there.
        if members
            .iter()
            .any(|(member, directive)| *directive == Directive::Replace && !member.contains_key(name))
        {
            list.clear();
            members.retain(|(member, _)| member.contains_key(name));
        }
        let before = list.clone();
        let named = |value: &Value| value.get(name).cloned();
        let patched: Vec<Value> =
            members.iter().filter_map(|(member, _)| member.get(name).cloned()).collect();
        for (member, directive) in members {
            let Some(key) = member.get(name) else {
                return Err(
                    place.error(format!("a member without the field {name:?}, by which members are found"))
                );
            };
            let position = list.iter().position(|there| there.get(name) == Some(key));
            match (directive, position) {
                (Directive::Delete, Some(position)) => drop(list.remove(position)),
                (Directive::Delete, None) => {}
                (_, Some(position)) => self.value(&mut list[position], member, place)?,
                (_, None) => {
                    let mut new = Value::Null;
                    self.value(&mut new, member, place)?;
                    list.push(new);
                }
            }
        }
        let old = |value: &Value| before.iter().position(|other| named(other) == named(value));
        let new = |value: &Value| patched.iter().position(|key| Some(key) == value.get(name));
        let (mut ours, others): (Vec<Value>, Vec<Value>) =
            list.drain(..).partition(|value| new(value).is_some());
        ours.sort_by_key(new);
        let mut others = others.into_iter().peekable();
        for value in ours {
            while let Some(other) =
                others.next_if(|other| old(&value).is_some_and(|at| old(other) < Some(at)))
            {
                list.push(other);
            }
            list.push(value);
        }
        list.extend(others);
        Ok(())
    }
}

/// What [`DIRECTIVE`] asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(map: &Map<String, Value>, place: Place<'_>) -> Result<Directive, Error> {
    match map.get(DIRECTIVE).map(Value::as_str) {
        None | Some(Some("merge")) => Ok(Directive::Merge),
        Some(Some("replace")) => Ok(Directive::Replace),
        Some(Some("delete")) => Ok(Directive::Delete),
        Some(_) => Err(place.error(format!("{DIRECTIVE} must be merge, replace or delete"))),
    }
}

fn union(list: &mut Vec<Value>, changes: &[Value]) {
    for change in changes {
        if !list.contains(change) {
            list.push(change.clone());
        }
    }
}
