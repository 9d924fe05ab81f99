//! FlagEmbedding: `query`, `pos` and `neg` as lists of texts, optionally with their scores.

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;

use super::record::Record;
use super::sink::TextSink;
use super::{Doc, RowWriter, TrainingRow, WriteOptions, Written};
use crate::Result;

#[derive(Serialize)]
struct Line<'a> {
    query: &'a str,
    pos: Vec<Cow<'a, str>>,
    neg: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pos_scores: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    neg_scores: Option<Vec<f32>>,
}

/// Writer of FlagEmbedding lines. Rows without a positive are left out: its trainer cannot draw from an empty list.
pub(super) struct FlagWriter {
    sink: TextSink,
    scores: bool,
    written: Written,
}

impl FlagWriter {
    pub(super) fn create(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(Self {
            sink: TextSink::create(path, options.force)?,
            scores: options.scores,
            written: Written::default(),
        })
    }
}

impl RowWriter for FlagWriter {
    fn write(&mut self, row: &TrainingRow) -> Result<()> {
        self.written.rows += 1;
        if row.positives.is_empty() {
            self.written.without_positives += 1;
            return Ok(());
        }
        let scores = |docs: &[Doc]| -> Result<Option<Vec<f32>>> {
            if self.scores {
                docs.iter().map(|d| row.score_of(d)).collect::<Result<_>>().map(Some)
            } else {
                Ok(None)
            }
        };
        let line = Line {
            query: row.anchor_text()?,
            pos: row.positives.iter().map(|d| row.text_of(d)).collect::<Result<_>>()?,
            neg: row.negatives.iter().map(|d| row.text_of(d)).collect::<Result<_>>()?,
            pos_scores: scores(&row.positives)?,
            neg_scores: scores(&row.negatives)?,
        };
        self.written.records += 1;
        self.sink.json(&line)
    }

    fn finish(self: Box<Self>) -> Result<Written> {
        Ok(self.written.with_files(vec![self.sink.seal()?.publish()?]))
    }
}

/// Reads a FlagEmbedding line. `pos` must be a list: a bare string would be taken apart into characters by its trainer.
pub(super) fn row_of(record: &mut Record) -> Result<TrainingRow> {
    let query = Some(record.text("query")?);
    let pos = record.texts("pos")?;
    let neg = record.optional_texts("neg")?.unwrap_or_default();
    let docs = |texts: Vec<String>, scores: Option<Vec<f32>>| {
        let mut scores = scores.into_iter().flatten();
        texts.into_iter().map(|t| Doc { text: Some(t), score: scores.next(), ..Doc::default() }).collect()
    };
    let pos_scores = record.scores("pos_scores", pos.len())?;
    let neg_scores = record.scores("neg_scores", neg.len())?;
    Ok(TrainingRow {
        query_id: None,
        query,
        positives: docs(pos, pos_scores),
        negatives: docs(neg, neg_scores),
    })
}
