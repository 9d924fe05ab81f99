//! One record of an input file: named fields in file order, with checks that name file, line, field and mend.

use std::path::Path;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::{Error, Result};

/// Named values of one line, table row or Parquet row.
#[derive(Debug, Clone)]
pub(super) struct Record {
    path: Arc<Path>,
    /// From 1.
    pub(super) line: u64,
    fields: Vec<(String, Value)>,
}

impl Record {
    pub(super) fn new(path: Arc<Path>, line: u64, fields: Vec<(String, Value)>) -> Self {
        Self { path, line, fields }
    }

    /// Parses a line of JSON.
    pub(super) fn parse(path: Arc<Path>, line: u64, text: &str) -> Result<Self> {
        match serde_json::from_str::<Fields>(text) {
            Ok(Fields(fields)) => Ok(Self { path, line, fields }),
            Err(e) => {
                Err(Error::input(&path, line, format!("broken JSON: {}", reason(&e)), mend(text, line)))
            }
        }
    }

    /// Field names in file order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// Whether the field is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The field, unless it is absent or null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(n, v)| n == name && !v.is_null()).map(|(_, v)| v)
    }

    /// Takes the field out, unless it is absent or null.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.iter_mut().find(|(n, v)| n == name && !v.is_null()).map(|(_, v)| v.take())
    }

    /// An error about a field of this record.
    pub(super) fn wrong(&self, field: &str, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::input(&self.path, self.line, problem, help).field(field)
    }

    /// An error about this record as a whole.
    pub(super) fn bad(&self, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::input(&self.path, self.line, problem, help)
    }

    /// The error for a field that is not there, with the nearest name that is.
    pub(super) fn missing(&self, field: &str) -> Error {
        if self.fields.iter().any(|(n, v)| n == field && v.is_null()) {
            return self.wrong(field, "is null", "fill it in, or remove the line");
        }
        let names: Vec<&str> = self.names().collect();
        let help = match nearest(field, &names) {
            Some(near) => format!("did you mean `{near}`? rename it to `{field}`"),
            None => format!("the fields here are {}", listed(&names)),
        };
        self.wrong(field, "is missing", help)
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, name: &str) -> Result<String> {
        self.optional_text(name)?.ok_or_else(|| self.missing(name))
    }

    /// A text, or `None`.
    pub(super) fn optional_text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Array(_)) => {
                Err(self.wrong(name, "is a list, but must be one text", "write one record per text"))
            }
            Some(other) => {
                Err(self.wrong(name, format!("is {}, but must be a text", kind(&other)), "put it in quotes"))
            }
        }
    }

    /// A list of texts that must be there.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>> {
        self.optional_texts(name)?.ok_or_else(|| self.missing(name))
    }

    /// A list of texts, or `None`.
    pub(super) fn optional_texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(list) = self.take(name) else { return Ok(None) };
        let Value::Array(items) = list else { return Err(self.not_a_list(name, &list)) };
        let texts = items.into_iter().enumerate().map(|(i, item)| match item {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(
                name,
                format!("item {} is {}, but must be a text", i + 1, kind(&other)),
                "every item of the list must be a quoted text",
            )),
        });
        texts.collect::<Result<_>>().map(Some)
    }

    /// An id: a text, or a whole number taken as its digits.
    pub(super) fn optional_id(&mut self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        id_of(&value).map(Some).ok_or_else(|| {
            self.wrong(
                name,
                format!("is {}, but must be an id", kind(&value)),
                "ids are texts or whole numbers",
            )
        })
    }

    /// A list of ids that must be there.
    pub(super) fn ids(&mut self, name: &str) -> Result<Vec<String>> {
        let Some(list) = self.take(name) else { return Err(self.missing(name)) };
        let Value::Array(items) = list else { return Err(self.not_a_list(name, &list)) };
        items
            .iter()
            .enumerate()
            .map(|(i, item)| {
                id_of(item).ok_or_else(|| {
                    let problem = format!("item {} is {}, but must be an id", i + 1, kind(item));
                    self.wrong(name, problem, "ids are texts or whole numbers")
                })
            })
            .collect()
    }

    /// Finite numbers, one per document; `None` where the field is absent.
    pub(super) fn scores(&mut self, name: &str, documents: usize) -> Result<Option<Vec<f32>>> {
        let Some(list) = self.take(name) else { return Ok(None) };
        let Value::Array(items) = list else { return Err(self.not_a_list(name, &list)) };
        if items.len() != documents {
            return Err(self.wrong(
                name,
                format!("has {} scores for {documents} documents", items.len()),
                "give one score per document, in the same order",
            ));
        }
        items.iter().map(|item| self.finite(name, item)).collect::<Result<_>>().map(Some)
    }

    /// 0 or 1, as a number, a truth value or (in CSV) digits; `None` where the field is absent.
    pub(super) fn label(&mut self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        self.truth(name, &value).map(Some)
    }

    /// A list of labels, one per document; `None` where the field is absent.
    pub(super) fn labels(&mut self, name: &str, documents: usize) -> Result<Option<Vec<bool>>> {
        let Some(list) = self.take(name) else { return Ok(None) };
        let Value::Array(items) = list else { return Err(self.not_a_list(name, &list)) };
        if items.len() != documents {
            return Err(self.wrong(
                name,
                format!("has {} labels for {documents} documents", items.len()),
                "give one label per document, in the same order",
            ));
        }
        items.iter().map(|item| self.truth(name, item)).collect::<Result<_>>().map(Some)
    }

    /// A list of objects, each as a record of its own; `None` where the field is absent.
    pub(super) fn objects(&mut self, name: &str) -> Result<Option<Vec<Record>>> {
        let Some(list) = self.take(name) else { return Ok(None) };
        let Value::Array(items) = list else { return Err(self.not_a_list(name, &list)) };
        let objects = items.into_iter().enumerate().map(|(i, item)| match item {
            Value::Object(map) => Ok(Self::new(self.path.clone(), self.line, map.into_iter().collect())),
            other => Err(self.wrong(
                name,
                format!("item {} is {}, but must be an object", i + 1, kind(&other)),
                "write each document as {\"text\": …} with its other fields",
            )),
        });
        objects.collect::<Result<_>>().map(Some)
    }

    /// An object's fields; `None` where the field is absent.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Record>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                Ok(Some(Self::new(self.path.clone(), self.line, map.into_iter().collect())))
            }
            Some(other) => Err(self.wrong(
                name,
                format!("is {}, but must be an object", kind(&other)),
                "write {\"system\": [ids], …}",
            )),
        }
    }

    /// A finite number; `None` where the field is absent.
    pub(super) fn optional_score(&mut self, name: &str) -> Result<Option<f32>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        self.finite(name, &value).map(Some)
    }

    /// A whole number of at least 0; `None` where the field is absent.
    pub(super) fn optional_count(&mut self, name: &str) -> Result<Option<u32>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64().and_then(|v| u32::try_from(v).ok()) {
            Some(count) => Ok(Some(count)),
            None => Err(self.wrong(name, format!("is {value}, but must be a whole number"), "count from 0")),
        }
    }

    fn finite(&self, name: &str, value: &Value) -> Result<f32> {
        match value.as_f64() {
            // The narrowing is the point: scores are f32 here, and those that do not fit are refused.
            Some(number) if (number as f32).is_finite() => Ok(number as f32),
            _ => Err(self.wrong(
                name,
                format!("holds {value}, but must be a finite number"),
                "NaN, infinities and texts are not scores",
            )),
        }
    }

    fn truth(&self, name: &str, value: &Value) -> Result<bool> {
        let number = match value {
            Value::Bool(truth) => return Ok(*truth),
            Value::String(digits) => digits.trim().parse().ok(),
            other => other.as_f64(),
        };
        match number {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(self.wrong(
                name,
                format!("is {value}, but must be 1 (positive) or 0 (negative)"),
                "graded labels cannot be split into positives and negatives here",
            )),
        }
    }

    fn not_a_list(&self, name: &str, value: &Value) -> Error {
        let help = match value {
            Value::String(text) => {
                let short: String = text.chars().take(20).collect();
                let dots = if short.len() < text.len() { "…" } else { "" };
                format!("write [{}{dots}]", Value::from(short))
            }
            _ => "write it in brackets: [ … ]".into(),
        };
        self.wrong(name, format!("is {}, but must be a list", kind(value)), help)
    }
}

