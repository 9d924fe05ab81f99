//! Training rows of any trainer's format become a data set again, so that somebody's mined file can be judged anew.

use std::path::{Path, PathBuf};

use super::dataset::{Assembly, Dataset, LoadOptions};
use super::gather::{Gather, Mention};
use super::judged::{self, Side, tick};
use super::record::Place;
use super::spec::DataSpec;
use crate::Result;
use crate::rows::{self, Doc, ReadOptions, RowFormat, TrainingRow};

impl Dataset {
    /// Builds a data set from training rows, each with its line: positives become judgements of grade 1, negatives
    /// [`super::Given`].
    ///
    /// Documents and anchors are told apart by id, or by exact text where they have none. `corpus` and `queries` (may be
    /// empty) are files with the texts of those that come by id alone. `path` names the rows' file in messages. Of `spec`
    /// only `level`, `strict` and `on_bad_row` are read.
    ///
    /// # Errors
    /// What the iterator and the files say; an empty text, an id with two texts, an id without a text.
    pub fn from_rows(
        rows: impl Iterator<Item = Result<(u64, TrainingRow)>>,
        path: &Path,
        corpus: &[PathBuf],
        queries: &[PathBuf],
        spec: &DataSpec,
        options: &LoadOptions<'_>,
    ) -> Result<Self> {
        let mut gather = begin(corpus, queries, spec, options)?;
        add_all(&mut gather, path, rows)?;
        gather.finish(spec, &[corpus, queries, &[path.to_owned()]].concat())
    }
}

/// Loads files of training rows.
pub(crate) fn load(
    spec: &DataSpec,
    options: &LoadOptions<'_>,
    files: &[PathBuf],
    format: RowFormat,
    corpus: &[PathBuf],
    queries: &[PathBuf],
) -> Result<Dataset> {
    let read = ReadOptions {
        anchor: spec.anchor_column.clone(),
        positive: spec.positive_column.clone(),
        negative: spec.negative_column.clone(),
        corpus: None,
        ids_only: true,
    };
    let mut gather = begin(corpus, queries, spec, options)?;
    for path in files {
        add_all(&mut gather, path, rows::read(path, format, &read)?)?;
    }
    gather.finish(spec, &[corpus, queries, files].concat())
}

fn begin<'a>(
    corpus: &[PathBuf],
    queries: &[PathBuf],
    spec: &DataSpec,
    options: &'a LoadOptions<'a>,
) -> Result<Gather<'a>> {
    let mut assembly = Assembly::new(spec, options, true)?;
    if !corpus.is_empty() {
        judged::read_table(&mut assembly, corpus, Side::Items, None)?;
    }
    if !queries.is_empty() {
        judged::read_table(&mut assembly, queries, Side::Anchors, None)?;
    }
    Ok(Gather::new(assembly, spec))
}

fn add_all(
    gather: &mut Gather<'_>,
    path: &Path,
    rows: impl Iterator<Item = Result<(u64, TrainingRow)>>,
) -> Result<()> {
    let (mut bad, notices) = gather.assembly.take_judges()?;
    for row in rows {
        tick(gather.assembly.options, &mut gather.assembly.records)?;
        match row {
            Ok((line, row)) => {
                let outcome = add(gather, Place { path, line }, &row);
                bad.settle(outcome, || serde_json::to_string(&row).unwrap_or_default())?;
            }
            Err(e) => {
                let line = if let crate::Error::Input(e) = &e { e.line } else { None };
                bad.settle(Err(e), || line.map(|l| raw_line(path, l)).unwrap_or_default())?;
            }
        }
    }
    gather.assembly.give_judges(bad, notices);
    Ok(())
}

/// The line that a rows' reader could not read, as it stands in the file; empty where it is no line of text.
fn raw_line(path: &Path, line: u64) -> String {
    let Ok(input) = super::open(path) else { return String::new() };
    let mut lines = input.lines();
    for _ in 0..line {
        if lines.next_line().is_none() {
            return String::new();
        }
    }
    String::from_utf8_lossy(lines.raw()).into_owned()
}

fn add(gather: &mut Gather<'_>, place: Place<'_>, row: &TrainingRow) -> Result<()> {
    let anchor = Mention { id: row.query_id.as_deref(), title: "", text: row.query.as_deref() };
    gather.check_anchor(place, "query", anchor)?;
    for (field, docs) in [("positives", &row.positives), ("negatives", &row.negatives)] {
        for doc in docs {
            gather.check_item(place, field, mention(doc))?;
        }
    }
    let anchor = gather.anchor(anchor)?;
    for doc in &row.positives {
        if let Some(item) = gather.item(mention(doc))? {
            gather.positive(anchor, item, place.line);
        }
    }
    for doc in &row.negatives {
        if let Some(item) = gather.item(mention(doc))? {
            gather.negative(anchor, item, doc.score.unwrap_or(f32::NAN));
        }
    }
    Ok(())
}

fn mention(doc: &Doc) -> Mention<'_> {
    Mention { id: doc.id.as_deref(), title: &doc.title, text: doc.text.as_deref() }
}
