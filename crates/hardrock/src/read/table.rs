//! Anchors or documents: ids, texts on the disk, text hashes and extra columns.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use hashbrown::HashTable;

use super::blob::{Blob, BlobWriter};
use super::column::{Column, ColumnSpec, Value, Values};
use super::ids::Ids;
use super::text::{exact_hash, hash_normalised, normalise_into};
use crate::{Error, Result};

/// Hash of a record that has an id and no text; it equals no other.
pub const NO_TEXT: u64 = 0;

/// The records of one side; every column is `[len]`, in reading order.
pub struct Table {
    pub(crate) ids: Ids,
    pub(crate) texts: Blob,
    pub(crate) hashes: Vec<u64>,
    pub(crate) columns: BTreeMap<String, Column>,
    /// Row of each record in the file it came from; `None` = they are in the file's order with none left out.
    pub(crate) rows: Option<Vec<u32>>,
    /// Rows of that file.
    pub(crate) rows_read: u64,
}

impl Table {
    /// Row of a record in the files it was read from, from 0: where its vector lies in a file of vectors without ids.
    pub fn row(&self, i: u32) -> u32 {
        self.rows.as_ref().and_then(|rows| rows.get(i as usize).copied()).unwrap_or(i)
    }

    /// Rows of the files, those included that were left out.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// Whether every row of the files is a record, in their order.
    pub fn is_whole(&self) -> bool {
        self.rows.is_none()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The id of a record; empty for a number out of range.
    pub fn id(&self, i: u32) -> &str {
        self.ids.get(i)
    }

    /// The number of an id.
    pub fn find(&self, id: &str) -> Option<u32> {
        self.ids.find(id)
    }

    /// All ids.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// 64-bit hash of the record's normalised text, title included; 0 for a number out of range.
    pub fn text_hash(&self, i: u32) -> u64 {
        self.hashes.get(i as usize).copied().unwrap_or_default()
    }

    /// All text hashes, `[len]`.
    pub fn text_hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// A column that was asked for; `None` where no record of this side has the field.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }

    /// The texts.
    pub fn texts(&self) -> &Blob {
        &self.texts
    }

    /// Title and text as one, as models read it, from the disk. A number out of range is an error.
    pub fn text(&self, i: u32) -> Result<String> {
        self.texts.text(i)
    }

    /// Title (empty = none) and text apart, from the disk.
    pub fn record(&self, i: u32) -> Result<(String, String)> {
        self.texts.record(i)
    }

    /// Calls `each` with number and text of every record in `range`, in order, by large sequential reads.
    pub fn for_each(&self, range: Range<usize>, each: &mut dyn FnMut(usize, &str)) -> Result<()> {
        self.texts.for_each(range, each)
    }
}

/// A table while it is read.
pub(crate) struct TableBuilder {
    ids: Ids,
    blob: BlobWriter,
    hashes: Vec<u64>,
    columns: Vec<Values>,
    exact: Option<Exact>,
    joined: String,
    normal: String,
    /// Rows of the files so far; 0 where the records do not come from a table of their own.
    seen: u64,
    /// Row of each record, from the first one on that does not follow the one before.
    rows: Option<Vec<u32>>,
}

/// Finds records by their exact text.
#[derive(Default)]
struct Exact {
    hashes: Vec<u128>,
    /// First record of each text.
    table: HashTable<u32>,
    /// Whether the record's id was made up for it.
    made_up: Vec<bool>,
}

impl TableBuilder {
    /// `by_text`: records can be looked up by their text, for 32 bytes a record.
    pub(crate) fn create(folder: &Path, name: &str, columns: &[ColumnSpec], by_text: bool) -> Result<Self> {
        Ok(Self {
            ids: Ids::new(),
            blob: BlobWriter::create(folder, name)?,
            hashes: Vec::new(),
            columns: columns.iter().map(|c| Values::new(c.kind)).collect(),
            exact: by_text.then(Exact::default),
            joined: String::new(),
            normal: String::new(),
            seen: 0,
            rows: None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.blob.len()
    }

    /// Counts a row of the file; the next record is this row.
    pub(crate) fn see(&mut self) {
        self.seen += 1;
    }

    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        self.ids.find(id)
    }

    pub(crate) fn id(&self, i: u32) -> &str {
        self.ids.get(i)
    }

    /// Adds a record under a new id; the caller has looked whether it is new. `values` are those of the asked columns.
    pub(crate) fn push(
        &mut self,
        id: &str,
        title: &str,
        text: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u32> {
        if self.len() >= u32::MAX as usize - 1 {
            return Err(Error::usage(
                format!("there are more than {} records", u32::MAX - 1),
                "split the corpus and mine its parts",
            ));
        }
        join(title, text, &mut self.joined);
        normalise_into(&self.joined, &mut self.normal);
        self.hashes.push(if self.normal.is_empty() { NO_TEXT } else { hash_normalised(&self.normal) });
        let (number, _) = self.ids.intern(id);
        let row = self.seen.saturating_sub(1) as u32;
        if self.seen > 0 && (self.rows.is_some() || row != number) {
            self.rows.get_or_insert_with(|| (0..number).collect()).push(row);
        }
        if let Some(exact) = &mut self.exact {
            let hash = exact_hash(&self.joined);
            exact.hashes.push(hash);
            exact.made_up.push(false);
            let Exact { hashes, table, .. } = exact;
            if table.find(hash as u64, |&n| hashes.get(n as usize) == Some(&hash)).is_none() {
                table
                    .insert_unique(hash as u64, number, |&n| hashes.get(n as usize).map_or(0, |&h| h as u64));
            }
        }
        self.blob.push(title, text)?;
        let mut values = values.into_iter();
        for column in &mut self.columns {
            column.push(values.next().unwrap_or(Value::None));
        }
        Ok(number)
    }

    /// Adds a record that has no id of its own: `prefix` and its number from 1, made longer where that is taken.
    pub(crate) fn push_unnamed(
        &mut self,
        prefix: &str,
        title: &str,
        text: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u32> {
        let mut id = format!("{prefix}{}", self.len() + 1);
        while self.ids.find(&id).is_some() {
            id.push('+');
        }
        let number = self.push(&id, title, text, values)?;
        if let Some(made_up) = self.exact.as_mut().and_then(|e| e.made_up.last_mut()) {
            *made_up = true;
        }
        Ok(number)
    }

    /// Gives a record column values where it has none yet.
    pub(crate) fn fill(&mut self, record: u32, values: impl IntoIterator<Item = Value>) {
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.fill(record, value);
        }
    }

    /// The first record with exactly this title and text as one; needs `by_text`.
    pub(crate) fn find_text(&self, title: &str, text: &str) -> Option<u32> {
        let exact = self.exact.as_ref()?;
        let hash = joined_hash(title, text);
        exact.table.find(hash as u64, |&n| exact.hashes.get(n as usize) == Some(&hash)).copied()
    }

    /// Whether a record has exactly this title and text as one; needs `by_text`.
    pub(crate) fn has_text(&self, record: u32, title: &str, text: &str) -> bool {
        let hash = self.exact.as_ref().and_then(|e| e.hashes.get(record as usize));
        hash == Some(&joined_hash(title, text))
    }

    /// Whether the record's id was made up.
    pub(crate) fn is_made_up(&self, record: u32) -> bool {
        self.exact.as_ref().and_then(|e| e.made_up.get(record as usize)).is_some_and(|&m| m)
    }

    /// Ends reading. `names` are the labels per column.
    pub(crate) fn finish(mut self, specs: &[ColumnSpec], names: &[Arc<Vec<String>>]) -> Result<Table> {
        // The index goes first: it is not needed any more and large.
        self.exact = None;
        self.ids.shrink();
        self.hashes.shrink_to_fit();
        let mut columns = BTreeMap::new();
        for ((values, spec), names) in self.columns.into_iter().zip(specs).zip(names) {
            if !values.is_empty() {
                columns.insert(spec.name.clone(), values.finish(names));
            }
        }
        let rows_read = if self.seen > 0 { self.seen } else { self.hashes.len() as u64 };
        let (rows, texts) = (self.rows, self.blob.finish()?);
        Ok(Table { ids: self.ids, texts, hashes: self.hashes, columns, rows, rows_read })
    }
}

/// Title and text as one, as the blob stores them.
fn join(title: &str, text: &str, out: &mut String) {
    out.clear();
    out.push_str(title);
    if !title.is_empty() && !text.is_empty() {
        out.push(' ');
    }
    out.push_str(text);
}

fn joined_hash(title: &str, text: &str) -> u128 {
    if title.is_empty() {
        return exact_hash(text);
    }
    let mut joined = String::new();
    join(title, text, &mut joined);
    exact_hash(&joined)
}
