//! One row of scores, as filters and selectors see it: the same view on mined candidates and on a training block.

use super::{Evidence, Mark, Reason, Signal, Verdict};
use crate::{AnchorId, ItemId};

/// Rows of scores that can be judged: the candidates of mining, or a segment of a training block.
pub trait Rows {
    /// Number of rows.
    fn rows(&self) -> usize;

    /// One row. `row` must be below [`Rows::rows`].
    fn row(&self, row: usize) -> Row<'_>;

    /// What every source said about the cells; empty where no sources were asked.
    fn evidence(&self) -> &[Evidence];
}

impl dyn Rows + '_ {
    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.rows()).map(|r| self.row(r))
    }
}

/// Positions of a row by falling score.
#[derive(Debug, Clone)]
pub enum BestFirst {
    /// The row stands in this order.
    InOrder(std::ops::Range<usize>),
    /// The row was sorted.
    Sorted(std::vec::IntoIter<usize>),
}

impl Iterator for BestFirst {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::InOrder(range) => range.next(),
            Self::Sorted(order) => order.next(),
        }
    }
}

/// What became of the cells of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fates<'a> {
    /// Mined candidates: the whole verdict stands with the cell.
    Verdicts(&'a [Option<Verdict>]),
    /// A training block: a byte per cell.
    Marks(&'a [Mark]),
}

impl Fates<'_> {
    fn reason(self, at: usize) -> Option<Reason> {
        match self {
            Self::Verdicts(v) => v[at].map(|v| v.reason),
            Self::Marks(m) => m[at].reason(),
        }
    }

    fn is_live(self, at: usize) -> bool {
        match self {
            Self::Verdicts(v) => v[at].is_none(),
            Self::Marks(m) => m[at] == Mark::LIVE,
        }
    }
}

/// One anchor's view of a block. Positions run from 0 within the row: best candidate first where the row was mined, in
/// the order of the columns where it belongs to a training block.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    pub(super) anchor: AnchorId,
    /// Cell number of position 0, for [`super::Verdicts::drop`].
    pub(super) first: usize,
    pub(super) items: &'a [ItemId],
    pub(super) scores: &'a [f32],
    pub(super) fates: Fates<'a>,
    pub(super) evidence: &'a [Evidence],
    pub(super) signals: &'a [Signal],
    pub(super) positives: &'a [ItemId],
    pub(super) positive_scores: &'a [f32],
}

impl<'a> Row<'a> {
    /// The anchor of this row.
    pub fn anchor(&self) -> AnchorId {
        self.anchor
    }

    /// Number of candidates, dropped ones included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True where no source proposed anything.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Candidates `[len]`.
    pub fn items(&self) -> &'a [ItemId] {
        self.items
    }

    /// Judging scores `[len]`, on one scale with [`Row::positive_scores`].
    pub fn scores(&self) -> &'a [f32] {
        self.scores
    }

    /// Verdicts `[len]` of a mined row: `None` = live. A training block keeps a mark per cell and the verdicts of the
    /// dropped ones apart ([`super::ScoreBlock::verdicts`]); its rows answer with an empty slice.
    pub fn verdicts(&self) -> &'a [Option<Verdict>] {
        match self.fates {
            Fates::Verdicts(v) => v,
            Fates::Marks(_) => &[],
        }
    }

    /// Why the cell at `position` was dropped, in either kind of block; `None` where it was not.
    pub fn reason(&self, position: usize) -> Option<Reason> {
        self.fates.reason(position)
    }

    /// Whether the cell at `position` can still be a negative: not dropped, and no positive of a training block.
    pub fn is_live(&self, position: usize) -> bool {
        self.fates.is_live(position)
    }

    /// A source's scores of this row `[len]`.
    pub fn source_scores(&self, evidence: &'a Evidence) -> &'a [f32] {
        &evidence.scores[self.first..self.first + self.len()]
    }

    /// A source's ranks of this row `[len]`.
    pub fn source_ranks(&self, evidence: &'a Evidence) -> &'a [u32] {
        &evidence.ranks[self.first..self.first + self.len()]
    }

    /// A signal's values of this row `[len]`; `None` where the block has no signal of this name.
    pub fn signal(&self, name: &str) -> Option<&'a [f32]> {
        let signal = self.signals.iter().find(|s| s.name == name)?;
        Some(&signal.values[self.first..self.first + self.len()])
    }

    /// The block's evidence, one entry per source; empty in a training block.
    pub fn evidence(&self) -> &'a [Evidence] {
        self.evidence
    }

    /// Labelled positives of this anchor.
    pub fn positives(&self) -> &'a [ItemId] {
        self.positives
    }

    /// Judging scores of the positives; NaN where the judging source could not score one.
    pub fn positive_scores(&self) -> &'a [f32] {
        self.positive_scores
    }

    /// Positions that no filter has dropped, in order.
    pub fn live(&self) -> impl Iterator<Item = usize> + 'a {
        let fates = self.fates;
        (0..self.items.len()).filter(move |&at| fates.is_live(at))
    }

    /// Every position, best judging score first, ties by lower item, cells without a score last. Free where the row was
    /// mined, which stands in this order already; a training block's row is sorted for it.
    pub fn best_first(&self) -> BestFirst {
        if let Fates::Verdicts(_) = self.fates {
            return BestFirst::InOrder(0..self.len());
        }
        let key =
            |at: usize| if self.scores[at].is_nan() { f32::NEG_INFINITY } else { self.scores[at] + 0.0 };
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(self.items[a].cmp(&self.items[b])));
        BestFirst::Sorted(order.into_iter())
    }

    /// Cell number of a position, for [`super::Verdicts::drop`].
    pub(crate) fn cell(&self, position: usize) -> usize {
        self.first + position
    }
}
