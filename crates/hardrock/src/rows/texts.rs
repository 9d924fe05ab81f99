//! Tables of texts by id (a corpus, queries), and rows of ids that get their texts from them.

use std::path::Path;

use hashbrown::{HashMap, HashSet};

use super::reader::encoding_of;
use super::record::Record;
use super::records::{PlainLines, Records, Split};
use super::{Doc, Encoding, RowFormat, TrainingRow};
use crate::{Error, Result};

/// One record of a table of texts.
pub(crate) struct IdText {
    /// Line (Parquet: row), from 1.
    pub(crate) line: u64,
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) text: String,
}

/// Names under which ids and texts stand, first match first.
const IDS: [&str; 5] = ["_id", "id", "docid", "doc_id", "query_id"];
const TEXTS: [&str; 5] = ["text", "document_text", "passage", "query", "content"];

/// Calls `each` for every record of a table: JSON lines, Parquet or CSV with `_id`, `title`, `text`; TSV as MS MARCO has it
/// (`id<TAB>text`), with or without a header.
///
/// # Errors
/// A record without id; those of `each`.
pub(crate) fn for_each_text(path: &Path, mut each: impl FnMut(IdText) -> Result<()>) -> Result<()> {
    let encoding = encoding_of(path, RowFormat::StTriplet)?;
    if encoding == Encoding::Tsv {
        for line in PlainLines::<2>::open(path, Split::Tabs)? {
            let (line, [id, text]) = line?;
            let header = line == 1 && IDS.contains(&id.as_str()) && TEXTS.contains(&text.as_str());
            if !header {
                each(IdText { line, id, title: String::new(), text })?;
            }
        }
        return Ok(());
    }
    for record in Records::open(path, encoding)? {
        let mut record = record?;
        let id = first(&mut record, &IDS, Record::optional_id)?.ok_or_else(|| record.missing("_id"))?;
        let title = record.optional_text("title")?.unwrap_or_default();
        let text = first(&mut record, &TEXTS, Record::optional_text)?;
        if text.is_none() && title.is_empty() {
            return Err(record.missing("text"));
        }
        each(IdText { line: record.line, id, title, text: text.unwrap_or_default() })?;
    }
    Ok(())
}

fn first<T>(
    record: &mut Record,
    names: &[&str],
    take: impl Fn(&mut Record, &str) -> Result<Option<T>>,
) -> Result<Option<T>> {
    for name in names {
        if let Some(value) = take(record, name)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Texts for the ids of some rows: those that are wanted and no others are kept.
#[derive(Debug, Default)]
pub(crate) struct Fill {
    queries: HashMap<String, String>,
    docs: HashMap<String, (String, String)>,
}

impl Fill {
    /// Reads `rows` once for the ids that lack a text, then the tables that have them. A side without a table stays as it is.
    pub(crate) fn gather(
        rows: impl Iterator<Item = Result<(u64, TrainingRow)>>,
        corpus: Option<&Path>,
        queries: Option<&Path>,
    ) -> Result<Self> {
        let (mut query_ids, mut doc_ids) = (HashSet::new(), HashSet::new());
        for row in rows {
            let (_, row) = row?;
            let lacking = row.positives.into_iter().chain(row.negatives).filter(|d| d.text.is_none());
            doc_ids.extend(lacking.filter_map(|d| d.id));
            query_ids.extend(row.query_id.filter(|_| row.query.is_none()));
        }
        let mut fill = Self::default();
        if let Some(path) = queries {
            for_each_text(path, |t| {
                if query_ids.remove(&t.id) {
                    fill.queries.insert(t.id, t.text);
                }
                Ok(())
            })?;
        }
        if let Some(path) = corpus {
            for_each_text(path, |t| {
                if doc_ids.remove(&t.id) {
                    fill.docs.insert(t.id, (t.title, t.text));
                }
                Ok(())
            })?;
        }
        Ok(fill)
    }

    /// Gives the row the texts that it lacks.
    ///
    /// # Errors
    /// An id that a given table does not hold.
    pub(crate) fn fill(
        &self,
        row: &mut TrainingRow,
        corpus: Option<&Path>,
        queries: Option<&Path>,
    ) -> Result<()> {
        if let (None, Some(id), Some(path)) = (&row.query, &row.query_id, queries) {
            row.query = Some(self.queries.get(id).cloned().ok_or_else(|| unknown("query", id, path))?);
        }
        let Some(path) = corpus else { return Ok(()) };
        for doc in row.positives.iter_mut().chain(&mut row.negatives) {
            if let Doc { id: Some(id), text: text @ None, title, .. } = doc {
                let (t, body) = self.docs.get(id).ok_or_else(|| unknown("document", id, path))?;
                title.clone_from(t);
                *text = Some(body.clone());
            }
        }
        Ok(())
    }
}

fn unknown(what: &str, id: &str, path: &Path) -> Error {
    Error::input(path, None, format!("has no {what} `{id}`"), "give the file that these ids belong to")
}
