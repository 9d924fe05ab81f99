//! JSON lines: the wanted fields of each object, borrowed from the line; everything else is stepped over unbuilt.

use std::borrow::Cow;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::bad_rows::BadRows;
use super::input;
use super::notice::Notices;
use super::record::{Each, Fields, Place, Scalar};
use crate::{Error, Result};

/// Reads JSON lines record by record; blank lines are stepped over.
pub(crate) fn for_each(
    path: &Path,
    fields: &Fields,
    bad: &mut BadRows,
    notices: &mut Notices,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut lines = input::open(path)?.lines();
    notices.encoding(lines.bom());
    loop {
        let outcome = match lines.next_line() {
            None => break,
            Some(Ok((_, text))) if text.trim_ascii().is_empty() => continue,
            Some(Ok((line, text))) => {
                let mut row = vec![Scalar::Absent; fields.len()];
                parse(path, line, text, fields, &mut row).and_then(|()| each(Place { path, line }, &mut row))
            }
            Some(Err(e)) => Err(e),
        };
        bad.settle(outcome, || String::from_utf8_lossy(lines.raw()).into_owned())?;
    }
    notices.line_ends(lines.crlf());
    Ok(())
}

/// Parses one JSON object into the slots.
fn parse<'a>(path: &Path, line: u64, text: &'a str, fields: &Fields, row: &mut [Scalar<'a>]) -> Result<()> {
    let mut taken = vec![usize::MAX; fields.len()];
    let mut twice = None;
    let seed = ObjectSeed { fields, prefix: "", row, taken: &mut taken, twice: &mut twice };
    let mut json = serde_json::Deserializer::from_str(text);
    seed.deserialize(&mut json).and_then(|()| json.end()).map_err(|e| broken_json(path, line, text, &e))?;
    if let Some(name) = twice {
        return Err(Error::input(path, line, "twice in this record", "keep one of them").field(&name));
    }
    fields.check(path, line, row, || keys(text))
}

fn broken_json(path: &Path, line: u64, text: &str, error: &serde_json::Error) -> Error {
    let start = text.trim_start();
    if line == 1 && start.starts_with('[') {
        return Error::input(
            path,
            None,
            "is one JSON array, JSON lines are wanted",
            "write one object per line: jq -c '.[]'",
        );
    }
    let told = error.to_string();
    let word = told.split(" at line ").next().unwrap_or(&told);
    let problem = match error.classify() {
        serde_json::error::Category::Data => word.to_owned(),
        serde_json::error::Category::Eof => format!("broken JSON: the line ends too early ({word})"),
        _ => format!("broken JSON at column {}: {word}", error.column()),
    };
    Error::input(
        path,
        line,
        problem,
        "one JSON object per line is wanted, such as {\"_id\": \"d1\", \"text\": \"…\"}",
    )
}

/// Field names of a record, in the order of the file; for messages and for tables read by position.
pub(crate) fn keys(text: &str) -> Vec<String> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Vec<String>, A::Error> {
            let mut keys = Vec::new();
            while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                keys.push(key);
            }
            Ok(keys)
        }
    }
    serde_json::Deserializer::from_str(text).deserialize_map(Keys).unwrap_or_default()
}

/// Fills slots from an object; `prefix` is the way to it (`metadata.`).
struct ObjectSeed<'r, 'a> {
    fields: &'r Fields,
    prefix: &'r str,
    row: &'r mut [Scalar<'a>],
    /// Preference of the name that filled each slot.
    taken: &'r mut [usize],
    twice: &'r mut Option<String>,
}

impl<'a> DeserializeSeed<'a> for ObjectSeed<'_, 'a> {
    type Value = ();
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for ObjectSeed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with named fields")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(CowSeed)? {
            let name: Cow<'_, str> =
                if self.prefix.is_empty() { key } else { format!("{}{key}", self.prefix).into() };
            if let Some((slot, preference)) = self.fields.lookup(&name) {
                if preference == self.taken[slot] {
                    self.twice.get_or_insert_with(|| name.clone().into_owned());
                }
                if preference < self.taken[slot] {
                    self.row[slot] = map.next_value_seed(ScalarSeed)?;
                    self.taken[slot] = preference;
                    continue;
                }
            } else if self.prefix.is_empty() && self.fields.wants_inside(&name) {
                let prefix = format!("{name}.");
                map.next_value_seed(InsideSeed(ObjectSeed {
                    fields: self.fields,
                    prefix: &prefix,
                    row: self.row,
                    taken: self.taken,
                    twice: self.twice,
                }))?;
                continue;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// An object inside the record; anything else there (null, a string) holds no fields and is stepped over.
struct InsideSeed<'r, 'a>(ObjectSeed<'r, 'a>);

impl<'a> DeserializeSeed<'a> for InsideSeed<'_, 'a> {
    type Value = ();
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> std::result::Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for InsideSeed<'_, 'a> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'a>>(self, map: A) -> std::result::Result<(), A::Error> {
        self.0.visit_map(map)
    }
    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> std::result::Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> std::result::Result<(), E> {
        Ok(())
    }
}

/// A string, borrowed where it has no escapes.
struct CowSeed;

impl<'a> DeserializeSeed<'a> for CowSeed {
    type Value = Cow<'a, str>;
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> std::result::Result<Cow<'a, str>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for CowSeed {
    type Value = Cow<'a, str>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, text: &'a str) -> std::result::Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> std::result::Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct ScalarSeed;

impl<'a> DeserializeSeed<'a> for ScalarSeed {
    type Value = Scalar<'a>;
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> std::result::Result<Scalar<'a>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ScalarSeed {
    type Value = Scalar<'a>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> std::result::Result<Scalar<'a>, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E>(self, b: bool) -> std::result::Result<Scalar<'a>, E> {
        Ok(Scalar::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> std::result::Result<Scalar<'a>, E> {
        Ok(Scalar::Int(n.into()))
    }
    fn visit_u64<E>(self, n: u64) -> std::result::Result<Scalar<'a>, E> {
        Ok(Scalar::Int(n.into()))
    }
    fn visit_f64<E>(self, x: f64) -> std::result::Result<Scalar<'a>, E> {
        Ok(Scalar::Float(x))
    }
    fn visit_borrowed_str<E>(self, text: &'a str) -> std::result::Result<Scalar<'a>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> std::result::Result<Scalar<'a>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> std::result::Result<Scalar<'a>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("a list"))
    }
    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> std::result::Result<Scalar<'a>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("an object"))
    }
}
