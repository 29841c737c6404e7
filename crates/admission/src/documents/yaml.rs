//! YAML documents, from the parser's events.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::{Document, MAX_ALIASED, MAX_DEPTH, SyntaxError, scalar};

/// Reads all documents of a text.
pub(super) fn read(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: Vec::new(), aliased: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                // Anchors live no longer than their document.
                reader.anchors.clear();
                reader.aliased = 0;
                let (event, span) = reader.next()?;
                let value = reader.value(event, span.start, 0)?;
                documents.push(Document { value, line: span.start.line().max(1) });
            }
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            _ => return Err(error(span.start, "a document was expected here")),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// Values with an anchor, and of how many values they consist.
    anchors: Vec<(usize, Value, usize)>,
    /// How many values aliases have added to this document.
    aliased: usize,
}

fn error(at: Marker, message: impl Into<String>) -> SyntaxError {
    SyntaxError { line: at.line().max(1), column: at.col() + 1, message: message.into() }
}

fn scan_error(from: &ScanError) -> SyntaxError {
    error(*from.marker(), from.info())
}

/// The part of a core tag behind `tag:yaml.org,2002:`.
fn core_tag<'t>(tag: Option<&'t Cow<'_, Tag>>) -> Option<&'t str> {
    tag.map(|tag| if tag.is_yaml_core_schema() { tag.suffix.as_str() } else { "" })
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(from)) => Err(scan_error(&from)),
            None => Ok((Event::StreamEnd, Span::empty(Marker::new(0, 1, 0)))),
        }
    }

    /// The value that begins with this event. Recursion is bounded by [`MAX_DEPTH`].
    fn value(&mut self, event: Event<'a>, at: Marker, depth: usize) -> Result<Value, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(error(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar_value(&text, style, tag.as_ref(), at)?)
            }
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_ref(), "seq", at)?;
                (anchor, self.sequence(depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_ref(), "map", at)?;
                (anchor, self.mapping(depth)?)
            }
            Event::Alias(anchor) => return self.alias(anchor, at),
            _ => return Err(error(at, "a value was expected here")),
        };
        if anchor > 0 {
            let size = size(&value);
            self.aliased(size, at)?;
            self.anchors.push((anchor, value.clone(), size));
        }
        Ok(value)
    }

    fn collection_tag(
        &self,
        tag: Option<&Cow<'_, Tag>>,
        expected: &str,
        at: Marker,
    ) -> Result<(), SyntaxError> {
        match core_tag(tag) {
            None => Ok(()),
            Some(name) if name == expected => Ok(()),
            Some(_) => Err(error(at, "this tag has no meaning here")),
        }
    }

    fn alias(&mut self, anchor: usize, at: Marker) -> Result<Value, SyntaxError> {
        let found = self.anchors.iter().rev().find(|(id, ..)| *id == anchor);
        let Some((_, value, size)) = found.map(|(id, value, size)| (id, value.clone(), *size)) else {
            return Err(error(at, "an alias must not stand within the value it names"));
        };
        self.aliased(size, at)?;
        Ok(value)
    }

    fn aliased(&mut self, size: usize, at: Marker) -> Result<(), SyntaxError> {
        self.aliased = self.aliased.saturating_add(size);
        if self.aliased > MAX_ALIASED {
            return Err(error(at, format!("anchors and aliases add more than {MAX_ALIASED} values")));
        }
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            items.push(self.value(event, span.start, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut map = Map::new();
        let mut merges = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if *text == "<<");
            let key = if merge { None } else { Some(self.key(event, span.start)?) };
            let (event, value_span) = self.next()?;
            let value = self.value(event, value_span.start, depth + 1)?;
            match key {
                None => merges.push((value, span.start)),
                Some(key) if map.contains_key(&key) => {
                    return Err(error(span.start, format!("the key {key:?} stands twice")));
                }
                Some(key) => {
                    map.insert(key, value);
                }
            }
        }
        for (value, at) in merges {
            merge(&mut map, value, at)?;
        }
        Ok(Value::Object(map))
    }

    fn key(&mut self, event: Event<'a>, at: Marker) -> Result<String, SyntaxError> {
        let value = match event {
            Event::Scalar(text, ScalarStyle::Plain, 0, None) => match scalar::plain(&text) {
                Some(Value::Number(_)) | None => return Ok(text.into_owned()),
                Some(value) => value,
            },
            Event::Scalar(..) | Event::Alias(_) => self.value(event, at, MAX_DEPTH)?,
            _ => return Err(error(at, "a key must be text")),
        };
        match value {
            Value::String(text) => Ok(text),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(error(at, "a key must be text")),
        }
    }
}

/// Adds the entries of a `<<` value; keys that stand in the mapping itself go before them.
fn merge(map: &mut Map<String, Value>, from: Value, at: Marker) -> Result<(), SyntaxError> {
    match from {
        Value::Object(entries) => {
            for (key, value) in entries {
                map.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(maps) if maps.iter().all(Value::is_object) => {
            maps.into_iter().try_for_each(|each| merge(map, each, at))
        }
        _ => Err(error(at, "`<<` merges a mapping or a list of mappings")),
    }
}

fn scalar_value(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Cow<'_, Tag>>,
    at: Marker,
) -> Result<Value, SyntaxError> {
    let string = || Value::String(text.to_owned());
    match core_tag(tag) {
        None if style == ScalarStyle::Plain => {
            scalar::plain(text).ok_or_else(|| error(at, format!("{text} has no form in JSON")))
        }
        None | Some("str") => Ok(string()),
        Some(name) => {
            let value = match name {
                "int" => scalar::integer(text),
                "float" => scalar::float(text),
                "bool" => scalar::plain(text).filter(Value::is_boolean),
                "null" => Some(Value::Null),
                "timestamp" | "binary" => Some(string()),
                _ => return Err(error(at, "this tag has no meaning here")),
            };
            value.ok_or_else(|| error(at, format!("the value does not fit its tag !!{name}")))
        }
    }
}

/// Of how many values a value consists, itself included.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(entries) => 1 + entries.values().map(size).sum::<usize>(),
        _ => 1,
    }
}
