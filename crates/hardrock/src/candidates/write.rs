//! Streams blocks into the candidates file; holds one row group.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow_array::builder::{Float32Builder, StringBuilder, UInt32Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use hardrock_core::{Block, ItemId, NO_RANK, Row};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::{FORMAT, Names, Selection, Status, key, rank_column, score_column};
use crate::{Error, Result};

/// Rows after which a row group ends, at the end of the anchor that reaches it.
const ROW_GROUP: usize = 1 << 17;
/// Share of row groups that the Bloom filter names in vain.
const FALSE_ALARMS: f64 = 0.01;

/// Writes the candidates file to any sink; temporary names and renaming are the caller's.
///
/// The bytes depend on the rows alone: not on how they were cut into blocks, nor on threads.
#[derive(Debug)]
pub struct CandidatesWriter<W: Write + Send> {
    out: ArrowWriter<Sink<W>>,
    failed: Arc<Mutex<Option<std::io::Error>>>,
    path: PathBuf,
    schema: Arc<Schema>,
    columns: Columns,
    sources: usize,
    signals: Vec<String>,
}

#[derive(Debug, Default)]
struct Columns {
    query_id: StringBuilder,
    doc_id: StringBuilder,
    status: StringBuilder,
    score: Float32Builder,
    rank: UInt32Builder,
    evidence: Vec<(Float32Builder, UInt32Builder)>,
    reason: StringBuilder,
    value: Float32Builder,
    threshold: Float32Builder,
    against: StringBuilder,
    pick: UInt32Builder,
    signals: Vec<Float32Builder>,
    rows: usize,
}

impl<W: Write + Send> CandidatesWriter<W> {
    /// Starts a file without signals on `out`. `path` names it in errors; `sources` are the block's, in column order; `score_by`
    /// is the judging score's name.
    pub fn create(out: W, path: &Path, sources: &[String], score_by: &str) -> Result<Self> {
        Self::create_with(out, path, sources, &[], score_by)
    }

    /// Starts a file that also has a column per signal; blocks must bring them.
    pub fn create_with(
        out: W,
        path: &Path,
        sources: &[String],
        signals: &[String],
        score_by: &str,
    ) -> Result<Self> {
        let schema = Arc::new(schema(sources, signals));
        let properties = properties(sources, signals, score_by).map_err(Error::format(path))?;
        let failed = Arc::default();
        let sink = Sink { out, failed: Arc::clone(&failed) };
        let out =
            ArrowWriter::try_new(sink, schema.clone(), Some(properties)).map_err(Error::format(path))?;
        let columns = Columns {
            evidence: sources.iter().map(|_| Default::default()).collect(),
            signals: signals.iter().map(|_| Float32Builder::new()).collect(),
            ..Columns::default()
        };
        let (sources, signals) = (sources.len(), signals.to_vec());
        Ok(Self { out, failed, path: path.to_owned(), schema, columns, sources, signals })
    }

