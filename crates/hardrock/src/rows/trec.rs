//! TREC runs: six columns, `qid Q0 docno rank sim tag`. Tools ignore the rank and order by `sim`, then by
//! document id downwards; the ranks written here say the same.

use std::path::Path;

use super::records::{PlainLines, Split};
use super::sink::TextSink;
use super::{Doc, RowWriter, TrainingRow, WriteOptions, Written};
use crate::{Error, Result};

/// Writer of the negatives as a run. Rows without negatives leave no line.
pub(super) struct RunWriter {
    sink: TextSink,
    tag: String,
    written: Written,
}

impl RunWriter {
    /// # Errors
    /// A tag with blanks.
    pub(super) fn create(path: &Path, options: &WriteOptions) -> Result<Self> {
        let tag = field("run tag", &options.tag)?.to_owned();
        Ok(Self { sink: TextSink::create(path, options.force)?, tag, written: Written::default() })
    }
}

impl RowWriter for RunWriter {
    fn write(&mut self, row: &TrainingRow) -> Result<()> {
        self.written.rows += 1;
        if row.negatives.is_empty() {
            self.written.without_negatives += 1;
            return Ok(());
        }
        row.check_scores()?;
        let query = field("query id", row.anchor_id()?)?;
        let mut lines = Vec::with_capacity(row.negatives.len());
        // Without a score for each document their order is all that is known: n, n - 1, … 1.
        let scored = row.negatives.iter().all(|d| d.score.is_some());
        for (i, doc) in row.negatives.iter().enumerate() {
            let by_order = (row.negatives.len() - i) as f32;
            let sim = if scored { doc.score.unwrap_or(by_order) } else { by_order };
            lines.push((field("document id", row.id_of(doc)?)?, sim));
        }
        // trec_eval's order: score down, equal scores by document id down.
        lines.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| b.0.cmp(a.0)));
        for (rank, (doc, sim)) in lines.iter().enumerate() {
            self.sink.line(format!("{query} Q0 {doc} {} {sim} {}", rank + 1, self.tag).as_bytes())?;
            self.written.records += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Written> {
        Ok(self.written.with_files(vec![self.sink.seal()?.publish()?]))
    }
}

/// Opens a run.
pub(super) fn run(path: &Path) -> Result<PlainLines<6>> {
    PlainLines::open(path, Split::Blanks)
}

/// Reads a line of a run; lines of one query that follow each other become one row.
pub(super) fn line_row(lines: &PlainLines<6>, line: u64, fields: [String; 6]) -> Result<TrainingRow> {
    let [query, _, doc, _, sim, tag] = fields;
    let score = sim.parse::<f32>().ok().filter(|s| s.is_finite()).ok_or_else(|| {
        lines.wrong(
            line,
            "sim",
            format!("is `{sim}`, but must be a finite number"),
            "column 5 of a run is the score",
        )
    })?;
    let negative = Doc { id: Some(doc), score: Some(score), source: Some(tag), ..Doc::default() };
    Ok(TrainingRow { query_id: Some(query), query: None, positives: Vec::new(), negatives: vec![negative] })
}

/// Puts the documents of a row into the order that trec_eval sees, and ranks them from 0.
pub(super) fn rank(row: &mut TrainingRow) {
    row.negatives.sort_by(|a, b| {
        let by_score = b.score.unwrap_or_default().total_cmp(&a.score.unwrap_or_default());
        by_score.then_with(|| b.id.cmp(&a.id))
    });
    for (rank, doc) in (0..).zip(&mut row.negatives) {
        doc.rank = Some(rank);
    }
}

/// The value, unless it holds blanks, which would shift the columns.
fn field<'a>(what: &str, value: &'a str) -> Result<&'a str> {
    if value.is_empty() || value.contains(|c: char| c.is_whitespace()) {
        return Err(Error::usage(
            format!("the {what} `{value}` has blanks or is empty, which a TREC run cannot hold"),
            "rename it, or write another format",
        ));
    }
    Ok(value)
}
