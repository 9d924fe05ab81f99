//! Opens the writer of a format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::flagembedding::FlagWriter;
use super::msmarco::{HardNegativesWriter, TriplesWriter};
use super::native::{NativeParquet, NativeWriter};
use super::st::StWriter;
use super::tevatron::{LegacyWriter, V2Writer};
use super::trec::RunWriter;
use super::{Doc, RowFormat, TrainingRow};
use crate::{Error, Result};

/// What an n-tuple does with a row that has fewer than n negatives. Never is anything but the row's own negatives put in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Short {
    /// Leaves the row out and counts it, as sentence-transformers does.
    #[default]
    Drop,
    /// Writes null (CSV: nothing) where a negative is missing.
    Fewer,
    /// Repeats the row's negatives from the first on.
    Repeat,
}

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriteOptions {
    /// Column of the anchor in the sentence-transformers shapes.
    pub anchor: String,
    /// Column of the positive; in the labeled shapes, of the documents.
    pub positive: String,
    /// Column of the negative; in n-tuples, what stands before `_1`.
    pub negative: String,
    /// Whether scores are written, where the format has a place for them that is optional.
    pub scores: bool,
    /// n of `st-n-tuple`, at least 1; longer rows are cut to the first n. The other formats take rows as long as they are.
    pub negatives: usize,
    /// Rows of an n-tuple with fewer than n negatives.
    pub short: Short,
    /// Last column of a TREC run.
    pub tag: String,
    /// Whether an existing output is replaced.
    #[serde(skip)]
    pub force: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            anchor: "anchor".into(),
            positive: "positive".into(),
            negative: "negative".into(),
            scores: false,
            negatives: 5,
            short: Short::Drop,
            tag: "hardrock".into(),
            force: false,
        }
    }
}

/// What was written and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The files, the training file first.
    pub files: Vec<PathBuf>,
    /// Rows given to the writer.
    pub rows: u64,
    /// Lines or table rows in the training file, without its header.
    pub records: u64,
    /// Rows left out because they have no positive.
    pub without_positives: u64,
    /// Rows left out because they have no negative.
    pub without_negatives: u64,
    /// Rows of an n-tuple with at least one but fewer than n negatives; [`Short`] says what became of them.
    pub short_rows: u64,
    /// Texts whose tabs and line breaks became blanks.
    pub flattened: u64,
    /// The counts above that are not 0, in words: `rows left out: no negative` → 3.
    pub notices: BTreeMap<String, u64>,
}

impl Written {
    /// Ends the counting.
    pub(super) fn with_files(mut self, files: Vec<PathBuf>) -> Self {
        let counts = [
            ("rows left out: no positive", self.without_positives),
            ("rows left out: no negative", self.without_negatives),
            (SHORT_ROWS, self.short_rows),
            ("texts whose tabs and line breaks became blanks", self.flattened),
        ];
        self.notices =
            counts.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| (what.to_owned(), n)).collect();
        self.files = files;
        self
    }
}

/// The notice of [`Written::short_rows`].
pub(super) const SHORT_ROWS: &str = "rows with fewer negatives than the format's n";

/// A streaming writer. Nothing stands under the output's name before [`RowWriter::finish`]; dropped before, it leaves nothing.
pub trait RowWriter: Send {
    /// Adds one row.
    ///
    /// # Errors
    /// A row that lacks what the format is made of (texts, ids, wanted scores), named; a full disk.
    fn write(&mut self, row: &TrainingRow) -> Result<()>;

    /// Syncs the output, gives it its name and returns the counts.
    fn finish(self: Box<Self>) -> Result<Written>;
}

/// Opens a writer of `format` for `path`, packed as the name's ending says (`.gz`, `.zst`).
///
/// # Errors
/// [`Error::Exists`] without `force`; an ending or an option that the format cannot have; a folder that is missing.
pub fn writer(path: &Path, format: RowFormat, options: &WriteOptions) -> Result<Box<dyn RowWriter>> {
    // The table writers ask for themselves, since their encoding depends on it.
    format.encoding(path)?;
    Ok(match format {
        RowFormat::Native => Box::new(NativeWriter::create(path, options)?),
        RowFormat::Parquet => Box::new(NativeParquet::create(path, options)?),
        RowFormat::StTriplet | RowFormat::StNTuple | RowFormat::StLabeledPair | RowFormat::StLabeledList => {
            Box::new(StWriter::create(path, format, options)?)
        }
        RowFormat::FlagEmbedding => Box::new(FlagWriter::create(path, options)?),
        RowFormat::Tevatron => Box::new(LegacyWriter::create(path, options)?),
        RowFormat::TevatronV2 => Box::new(V2Writer::create(path, options)?),
        RowFormat::MsmarcoTriples | RowFormat::MsmarcoIds => {
            Box::new(TriplesWriter::create(path, format, options)?)
        }
        RowFormat::MsmarcoHardNegatives => Box::new(HardNegativesWriter::create(path, options)?),
        RowFormat::TrecRun => Box::new(RunWriter::create(path, options)?),
    })
}

/// What the format's own writer makes of one row, file by file: name and contents. Parquet shows its columns instead.
pub fn example(format: RowFormat) -> Result<Vec<(String, String)>> {
    let doc = |id: &str, text: &str, score, rank, source: Option<&str>| Doc {
        id: Some(id.into()),
        title: String::new(),
        text: Some(text.into()),
        score: Some(score),
        rank,
        source: source.map(str::to_owned),
        weight: None,
    };
    let row = TrainingRow {
        query_id: Some("7".into()),
        query: Some("who wrote Dune".into()),
        positives: vec![doc("12", "Dune is a novel by Frank Herbert", 9.5, None, None)],
        negatives: vec![
            doc("31", "Dune was filmed in 1984", 8.25, Some(1), Some("bm25+vectors")),
            doc("44", "a dune is a hill of sand", 6.5, Some(4), Some("bm25")),
        ],
    };
    let folder = tempfile::tempdir().map_err(Error::io("create", Path::new("a temporary folder")))?;
    let ending = match format.facts().encodings.first() {
        Some(super::Encoding::Parquet) => "parquet",
        Some(super::Encoding::Plain) => "tsv",
        _ => "jsonl",
    };
    let path = folder.path().join(format!("train.{ending}"));
    let options = WriteOptions { negatives: 2, ..WriteOptions::default() };
    let mut writer = writer(&path, format, &options)?;
    writer.write(&row)?;
    let named = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let contents = match ending {
            "parquet" => super::columnar::columns_of(file)?,
            _ => std::fs::read_to_string(file).map_err(Error::io("read", file))?,
        };
        Ok((name, contents))
    };
    writer.finish()?.files.iter().map(named).collect()
}
