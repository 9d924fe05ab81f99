//! One record of any table: the fields that were asked for, whatever the file is made of.
//!
//! JSON lines, delimited text and Parquet end up in the same row of [`Scalar`]s, one per wanted field, so that the loaders
//! are written once. Fields that nobody asked for are stepped over without being built.

use std::borrow::Cow;
use std::path::Path;

use super::bad_rows::BadRows;
use super::files::{self, nearest};
use super::input;
use super::notice::Notices;
use super::{columnar, delimited, json};
use crate::{Error, Result};

/// The value of one field.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// The record has no such field.
    #[default]
    Absent,
    /// The field is there and empty.
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Cow<'a, str>),
    /// A moment, in years (2019.5 = the middle of 2019).
    Years(f64),
    /// A list or an object: `a list`, `an object`.
    Other(&'static str),
}

impl Scalar<'_> {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> String {
        match self {
            Scalar::Absent => "nothing".into(),
            Scalar::Null => "null".into(),
            Scalar::Bool(b) => b.to_string(),
            Scalar::Int(n) => n.to_string(),
            Scalar::Float(x) | Scalar::Years(x) => x.to_string(),
            Scalar::Text(t) => format!("\"{}\"", shorten(t)),
            Scalar::Other(kind) => (*kind).into(),
        }
    }
}

/// The beginning of a text, for messages.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The fields that a loader wants: slots, each with the names under which the field goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    slots: Vec<Slot>,
    headerless: Vec<Headerless>,
    trec: bool,
}

#[derive(Debug, Clone)]
struct Slot {
    /// In order of preference; `metadata.X` is field X of the object `metadata`.
    names: Vec<String>,
    required: bool,
}

/// How a delimited file without a header is read: with this many columns, these go to the slots.
#[derive(Debug, Clone)]
pub(crate) struct Headerless {
    pub(crate) columns: std::ops::RangeInclusive<usize>,
    pub(crate) slots: Vec<Option<usize>>,
}

impl Fields {
    /// Adds a slot; returns its number.
    pub(crate) fn slot<S: Into<String>>(
        &mut self,
        required: bool,
        names: impl IntoIterator<Item = S>,
    ) -> usize {
        self.slots.push(Slot { names: names.into_iter().map(Into::into).collect(), required });
        self.slots.len() - 1
    }

    /// Adds a reading of files without a header; `slots[s]` is the column of slot `s`.
    pub(crate) fn headerless(&mut self, columns: std::ops::RangeInclusive<usize>, slots: &[Option<usize>]) {
        self.headerless.push(Headerless { columns, slots: slots.to_vec() });
    }

    /// Allows TREC's way of writing tables: columns apart by blanks, comments behind `#`.
    pub(crate) fn trec(&mut self) {
        self.trec = true;
    }

    pub(crate) fn is_trec(&self) -> bool {
        self.trec
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_required(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|s| s.required)
    }

    /// Readings of files without a header.
    pub(crate) fn without_header(&self) -> &[Headerless] {
        &self.headerless
    }

    /// The name that a message uses for a slot.
    pub(crate) fn name(&self, slot: usize) -> &str {
        self.slots.get(slot).and_then(|s| s.names.first()).map_or("", String::as_str)
    }

    /// Slot and preference (0 = first) of a field name, exact.
    pub(crate) fn lookup(&self, name: &str) -> Option<(usize, usize)> {
        self.slots
            .iter()
            .enumerate()
            .find_map(|(s, slot)| slot.names.iter().position(|n| n == name).map(|preference| (s, preference)))
    }

    /// Whether a slot asks for something inside the object `name`.
    pub(crate) fn wants_inside(&self, name: &str) -> bool {
        let inside = |n: &String| n.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        self.slots.iter().any(|s| s.names.iter().any(inside))
    }

    /// Which of the file's columns goes to each slot; a required slot without a column is an error.
    pub(crate) fn columns(
        &self,
        path: &Path,
        line: Option<u64>,
        there: &[String],
    ) -> Result<Vec<Option<usize>>> {
        let mut picked = Vec::new();
        for slot in &self.slots {
            let column = slot.names.iter().find_map(|n| there.iter().position(|c| c == n));
            if column.is_none() && slot.required {
                return Err(no_column(path, line, slot, there));
            }
            picked.push(column);
        }
        Ok(picked)
    }

