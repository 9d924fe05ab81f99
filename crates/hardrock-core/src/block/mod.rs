//! A block of scores: anchors, their candidates, every source's evidence, and a verdict per cell.
//!
//! Candidates are ragged: row r owns cells `starts[r]..starts[r + 1]`, ordered best first by the judging score (ties: lower
//! item id). A dropped cell keeps its place and its [`Verdict`]; nothing is ever removed.

mod builder;
mod mark;
mod mixing;
mod queue;
mod row;
mod score_block;
mod sides;
mod tally;
mod verdict;

use crate::{AnchorId, Error, ItemId, Result};
pub use builder::{BlockBuilder, NewRow, Proposal};
pub use mark::Mark;
pub use mixing::{Mixed, mix};
pub use queue::{Queue, overlap};
use row::Fates;
pub use row::{BestFirst, Row, Rows};
pub use score_block::{Items, Judgeable, NewSegment, Origin, ScoreBlock, Segment};
pub use sides::{Join, Layout, PlainProducts, Products, Side, Sides};
pub use tally::Tally;
pub use verdict::{Reason, Verdict, Verdicts};

/// Rank of a cell that a source did not propose.
pub const NO_RANK: u32 = u32::MAX;

/// What one source, or one filter's model, said about the cells: its own score and rank, never compared across sources.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The source's name, as in reports and column names.
    pub source: String,
    /// Score per cell, higher = closer; NaN where the source did not propose the cell and cannot score it.
    pub scores: Vec<f32>,
    /// Rank per cell, 0 = best; [`NO_RANK`] where the source did not propose the cell.
    pub ranks: Vec<u32>,
}

/// Anchors x candidates: what every stage of mining reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    anchors: Vec<AnchorId>,
    starts: Vec<usize>,
    items: Vec<ItemId>,
    scores: Vec<f32>,
    evidence: Vec<Evidence>,
    positive_starts: Vec<usize>,
    positives: Vec<ItemId>,
    positive_scores: Vec<f32>,
    verdicts: Vec<Option<Verdict>>,
    signals: Vec<Signal>,
}

/// A number per cell that some stage found out, such as p_fn.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// Its name, as in column names.
    pub name: String,
    /// Value per cell; NaN where it is not known.
    pub values: Vec<f32>,
}

impl Block {
    /// Number of anchors.
    pub fn rows(&self) -> usize {
        self.anchors.len()
    }

    /// Number of candidates over all rows.
    pub fn cells(&self) -> usize {
        self.items.len()
    }

    /// The sources' evidence, one entry per source, each `[cells]`.
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    /// One row. `row` must be below [`Block::rows`].
    pub fn row(&self, row: usize) -> Row<'_> {
        let cells = self.starts[row]..self.starts[row + 1];
        let positives = self.positive_starts[row]..self.positive_starts[row + 1];
        Row {
            anchor: self.anchors[row],
            first: cells.start,
            items: &self.items[cells.clone()],
            scores: &self.scores[cells.clone()],
            fates: Fates::Verdicts(&self.verdicts[cells]),
            evidence: &self.evidence,
            signals: &self.signals,
            positives: &self.positives[positives.clone()],
            positive_scores: &self.positive_scores[positives],
        }
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.rows()).map(|r| self.row(r))
    }

    /// What stages found out about the cells, each `[cells]`.
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// Replaces the signals. Errors, and changes nothing, where one has not a value per cell.
    pub fn set_signals(&mut self, signals: Vec<Signal>) -> Result<()> {
        if let Some(wrong) = signals.iter().find(|s| s.values.len() != self.cells()) {
            let got = wrong.values.len();
            return Err(Error::Shape { what: "values of a signal", expected: self.cells(), got });
        }
        self.signals = signals;
        Ok(())
    }

    /// How many cells were retrieved, kept and dropped, and why.
    pub fn tally(&self) -> Tally {
        Tally::of(&self.verdicts)
    }

    /// Writes verdicts into the block: the only way to drop. The first reason of a cell stays. Scores that a filter noted
    /// become evidence of their own, without ranks.
    pub fn apply(&mut self, mut verdicts: Verdicts) {
        for (name, notes) in verdicts.take_columns() {
            let mut scores = vec![f32::NAN; self.cells()];
            for (cell, score) in notes {
                scores[cell] = score;
            }
            let ranks = vec![NO_RANK; self.cells()];
            self.evidence.push(Evidence { source: name.to_owned(), scores, ranks });
        }
        for (cell, verdict) in verdicts.into_inner() {
            self.verdicts[cell].get_or_insert(verdict);
        }
    }
}

impl Rows for Block {
    fn rows(&self) -> usize {
        Block::rows(self)
    }

    fn row(&self, row: usize) -> Row<'_> {
        Block::row(self, row)
    }

    fn evidence(&self) -> &[Evidence] {
        Block::evidence(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Result<Block> {
        let mut b = BlockBuilder::new(["bm25"]);
        let said = |score: f32, rank: u32| Proposal { score, rank };
        b.push_row(&NewRow {
            anchor: AnchorId(0),
            items: &[ItemId(4), ItemId(2), ItemId(9)],
            scores: &[1.0, 1.0, 3.0],
            proposals: &[said(1.0, 2), said(1.0, 1), said(3.0, 0)],
            positives: &[ItemId(7)],
            positive_scores: &[2.0],
        })?;
        b.push_row(&NewRow::empty(AnchorId(1)))?;
        Ok(b.finish())
    }

    #[test]
    fn rows_are_best_first_with_ties_by_lower_item() -> Result<()> {
        let block = block()?;
        let row = block.row(0);
        assert_eq!(row.items(), [ItemId(9), ItemId(2), ItemId(4)]);
        assert_eq!(row.source_ranks(&block.evidence()[0]), [0, 1, 2]);
        assert!(block.row(1).is_empty());
        Ok(())
    }

    #[test]
    fn the_first_reason_stays_and_nothing_is_revived() -> Result<()> {
        let mut block = block()?;
        for reason in [Reason::RelativeMargin, Reason::Known] {
            let mut v = Verdicts::default();
            v.drop(&block.row(0), 1, Verdict::new(reason, 1.0, 0.5));
            block.apply(v);
        }
        let live: Vec<_> = block.row(0).live().collect();
        assert_eq!(live, [0, 2]);
        assert_eq!(block.row(0).verdicts()[1].map(|v| v.reason), Some(Reason::RelativeMargin));
        Ok(())
    }
}
