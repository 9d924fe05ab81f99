//! The native record: JSON lines and Parquet with the same columns. Reading back gives the row that was written.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, StringBuilder, UInt32Builder};
use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields, Schema};

use super::columnar::ParquetSink;
use super::record::Record;
use super::sink::TextSink;
use super::{Doc, RowWriter, TrainingRow, WriteOptions, Written};
use crate::{Error, Result};

/// Writer of the native record as JSON lines.
pub(super) struct NativeWriter {
    sink: TextSink,
    written: Written,
}

impl NativeWriter {
    pub(super) fn create(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(Self { sink: TextSink::create(path, options.force)?, written: Written::default() })
    }
}

impl RowWriter for NativeWriter {
    fn write(&mut self, row: &TrainingRow) -> Result<()> {
        row.check_scores()?;
        self.sink.json(row)?;
        self.written.rows += 1;
        self.written.records += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Written> {
        Ok(self.written.with_files(vec![self.sink.seal()?.publish()?]))
    }
}

/// Reads a native record.
pub(super) fn row_of(record: &mut Record) -> Result<TrainingRow> {
    if !record.has("query") && !record.has("query_id") {
        return Err(record.missing("query"));
    }
    let lists = [record.objects("positives")?, record.objects("negatives")?];
    if lists.iter().all(Option::is_none) {
        return Err(record.missing("positives"));
    }
    let mut sides =
        lists.map(|list| list.unwrap_or_default().iter_mut().map(doc_of).collect::<Result<Vec<Doc>>>());
    let [positives, negatives] = &mut sides;
    Ok(TrainingRow {
        query_id: record.optional_id("query_id")?,
        query: record.optional_text("query")?,
        positives: std::mem::replace(positives, Ok(Vec::new()))?,
        negatives: std::mem::replace(negatives, Ok(Vec::new()))?,
    })
}

fn doc_of(record: &mut Record) -> Result<Doc> {
    let doc = Doc {
        id: record.optional_id("doc_id")?,
        title: record.optional_text("title")?.unwrap_or_default(),
        text: record.optional_text("text")?,
        score: record.optional_score("score")?,
        rank: record.optional_count("rank")?,
        source: record.optional_text("source")?,
        weight: record.optional_score("weight")?,
    };
    if doc.id.is_none() && doc.text.is_none() && doc.title.is_empty() {
        return Err(record.missing("doc_id"));
    }
    Ok(doc)
}

/// Writer of the native record as Parquet.
pub(super) struct NativeParquet {
    sink: ParquetSink,
    query_id: StringBuilder,
    query: StringBuilder,
    positives: DocColumns,
    negatives: DocColumns,
    written: Written,
}

impl NativeParquet {
    pub(super) fn create(path: &Path, options: &WriteOptions) -> Result<Self> {
        let docs = |name| Field::new(name, DataType::List(doc_item()), false);
        let schema = Schema::new(vec![
            Field::new("query_id", DataType::Utf8, true),
            Field::new("query", DataType::Utf8, true),
            docs("positives"),
            docs("negatives"),
        ]);
        Ok(Self {
            sink: ParquetSink::create(path, Arc::new(schema), options.force)?,
            query_id: StringBuilder::new(),
            query: StringBuilder::new(),
            positives: DocColumns::default(),
            negatives: DocColumns::default(),
            written: Written::default(),
        })
    }

    fn columns(&mut self) -> Vec<ArrayRef> {
        vec![
            Arc::new(self.query_id.finish()),
            Arc::new(self.query.finish()),
            self.positives.finish(),
            self.negatives.finish(),
        ]
    }
}

impl RowWriter for NativeParquet {
    fn write(&mut self, row: &TrainingRow) -> Result<()> {
        row.check_scores()?;
        self.query_id.append_option(row.query_id.as_deref());
        self.query.append_option(row.query.as_deref());
        let mut bytes = row.query.as_ref().map_or(0, String::len);
        bytes += self.positives.push(&row.positives) + self.negatives.push(&row.negatives);
        self.written.rows += 1;
        self.written.records += 1;
        if self.sink.added(bytes) {
            let columns = self.columns();
            self.sink.batch(columns)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Written> {
        let columns = self.columns();
        Ok(self.written.with_files(vec![self.sink.seal(columns)?.publish()?]))
    }
}

fn doc_fields() -> Fields {
    let field = |name, kind| Field::new(name, kind, true);
    Fields::from(vec![
        field("doc_id", DataType::Utf8),
        field("title", DataType::Utf8),
        field("text", DataType::Utf8),
        field("score", DataType::Float32),
        field("rank", DataType::UInt32),
        field("source", DataType::Utf8),
        field("weight", DataType::Float32),
    ])
}

fn doc_item() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Struct(doc_fields()), false))
}

/// A column of document lists while its batch fills.
struct DocColumns {
    doc_id: StringBuilder,
    title: StringBuilder,
    text: StringBuilder,
    score: Float32Builder,
    rank: UInt32Builder,
    source: StringBuilder,
    weight: Float32Builder,
    /// Documents of each row.
    lengths: Vec<usize>,
}

impl Default for DocColumns {
    fn default() -> Self {
        Self {
            doc_id: StringBuilder::new(),
            title: StringBuilder::new(),
            text: StringBuilder::new(),
            score: Float32Builder::new(),
            rank: UInt32Builder::new(),
            source: StringBuilder::new(),
            weight: Float32Builder::new(),
            lengths: Vec::new(),
        }
    }
}

impl DocColumns {
    /// Adds one row's documents and returns their bytes, roughly.
    fn push(&mut self, docs: &[Doc]) -> usize {
        self.lengths.push(docs.len());
        for doc in docs {
            self.doc_id.append_option(doc.id.as_deref());
            self.title.append_value(&doc.title);
            self.text.append_option(doc.text.as_deref());
            self.score.append_option(doc.score);
            self.rank.append_option(doc.rank);
            self.source.append_option(doc.source.as_deref());
            self.weight.append_option(doc.weight);
        }
        docs.iter().map(|d| d.title.len() + d.text.as_ref().map_or(0, String::len) + 32).sum()
    }

    fn finish(&mut self) -> ArrayRef {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.doc_id.finish()),
            Arc::new(self.title.finish()),
            Arc::new(self.text.finish()),
            Arc::new(self.score.finish()),
            Arc::new(self.rank.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.weight.finish()),
        ];
        let offsets = OffsetBuffer::from_lengths(std::mem::take(&mut self.lengths));
        let docs = StructArray::new(doc_fields(), columns, None);
        Arc::new(ListArray::new(doc_item(), offsets, Arc::new(docs), None))
    }
}

/// Where a score is NaN or infinite, JSON would hold null and the score be lost.
impl TrainingRow {
    pub(super) fn check_scores(&self) -> Result<()> {
        for doc in self.positives.iter().chain(&self.negatives) {
            if let Some(score) = doc.score.filter(|s| !s.is_finite()) {
                return Err(Error::usage(
                    format!("the score of {} for {} is {score}", doc.shown(), self.shown()),
                    "scores must be finite numbers; check the source that gave it",
                ));
            }
        }
        Ok(())
    }
}