    /// Whether a cell of a first row is a field name, so that the row is a header.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.lookup(name).is_some()
    }

    /// Required slots must not be absent in a record.
    pub(crate) fn check(
        &self,
        path: &Path,
        line: u64,
        row: &[Scalar<'_>],
        there: impl FnOnce() -> Vec<String>,
    ) -> Result<()> {
        let absent = |(slot, value): (&Slot, &Scalar<'_>)| slot.required && *value == Scalar::Absent;
        match self.slots.iter().zip(row).position(absent) {
            None => Ok(()),
            Some(s) => Err(no_column(path, Some(line), &self.slots[s], &there())),
        }
    }
}

fn no_column(path: &Path, line: Option<u64>, slot: &Slot, there: &[String]) -> Error {
    let wanted = slot.names.first().map_or("", String::as_str);
    let list = there.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
    let hint = slot.names.iter().find_map(|n| nearest(n, there.iter().map(String::as_str)));
    let help = match (hint, slot.names.len()) {
        (Some(name), _) => format!("did you mean `{name}`? The fields here are {list}"),
        (None, _) if there.is_empty() => "the record has no fields at all".to_owned(),
        (None, 1) => format!("the fields here are {list}"),
        (None, _) => {
            let also = slot.names[1..].iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            format!("the fields here are {list}; {also} would do as well")
        }
    };
    Error::input(path, line, "missing", help).field(wanted)
}

/// Where a record stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    pub(crate) line: u64,
}

impl Place<'_> {
    pub(crate) fn error(&self, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::input(self.path, self.line, problem, help)
    }
}

/// What is called with every record.
pub(crate) type Each<'e> = dyn FnMut(Place<'_>, &mut [Scalar<'_>]) -> Result<()> + 'e;

/// Reads a table record by record. An error of a record, its own or one that `each` returns, goes to `bad`.
pub(crate) fn for_each(
    path: &Path,
    fields: &Fields,
    bad: &mut BadRows,
    notices: &mut Notices,
    each: &mut Each<'_>,
) -> Result<()> {
    match Kind::of(path)? {
        Kind::Parquet => columnar::for_each(path, fields, bad, each),
        Kind::Jsonl => json::for_each(path, fields, bad, notices, each),
        Kind::Tsv => delimited::tabs(path, fields, bad, notices, each),
        Kind::Csv => delimited::commas(path, fields, bad, notices, each),
    }
}

/// What a table is made of: told by content for Parquet, by name for text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Jsonl,
    Tsv,
    Csv,
    Parquet,
}

impl Kind {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        if input::is_parquet(path)? {
            return Ok(Self::Parquet);
        }
        let name = files::name_of(path).to_lowercase();
        match files::unpacked_name(&name).rsplit_once('.').map(|(_, end)| end) {
            Some("csv") => Ok(Self::Csv),
            Some("tsv" | "txt" | "trec" | "qrels" | "qrel") => Ok(Self::Tsv),
            Some("parquet") => Err(Error::input(
                path,
                None,
                "is no Parquet file though its name says so",
                "fetch it again (a Git LFS pointer is a small text file), or rename it",
            )),
            Some("jsonl" | "ndjson" | "json") => Ok(Self::Jsonl),
            _ => Self::by_first_byte(path),
        }
    }

    /// A name without a telling end: JSON begins with a brace.
    fn by_first_byte(path: &Path) -> Result<Self> {
        let mut lines = input::open(path)?.lines();
        while let Some(line) = lines.next_line() {
            let text = line?.1.trim_start();
            if !text.is_empty() {
                return Ok(if text.starts_with('{') { Self::Jsonl } else { Self::Tsv });
            }
        }
        Ok(Self::Tsv)
    }
}

/// The error for a column that no record has, with the nearest field of the files' first records.
pub(crate) fn nearest_field(name: &str, files: &[impl AsRef<Path>]) -> Error {
    let mut there: Vec<String> = Vec::new();
    for path in files.iter().map(AsRef::as_ref) {
        let names = match Kind::of(path) {
            Ok(Kind::Parquet) => columnar::names(path),
            Ok(Kind::Jsonl) => super::texts::first_keys(path),
            Ok(kind) => delimited::first_row(path, kind == Kind::Csv),
            Err(e) => Err(e),
        };
        // Files that cannot be read have been told before.
        there.extend(names.unwrap_or_default());
    }
    there.sort();
    there.dedup();
    let list = there.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let hint = nearest(name, there.iter().map(String::as_str)).map(|n| format!("did you mean `{n}`? "));
    Error::usage(
        format!("no record has a field `{name}`"),
        format!(
            "{}The fields are {list}; fields inside an object are written `metadata.year`",
            hint.unwrap_or_default()
        ),
    )
}