/// An id from a text or a whole number.
pub(super) fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// The name most like `wanted`, if any is like it at all.
pub(super) fn nearest<'a>(wanted: &str, names: &[&'a str]) -> Option<&'a str> {
    let likeness = |name: &str| {
        let (name, wanted) = (name.to_lowercase(), wanted.to_lowercase());
        let part = name.starts_with(&wanted) || wanted.starts_with(&name);
        if part { 0.9 } else { strsim::normalized_damerau_levenshtein(&name, &wanted) }
    };
    // The first of equals wins: `max_by` would take the last.
    let best = names.iter().rev().map(|n| (likeness(n), *n)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, name)| *likeness >= 0.5 && !name.is_empty()).map(|(_, name)| name)
}

/// Names in backticks, joined by commas.
pub(super) fn listed(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// serde_json's word without its "at line 1 column c": the line in the file is another.
fn reason(error: &serde_json::Error) -> String {
    let word = error.to_string();
    let word = word.rsplit_once(" at line ").map_or(word.as_str(), |(head, _)| head);
    format!("{word} at character {}", error.column())
}

fn mend(text: &str, line: u64) -> &'static str {
    let start = text.trim_start();
    match start.as_bytes().first() {
        Some(b'[') if line == 1 => "the file is one JSON array; write one object per line: jq -c '.[]' FILE",
        Some(b'{') if text.trim_end() == "{" => {
            "the file is one indented JSON document; write one object per line: jq -c . FILE"
        }
        Some(b'{') if text.contains("NaN") || text.contains("Infinity") => {
            "JSON has no NaN and no Infinity; leave the score out"
        }
        Some(b'{') => "each line must be one whole JSON object",
        _ => "the file should hold one JSON object per line; name its format with --from",
    }
}

/// A JSON object with its keys in file order; a key that stands twice is refused.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Fields, A::Error> {
                let mut fields: Vec<(String, Value)> = Vec::with_capacity(map.size_hint().unwrap_or(4));
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.iter().any(|(n, _)| *n == name) {
                        return Err(serde::de::Error::custom(format!("the key `{name}` stands twice")));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
