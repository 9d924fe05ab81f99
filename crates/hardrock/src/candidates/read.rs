//! Reads the candidates file back: one anchor by id, or all of them as a stream.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{Array, PrimitiveArray, RecordBatch, StringArray};
use hardrock_core::Reason;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection,
};

use super::{
    AnchorCandidates, CandidateRow, Decision, FORMAT, SourceEvidence, Status, key, rank_column, score_column,
};
use crate::{Error, Result};

/// Rows decoded at a time.
const BATCH: usize = 1 << 13;
/// How many near ids an error names.
const SUGGESTIONS: usize = 3;
/// Jaro-Winkler similarity from which an id is worth naming.
const ALIKE: f64 = 0.75;

/// An open candidates file; holds its footer only.
#[derive(Debug)]
pub struct Candidates {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    sources: Vec<String>,
    signals: Vec<String>,
    score_by: String,
    version: String,
}

impl Candidates {
    /// Opens a file and checks that this program wrote it, in a version that it reads.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(Error::format(path))?;
        let pairs = metadata.metadata().file_metadata().key_value_metadata();
        let value = |key: &str| -> Result<String> {
            pairs
                .and_then(|pairs| pairs.iter().find(|p| p.key == key))
                .and_then(|pair| pair.value.clone())
                .ok_or_else(|| foreign(path, format!("the metadata has no `{key}`")))
        };
        let format = value(key::FORMAT)?;
        if format != FORMAT {
            return Err(foreign(path, format!("format {format}; this version reads format {FORMAT}")));
        }
        let sources = serde_json::from_str(&value(key::SOURCES)?)
            .map_err(|e| foreign(path, format!("the metadata's `{}`: {e}", key::SOURCES)))?;
        // Files of earlier versions have none.
        let signals = match value(key::SIGNALS) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|e| foreign(path, format!("the metadata's `{}`: {e}", key::SIGNALS)))?,
            Err(_) => Vec::new(),
        };
        let (score_by, version) = (value(key::SCORE_BY)?, value(key::VERSION)?);
        Ok(Self { path: path.to_owned(), metadata, sources, signals, score_by, version })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The sources, in column order.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The signals, in column order.
    pub fn signals(&self) -> &[String] {
        &self.signals
    }

    /// The judging score's name.
    pub fn score_by(&self) -> &str {
        &self.score_by
    }

    /// The version of hardrock that wrote the file.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Rows, positives included.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or_default()
    }

    /// Everything about one anchor. Reads the row groups whose Bloom filter names it, as a rule one. An id that is not there is
    /// an error that names the nearest ids.
    pub fn for_anchor(&self, query_id: &str) -> Result<AnchorCandidates> {
        for group in 0..self.metadata.metadata().num_row_groups() {
            if !self.may_hold(group, query_id)? {
                continue;
            }
            let Some(range) = self.find(group, query_id)? else { continue };
            let rows = self.metadata.metadata().row_group(group).num_rows();
            let rows = usize::try_from(rows).unwrap_or_default();
            let selection = RowSelection::from_consecutive_ranges(std::iter::once(range), rows);
            let reader = self
                .builder()?
                .with_row_groups(vec![group])
                .with_row_selection(selection)
                .build()
                .map_err(Error::format(&self.path))?;
            if let Some(anchor) = (Anchors { file: self, reader, batch: None, next: 0, done: false }).next() {
                return anchor;
            }
        }
        let near = self.nearest(query_id)?;
        let help = match near.as_slice() {
            [] => "the ids are the query ids of the data".to_owned(),
            near => format!("the nearest ids are {}", near.join(", ")),
        };
        Err(Error::usage(format!("no anchor `{query_id}` in {}", self.path.display()), help))
    }

    /// All anchors in file order; decodes a few thousand rows at a time.
    pub fn anchors(&self) -> Result<Anchors<'_>> {
        let reader = self.builder()?.build().map_err(Error::format(&self.path))?;
        Ok(Anchors { file: self, reader, batch: None, next: 0, done: false })
    }

    fn builder(&self) -> Result<ParquetRecordBatchReaderBuilder<File>> {
        let file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        Ok(builder.with_batch_size(BATCH))
    }

    fn may_hold(&self, group: usize, query_id: &str) -> Result<bool> {
        let filter =
            self.builder()?.get_row_group_column_bloom_filter(group, 0).map_err(Error::format(&self.path))?;
        Ok(filter.is_none_or(|f| f.check(query_id)))
    }

    /// The anchor's rows within a row group.
    fn find(&self, group: usize, query_id: &str) -> Result<Option<Range<usize>>> {
        let (mut from, mut to, mut row) = (None, 0, 0);
        self.scan_ids(Some(group), |id| {
            if id == query_id {
                from.get_or_insert(row);
                to = row + 1;
            }
            row += 1;
        })?;
        Ok(from.map(|from| from..to))
    }

    /// The ids most like this one, best first.
    fn nearest(&self, query_id: &str) -> Result<Vec<String>> {
        let mut best: Vec<(f64, String)> = Vec::new();
        let mut last = String::new();
        self.scan_ids(None, |id| {
            if id == last {
                return;
            }
            id.clone_into(&mut last);
            let alike = strsim::jaro_winkler(query_id, id);
            if alike >= ALIKE && (best.len() < SUGGESTIONS || best.last().is_some_and(|b| alike > b.0)) {
                best.truncate(SUGGESTIONS - 1);
                best.push((alike, id.to_owned()));
                best.sort_by(|a, b| b.0.total_cmp(&a.0));
            }
        })?;
        Ok(best.into_iter().map(|(_, id)| id).collect())
    }

    /// Calls `see` with the anchor of every row, of one row group or of all; decodes that column only.
    fn scan_ids(&self, group: Option<usize>, mut see: impl FnMut(&str)) -> Result<()> {
        let mut builder = self.builder()?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), [0]);
        if let Some(group) = group {
            builder = builder.with_row_groups(vec![group]);
        }
        let reader = builder.with_projection(mask).build().map_err(Error::format(&self.path))?;
        for batch in reader {
            let batch = batch.map_err(Error::format(&self.path))?;
            let ids: StringArray = column(&self.path, &batch, "query_id")?;
            (0..ids.len()).for_each(|i| see(ids.value(i)));
        }
        Ok(())
    }
}

