//! The four shapes of sentence-transformers' `mine_hard_negatives`: triplet, n-tuple, labeled pair, labeled list.
//!
//! | shape | a row with P positives and N negatives becomes |
//! |---|---|
//! | triplet | P × N lines: anchor, positive, negative |
//! | n-tuple | P lines: anchor, positive, `negative_1` … `negative_n` |
//! | labeled pair | P + N lines: anchor, document, label 1 or 0 |
//! | labeled list | P lines: anchor, [positive, negatives …], [1, 0 …] |
//!
//! With scores, `scores` is added to triplets and n-tuples, `score` replaces `label`, and `scores` replaces `labels`.

use std::borrow::Cow;
use std::path::Path;

use super::table::{Cell, Column, Kind, TableWriter};
use super::writer::SHORT_ROWS;
use super::{Doc, RowFormat, RowWriter, Short, TrainingRow, WriteOptions, Written};
use crate::{Error, Result};

/// Writer of all four shapes.
pub(super) struct StWriter {
    format: RowFormat,
    table: TableWriter,
    /// Negatives in a line of an n-tuple.
    width: usize,
    short: Short,
    scores: bool,
    written: Written,
}

impl StWriter {
    /// # Errors
    /// An n-tuple of 0 negatives; the errors of opening a table.
    pub(super) fn create(path: &Path, format: RowFormat, options: &WriteOptions) -> Result<Self> {
        let width = options.negatives;
        if format == RowFormat::StNTuple && width == 0 {
            return Err(Error::usage(
                "an n-tuple of 0 negatives is a pair",
                "give --num-negatives of at least 1",
            ));
        }
        let text = |name: &str| Column::new(name, Kind::Text);
        let (anchor, positive) = (text(&options.anchor), text(&options.positive));
        let mut columns = match format {
            RowFormat::StNTuple => {
                let negatives = (1..=width).map(|i| text(&format!("{}_{i}", options.negative)));
                [anchor, positive].into_iter().chain(negatives).collect()
            }
            RowFormat::StLabeledPair => vec![anchor, positive],
            RowFormat::StLabeledList => vec![anchor, Column::new(&options.positive, Kind::Texts)],
            _ => vec![anchor, positive, text(&options.negative)],
        };
        columns.extend(match (format, options.scores) {
            (RowFormat::StLabeledPair, false) => Some(Column::new("label", Kind::Int)),
            (RowFormat::StLabeledPair, true) => Some(Column::new("score", Kind::Float)),
            (RowFormat::StLabeledList, false) => Some(Column::new("labels", Kind::Ints)),
            (_, true) => Some(Column::new("scores", Kind::Floats)),
            (_, false) => None,
        });
        let table = TableWriter::create(path, format.encoding(path)?, columns, options.force)?;
        let (short, scores) = (options.short, options.scores);
        Ok(Self { format, table, width, short, scores, written: Written::default() })
    }

    fn line(&mut self, cells: &[Cell<'_>]) -> Result<()> {
        self.written.records += 1;
        self.table.write(cells)
    }

    /// The scores of `docs` in order, when they are wanted.
    fn scores(&self, row: &TrainingRow, docs: &[&Doc]) -> Result<Option<Vec<f32>>> {
        if !self.scores {
            return Ok(None);
        }
        docs.iter().map(|doc| row.score_of(doc)).collect::<Result<_>>().map(Some)
    }

    fn triplet(&mut self, row: &TrainingRow) -> Result<()> {
        let anchor = row.anchor_text()?;
        for positive in &row.positives {
            let p = row.text_of(positive)?;
            for negative in &row.negatives {
                let n = row.text_of(negative)?;
                let mut cells = vec![one(anchor), one(&p), one(&n)];
                cells.extend(self.scores(row, &[positive, negative])?.map(Cell::Floats));
                self.line(&cells)?;
            }
        }
        Ok(())
    }

    fn n_tuple(&mut self, row: &TrainingRow) -> Result<()> {
        let anchor = row.anchor_text()?;
        let have = row.negatives.len().min(self.width);
        let mut docs: Vec<&Doc> = row.negatives.iter().take(self.width).collect();
        if have < self.width {
            self.written.short_rows += 1;
            match self.short {
                Short::Drop => return Ok(()),
                Short::Fewer => {}
                // Repeats negatives of the row and nothing else: padding with the positive would teach the opposite.
                Short::Repeat => docs.extend(row.negatives.iter().cycle().take(self.width - have)),
            }
        }
        let texts: Vec<Cow<'_, str>> = docs.iter().map(|d| row.text_of(d)).collect::<Result<_>>()?;
        for positive in &row.positives {
            let p = row.text_of(positive)?;
            let mut cells = vec![one(anchor), one(&p)];
            cells.extend(texts.iter().map(|t| one(t)));
            cells.resize(2 + self.width, Cell::Text(None));
            let scored: Vec<&Doc> = std::iter::once(positive).chain(docs.iter().copied()).collect();
            cells.extend(self.scores(row, &scored)?.map(Cell::Floats));
            self.line(&cells)?;
        }
        Ok(())
    }

    fn labeled_pair(&mut self, row: &TrainingRow) -> Result<()> {
        let anchor = row.anchor_text()?;
        let labelled = row.positives.iter().map(|d| (d, 1)).chain(row.negatives.iter().map(|d| (d, 0)));
        for (doc, label) in labelled {
            let text = row.text_of(doc)?;
            let last = if self.scores { Cell::Float(row.score_of(doc)?) } else { Cell::Int(label) };
            self.line(&[one(anchor), one(&text), last])?;
        }
        Ok(())
    }

    fn labeled_list(&mut self, row: &TrainingRow) -> Result<()> {
        let anchor = row.anchor_text()?;
        for positive in &row.positives {
            let docs: Vec<&Doc> = std::iter::once(positive).chain(&row.negatives).collect();
            let texts = docs.iter().map(|d| row.text_of(d)).collect::<Result<_>>()?;
            let last = match self.scores(row, &docs)? {
                Some(scores) => Cell::Floats(scores),
                None => Cell::Ints((0..docs.len()).map(|i| i64::from(i == 0)).collect()),
            };
            self.line(&[one(anchor), Cell::Texts(texts), last])?;
        }
        Ok(())
    }
}

/// A text cell.
fn one(text: &str) -> Cell<'_> {
    Cell::Text(Some(Cow::Borrowed(text)))
}

impl RowWriter for StWriter {
    fn write(&mut self, row: &TrainingRow) -> Result<()> {
        self.written.rows += 1;
        // A shape without a place for a missing side cannot hold the row; a labeled pair can.
        let needs_positive = self.format != RowFormat::StLabeledPair;
        let needs_negative = matches!(self.format, RowFormat::StTriplet | RowFormat::StNTuple);
        if needs_positive && row.positives.is_empty() {
            self.written.without_positives += 1;
            return Ok(());
        }
        if needs_negative && row.negatives.is_empty() {
            self.written.without_negatives += 1;
            return Ok(());
        }
        match self.format {
            RowFormat::StNTuple => self.n_tuple(row),
            RowFormat::StLabeledPair => self.labeled_pair(row),
            RowFormat::StLabeledList => self.labeled_list(row),
            _ => self.triplet(row),
        }
    }

    fn finish(self: Box<Self>) -> Result<Written> {
        let short = self.short;
        let mut written = self.written.with_files(vec![self.table.seal()?.publish()?]);
        if let (Short::Drop, Some(n)) = (short, written.notices.remove(SHORT_ROWS)) {
            written.notices.insert(format!("{SHORT_ROWS}: left out"), n);
        }
        Ok(written)
    }
}
