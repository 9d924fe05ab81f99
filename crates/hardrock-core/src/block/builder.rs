//! Makes a [`Block`] out of rows as the sources propose them.
//!
//! A job pushes millions of rows, so a row is borrowed slices that the caller reuses, and the builder keeps one sorting
//! buffer: nothing is allocated per row or per cell beyond the block's own columns.

use super::{Block, Evidence, NO_RANK};
use crate::{AnchorId, Error, ItemId, Result};

/// What one source said about one candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proposal {
    /// The source's own score, higher = closer; NaN where it cannot score the candidate.
    pub score: f32,
    /// The source's own rank, 0 = best; [`NO_RANK`] where it did not propose the candidate.
    pub rank: u32,
}

impl Proposal {
    /// Neither proposed nor scored.
    pub const NONE: Self = Self { score: f32::NAN, rank: NO_RANK };
}

/// One row on its way into a block.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    /// The anchor.
    pub anchor: AnchorId,
    /// Its candidates, distinct, in any order.
    pub items: &'a [ItemId],
    /// Judging scores `[items]`, higher = closer; NaN where the judging source cannot score a candidate.
    pub scores: &'a [f32],
    /// What each source said `[items, sources]`: entry `c * sources + s` is source `s` about candidate `c`.
    pub proposals: &'a [Proposal],
    /// The labelled positives.
    pub positives: &'a [ItemId],
    /// Their judging scores `[positives]`; NaN where the judging source cannot score one.
    pub positive_scores: &'a [f32],
}

impl NewRow<'_> {
    /// A row without candidates and positives.
    pub fn empty(anchor: AnchorId) -> Self {
        Self { anchor, items: &[], scores: &[], proposals: &[], positives: &[], positive_scores: &[] }
    }
}

/// Builds a [`Block`] row by row.
#[derive(Debug)]
pub struct BlockBuilder {
    block: Block,
    /// Sort key, item and place in the pushed row of each cell; kept to be reused.
    order: Vec<(f32, ItemId, u32)>,
}

impl BlockBuilder {
    /// An empty block with these sources, in column order.
    pub fn new<S: Into<String>>(sources: impl IntoIterator<Item = S>) -> Self {
        let column = |s: S| Evidence { source: s.into(), scores: Vec::new(), ranks: Vec::new() };
        let block = Block {
            anchors: Vec::new(),
            starts: vec![0],
            items: Vec::new(),
            scores: Vec::new(),
            evidence: sources.into_iter().map(column).collect(),
            positive_starts: vec![0],
            positives: Vec::new(),
            positive_scores: Vec::new(),
            verdicts: Vec::new(),
            signals: Vec::new(),
        };
        Self { block, order: Vec::new() }
    }

    /// Number of sources: the width of [`NewRow::proposals`].
    pub fn sources(&self) -> usize {
        self.block.evidence.len()
    }

    /// Makes room for this many more rows and cells.
    pub fn reserve(&mut self, rows: usize, cells: usize) {
        let b = &mut self.block;
        b.anchors.reserve(rows);
        b.starts.reserve(rows);
        b.positive_starts.reserve(rows);
        b.items.reserve(cells);
        b.scores.reserve(cells);
        b.verdicts.reserve(cells);
        for column in &mut b.evidence {
            column.scores.reserve(cells);
            column.ranks.reserve(cells);
        }
    }

    /// Adds a row, sorted best first. Errors, and adds nothing, where slices that belong together differ in length.
    pub fn push_row(&mut self, row: &NewRow<'_>) -> Result<()> {
        let fits = |what, expected: usize, got: usize| {
            if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
        };
        let b = &mut self.block;
        fits("judging scores of a row", row.items.len(), row.scores.len())?;
        fits(
            "proposals of a row (candidates times sources)",
            row.items.len() * b.evidence.len(),
            row.proposals.len(),
        )?;
        fits("judging scores of the positives of a row", row.positives.len(), row.positive_scores.len())?;

        // NaN (a candidate that the judging source cannot score) sorts last; -0.0 and 0.0 are one score.
        let key = |s: f32| if s.is_nan() { f32::NEG_INFINITY } else { s + 0.0 };
        self.order.clear();
        self.order.extend(row.items.iter().zip(row.scores).zip(0u32..).map(|((&i, &s), c)| (key(s), i, c)));
        self.order.sort_unstable_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));

        let place = |&(_, _, c): &(f32, ItemId, u32)| c as usize;
        b.items.extend(self.order.iter().map(|&(_, item, _)| item));
        b.scores.extend(self.order.iter().map(|o| row.scores[place(o)]));
        b.verdicts.resize(b.items.len(), None);
        let sources = b.evidence.len();
        for (s, column) in b.evidence.iter_mut().enumerate() {
            let said = |o| row.proposals[place(o) * sources + s];
            column.scores.extend(self.order.iter().map(|o| said(o).score));
            column.ranks.extend(self.order.iter().map(|o| said(o).rank));
        }
        b.positives.extend_from_slice(row.positives);
        b.positive_scores.extend_from_slice(row.positive_scores);
        b.anchors.push(row.anchor);
        b.starts.push(b.items.len());
        b.positive_starts.push(b.positives.len());
        Ok(())
    }

    /// The finished block.
    pub fn finish(self) -> Block {
        self.block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_without_a_judging_score_come_last() -> Result<()> {
        let mut b = BlockBuilder::new(["a", "b"]);
        let one = Proposal { score: 0.5, rank: 0 };
        b.push_row(&NewRow {
            items: &[ItemId(3), ItemId(1), ItemId(2)],
            scores: &[f32::NAN, -7.0, 0.0],
            proposals: &[one, Proposal::NONE, Proposal::NONE, one, Proposal::NONE, Proposal::NONE],
            ..NewRow::empty(AnchorId(0))
        })?;
        let block = b.finish();
        assert_eq!(block.row(0).items(), [ItemId(2), ItemId(1), ItemId(3)]);
        assert_eq!(block.evidence()[0].ranks, [NO_RANK, NO_RANK, 0]);
        assert_eq!(block.evidence()[1].ranks, [NO_RANK, 0, NO_RANK]);
        Ok(())
    }

    #[test]
    fn a_row_whose_slices_do_not_fit_is_refused_and_leaves_no_trace() {
        let mut b = BlockBuilder::new(["a"]);
        let row = NewRow { items: &[ItemId(0)], scores: &[1.0], ..NewRow::empty(AnchorId(0)) };
        assert_eq!(
            b.push_row(&row),
            Err(Error::Shape { what: "proposals of a row (candidates times sources)", expected: 1, got: 0 })
        );
        assert!(b.push_row(&NewRow { scores: &[1.0], ..NewRow::empty(AnchorId(0)) }).is_err());
        assert!(b.push_row(&NewRow { positives: &[ItemId(1)], ..NewRow::empty(AnchorId(0)) }).is_err());
        assert_eq!(b.finish().rows(), 0);
    }
}