/// Streams the anchors of a candidates file.
pub struct Anchors<'a> {
    file: &'a Candidates,
    reader: ParquetRecordBatchReader,
    batch: Option<Columns>,
    next: usize,
    done: bool,
}

impl Iterator for Anchors<'_> {
    type Item = Result<AnchorCandidates>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.anchor() {
            Ok(anchor) => anchor.map(Ok),
            Err(e) => {
                self.done = true;
                Some(Err(e))
            }
        }
    }
}

impl Anchors<'_> {
    /// The next anchor: rows are taken, over as many batches as it needs, until another id comes.
    fn anchor(&mut self) -> Result<Option<AnchorCandidates>> {
        let mut anchor: Option<AnchorCandidates> = None;
        while !self.done {
            let Some(columns) = self.batch.as_ref().filter(|c| self.next < c.query_id.len()) else {
                match self.reader.next() {
                    Some(batch) => {
                        let batch = batch.map_err(Error::format(&self.file.path))?;
                        self.batch = Some(Columns::of(self.file, &batch)?);
                        self.next = 0;
                    }
                    None => self.done = true,
                }
                continue;
            };
            let id = columns.query_id.value(self.next);
            match &mut anchor {
                None => anchor = Some(AnchorCandidates { query_id: id.to_owned(), rows: Vec::new() }),
                Some(anchor) if anchor.query_id != id => break,
                Some(_) => {}
            }
            let row = columns.row(&self.file.path, self.next)?;
            anchor.get_or_insert_default().rows.push(row);
            self.next += 1;
        }
        Ok(anchor)
    }
}

type Floats = PrimitiveArray<Float32Type>;
type Counts = PrimitiveArray<UInt32Type>;

/// The typed columns of one batch.
struct Columns {
    query_id: StringArray,
    doc_id: StringArray,
    status: StringArray,
    score: Floats,
    rank: Counts,
    evidence: Vec<(Floats, Counts)>,
    reason: StringArray,
    value: Floats,
    threshold: Floats,
    against: StringArray,
    pick: Counts,
    signals: Vec<Floats>,
}

impl Columns {
    fn of(file: &Candidates, batch: &RecordBatch) -> Result<Self> {
        let text = |name: &str| column::<StringArray>(&file.path, batch, name);
        let float = |name: &str| column::<Floats>(&file.path, batch, name);
        let count = |name: &str| column::<Counts>(&file.path, batch, name);
        let evidence = file.sources.iter().map(|s| Ok((float(&score_column(s))?, count(&rank_column(s))?)));
        Ok(Self {
            query_id: text("query_id")?,
            doc_id: text("doc_id")?,
            status: text("status")?,
            score: float("score")?,
            rank: count("rank")?,
            evidence: evidence.collect::<Result<_>>()?,
            reason: text("reason")?,
            value: float("value")?,
            threshold: float("threshold")?,
            against: text("against")?,
            pick: count("pick")?,
            signals: file.signals.iter().map(|s| float(s)).collect::<Result<_>>()?,
        })
    }

    fn row(&self, path: &Path, i: usize) -> Result<CandidateRow> {
        let status = self.status.value(i);
        let drop = match text(&self.reason, i) {
            None => None,
            Some(name) => Some(Decision {
                reason: Reason::from_name(name)
                    .ok_or_else(|| foreign(path, format!("unknown reason `{name}`")))?,
                value: float(&self.value, i).unwrap_or(f32::NAN),
                threshold: float(&self.threshold, i).unwrap_or(f32::NAN),
                against: text(&self.against, i).map(str::to_owned),
            }),
        };
        Ok(CandidateRow {
            doc_id: self.doc_id.value(i).to_owned(),
            status: Status::from_name(status)
                .ok_or_else(|| foreign(path, format!("unknown status `{status}`")))?,
            score: float(&self.score, i),
            rank: count(&self.rank, i),
            evidence: self
                .evidence
                .iter()
                .map(|(s, r)| SourceEvidence { score: float(s, i), rank: count(r, i) })
                .collect(),
            drop,
            pick: count(&self.pick, i),
            signals: self.signals.iter().map(|s| float(s, i)).collect(),
        })
    }
}

fn text(column: &StringArray, i: usize) -> Option<&str> {
    column.is_valid(i).then(|| column.value(i))
}

fn float(column: &Floats, i: usize) -> Option<f32> {
    column.is_valid(i).then(|| column.value(i))
}

fn count(column: &Counts, i: usize) -> Option<u32> {
    column.is_valid(i).then(|| column.value(i))
}

/// A column by name and type; cloning shares its buffers.
fn column<T: Array + Clone + 'static>(path: &Path, batch: &RecordBatch, name: &str) -> Result<T> {
    let array = batch
        .column_by_name(name)
        .ok_or_else(|| foreign(path, "this column is missing".to_owned()).field(name))?;
    let typed = array.as_any().downcast_ref::<T>();
    typed.cloned().ok_or_else(|| foreign(path, format!("unexpected type {}", array.data_type())).field(name))
}

/// A Parquet file that is not ours.
fn foreign(path: &Path, problem: String) -> Error {
    Error::input(path, None, problem, "give the mined file whose `.candidates.parquet` hardrock mine wrote")
}