    /// Appends all rows of a block in order. Errors when the selection has not the block's rows, or chose a position that is
    /// dropped or not there; when the block has other sources; when the sink fails.
    /// `filled` holds, per row, documents that fill a shortfall: no candidates, listed as selected behind the chosen ones,
    /// without rank or evidence; empty where nothing was filled.
    pub fn write_block(
        &mut self,
        block: &Block,
        selection: &Selection,
        filled: &[Vec<ItemId>],
        names: &dyn Names,
    ) -> Result<()> {
        let shape = |what, expected, got| hardrock_core::Error::Shape { what, expected, got };
        if selection.rows() != block.rows() {
            return Err(shape("rows of the selection", block.rows(), selection.rows()).into());
        }
        if block.evidence().len() != self.sources {
            return Err(shape("sources of the block", self.sources, block.evidence().len()).into());
        }
        let mut picks: Vec<Option<u32>> = Vec::new();
        for (index, row) in block.iter().enumerate() {
            picks.clear();
            picks.resize(row.len(), None);
            for (pick, &position) in selection.row(index).iter().enumerate() {
                match (picks.get_mut(position), row.verdicts().get(position)) {
                    (Some(slot @ None), Some(None)) => *slot = u32::try_from(pick).ok(),
                    _ => {
                        return Err(hardrock_core::Error::Parameter {
                            stage: "selection",
                            field: "positions",
                            must: "distinct live candidates of the row",
                            got: format!("{position} for anchor {}", names.anchor(row.anchor())),
                        }
                        .into());
                    }
                }
            }
            let signals: Vec<Option<&[f32]>> = self.signals.iter().map(|s| row.signal(s)).collect();
            if signals.iter().any(Option::is_none) {
                return Err(shape("signals of the block", self.signals.len(), block.signals().len()).into());
            }
            self.columns.push(&row, &picks, &signals, names);
            let chosen = selection.row(index).len() as u32;
            for (pick, &item) in (chosen..).zip(filled.get(index).into_iter().flatten()) {
                self.columns.push_filled(names.anchor(row.anchor()), names.item(item), pick);
            }
            if self.columns.rows >= ROW_GROUP {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Ends the file and gives the sink back.
    pub fn finish(mut self) -> Result<W> {
        self.flush()?;
        match self.out.into_inner() {
            Ok(sink) => Ok(sink.out),
            Err(e) => Err(failure(&self.failed, &self.path, e)),
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.columns.rows == 0 {
            return Ok(());
        }
        let arrays = self.columns.finish();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(Error::format(&self.path))?;
        let written = self.out.write(&batch).and_then(|()| self.out.flush());
        written.map_err(|e| failure(&self.failed, &self.path, e))
    }
}

impl Columns {
    fn push(&mut self, row: &Row<'_>, picks: &[Option<u32>], signals: &[Option<&[f32]>], names: &dyn Names) {
        let anchor = names.anchor(row.anchor());
        for (&item, &score) in row.positives().iter().zip(row.positive_scores()) {
            self.start(anchor, names.item(item), Status::Positive, score);
            self.rank.append_null();
            for (scores, ranks) in &mut self.evidence {
                scores.append_null();
                ranks.append_null();
            }
            self.no_verdict();
            self.no_signals();
            self.pick.append_null();
        }
        let cells = row.items().iter().zip(row.scores()).zip(row.verdicts()).zip(picks);
        for (position, (((&item, &score), verdict), &pick)) in cells.enumerate() {
            let status = match (verdict, pick) {
                (Some(_), _) => Status::Dropped,
                (None, Some(_)) => Status::Selected,
                (None, None) => Status::Kept,
            };
            self.start(anchor, names.item(item), status, score);
            self.rank.append_option(u32::try_from(position).ok());
            for ((scores, ranks), evidence) in self.evidence.iter_mut().zip(row.evidence()) {
                scores.append_option(number(row.source_scores(evidence)[position]));
                ranks.append_option(Some(row.source_ranks(evidence)[position]).filter(|&r| r != NO_RANK));
            }
            match verdict {
                Some(v) => {
                    self.reason.append_value(v.reason.name());
                    self.value.append_option(number(v.value));
                    self.threshold.append_option(number(v.threshold));
                    self.against.append_option(v.against.map(|p| names.item(p)));
                }
                None => self.no_verdict(),
            }
            self.pick.append_option(pick);
            for (column, values) in self.signals.iter_mut().zip(signals) {
                column.append_option(values.and_then(|v| number(v[position])));
            }
        }
    }

    fn no_signals(&mut self) {
        self.signals.iter_mut().for_each(Float32Builder::append_null);
    }

    fn push_filled(&mut self, anchor: &str, item: &str, pick: u32) {
        self.start(anchor, item, Status::Selected, f32::NAN);
        self.rank.append_null();
        for (scores, ranks) in &mut self.evidence {
            scores.append_null();
            ranks.append_null();
        }
        self.no_verdict();
        self.no_signals();
        self.pick.append_value(pick);
    }

    fn start(&mut self, anchor: &str, item: &str, status: Status, score: f32) {
        self.query_id.append_value(anchor);
        self.doc_id.append_value(item);
        self.status.append_value(status.name());
        self.score.append_option(number(score));
        self.rows += 1;
    }

    fn no_verdict(&mut self) {
        self.reason.append_null();
        self.value.append_null();
        self.threshold.append_null();
        self.against.append_null();
    }

    /// The columns in schema order; the builders start anew.
    fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.query_id.finish()),
            Arc::new(self.doc_id.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.score.finish()),
            Arc::new(self.rank.finish()),
        ];
        for (scores, ranks) in &mut self.evidence {
            arrays.push(Arc::new(scores.finish()));
            arrays.push(Arc::new(ranks.finish()));
        }
        arrays.push(Arc::new(self.reason.finish()));
        arrays.push(Arc::new(self.value.finish()));
        arrays.push(Arc::new(self.threshold.finish()));
        arrays.push(Arc::new(self.against.finish()));
        arrays.push(Arc::new(self.pick.finish()));
        for signal in &mut self.signals {
            arrays.push(Arc::new(signal.finish()));
        }
        arrays
    }
}

/// A score as it is stored: NaN (not known) is null.
fn number(score: f32) -> Option<f32> {
    Some(score).filter(|s| !s.is_nan())
}

fn schema(sources: &[String], signals: &[String]) -> Schema {
    let text = |name: &str, null| Field::new(name, DataType::Utf8, null);
    let float = |name: &str| Field::new(name, DataType::Float32, true);
    let count = |name: &str| Field::new(name, DataType::UInt32, true);
    let mut fields = vec![
        text("query_id", false),
        text("doc_id", false),
        text("status", false),
        float("score"),
        count("rank"),
    ];
    for source in sources {
        fields.push(float(&score_column(source)));
        fields.push(count(&rank_column(source)));
    }
    fields.extend([
        text("reason", true),
        float("value"),
        float("threshold"),
        text("against", true),
        count("pick"),
    ]);
    fields.extend(signals.iter().map(|s| float(s)));
    Schema::new(fields)
}

fn properties(
    sources: &[String],
    signals: &[String],
    score_by: &str,
) -> std::result::Result<WriterProperties, ParquetError> {
    let version = concat!("hardrock ", env!("CARGO_PKG_VERSION"));
    let list = serde_json::Value::from(sources).to_string();
    let pairs = [
        (key::FORMAT, FORMAT.to_owned()),
        (key::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (key::SCORE_BY, score_by.to_owned()),
        (key::SOURCES, list),
        (key::SIGNALS, serde_json::Value::from(signals).to_string()),
    ];
    let pairs = pairs.map(|(k, v)| KeyValue::new(k.to_owned(), v)).to_vec();
    let query_id = ColumnPath::from("query_id");
    let mut builder = WriterProperties::builder()
        .set_created_by(version.to_owned())
        .set_key_value_metadata(Some(pairs))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_dictionary_enabled(true)
        // Row groups are ended by hand, where an anchor ends.
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_bloom_filter_fpp(query_id.clone(), FALSE_ALARMS)
        .set_column_bloom_filter_max_ndv(query_id, ROW_GROUP as u64);
    let floats = sources.iter().map(|s| score_column(s)).chain(["score".into(), "value".into()]);
    let floats = floats.chain(signals.iter().cloned());
    for column in floats.map(ColumnPath::from) {
        // Scores hardly repeat: a dictionary would only be in the way of the byte planes.
        builder = builder
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::BYTE_STREAM_SPLIT);
    }
    Ok(builder.build())
}

/// What went wrong: the sink's own error where it had one.
fn failure(failed: &Mutex<Option<std::io::Error>>, path: &Path, error: ParquetError) -> Error {
    match failed.lock().ok().and_then(|mut failed| failed.take()) {
        Some(source) => Error::Io { action: "write", path: path.to_owned(), source },
        None => Error::format(path)(error),
    }
}

/// The caller's sink; remembers its own error, which the Parquet writer keeps as text only, so that a full disk is called that.
#[derive(Debug)]
struct Sink<W> {
    out: W,
    failed: Arc<Mutex<Option<std::io::Error>>>,
}

impl<W> Sink<W> {
    fn note<T>(&self, result: std::io::Result<T>) -> std::io::Result<T> {
        if let (Err(e), Ok(mut failed)) = (&result, self.failed.lock()) {
            *failed = Some(e.raw_os_error().map_or_else(
                || std::io::Error::new(e.kind(), e.to_string()),
                std::io::Error::from_raw_os_error,
            ));
        }
        result
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let flushed = self.out.flush();
        self.note(flushed)
    }
}
