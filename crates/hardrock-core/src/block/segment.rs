//! Cells of one kind in a training block.

use super::{Reason, Verdict};
use crate::{Error, ItemId, Result};

/// Where the cells of a segment come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Anchor against the batch's positives: the row's own positive, all others are in-batch negatives.
    InBatch,
    /// Anchor against the other anchors; a cell stands for the positive of that anchor, and is judged as such.
    AnchorSide,
    /// The row's positive against the other positives.
    PositiveSide,
    /// Documents that were mined: the row's own ones (ragged), or those of the whole batch (shared).
    Mined,
    /// Vectors of earlier steps; they carry no gradient.
    Queue,
    /// Made by mixing or by a generator; carries no gradient.
    Synthetic,
    /// Pairs of rows that have nothing to do with the anchor: every negative pair of the batch.
    Foreign,
    /// Class weights: the block is a classifier head.
    Class,
}

/// What a cell is, in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark(u8);

impl Mark {
    /// Counts as a negative.
    pub const LIVE: Self = Self(0);
    /// A positive of the row.
    pub const POSITIVE: Self = Self(u8::MAX);

    pub(super) fn dropped(verdict: &Verdict) -> Self {
        Self(verdict.reason as u8 + 1)
    }

    /// Why it was dropped, if it was.
    pub fn reason(self) -> Option<Reason> {
        self.0.checked_sub(1).and_then(|at| Reason::ALL.get(usize::from(at)).copied())
    }
}

/// Cells of one kind: the same columns for every row (shared), or each row its own (ragged).
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub(super) origin: Origin,
    /// Shared: `[columns]`; ragged: `[cells]`.
    pub(super) items: Vec<ItemId>,
    /// Ragged: row r owns cells `starts[r]..starts[r + 1]`.
    pub(super) starts: Option<Vec<usize>>,
    /// `[cells]`, row-major.
    pub(super) scores: Vec<f32>,
    /// `[cells]`
    pub(super) marks: Vec<Mark>,
    /// `[cells]`, in nats.
    pub(super) log_weights: Option<Vec<f32>>,
    /// `[cells]`
    pub(super) targets: Option<Vec<f32>>,
}

impl Segment {
    /// The same `items` `[columns]` for every row; `scores` row-major `[rows, columns]`, higher = closer. `own[r]` is the
    /// column that is row r's positive; an empty `own` says that no row has one here.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths do not fit.
    pub fn shared(origin: Origin, items: Vec<ItemId>, scores: Vec<f32>, own: &[Option<u32>]) -> Result<Self> {
        let columns = items.len();
        let rows = if own.is_empty() { scores.len().checked_div(columns).unwrap_or(0) } else { own.len() };
        fits("scores of a shared segment", rows * columns, scores.len())?;
        let mut marks = vec![Mark::LIVE; scores.len()];
        for (row, own) in own.iter().enumerate() {
            if let Some(own) = *own {
                if own as usize >= columns {
                    return Err(Error::Shape { what: "own column of a row", expected: columns, got: own as usize });
                }
                marks[row * columns + own as usize] = Mark::POSITIVE;
            }
        }
        Ok(Self { origin, items, starts: None, scores, marks, log_weights: None, targets: None })
    }

    /// Each row its own cells: row r owns `starts[r]..starts[r + 1]` of `items` and `scores` `[cells]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths do not fit.
    pub fn ragged(origin: Origin, starts: Vec<usize>, items: Vec<ItemId>, scores: Vec<f32>) -> Result<Self> {
        fits("scores of a ragged segment", items.len(), scores.len())?;
        fits("last start of a ragged segment", items.len(), starts.last().copied().unwrap_or(usize::MAX))?;
        if let Some(w) = starts.windows(2).find(|w| w[0] > w[1]) {
            return Err(Error::Shape { what: "starts of a ragged segment, ascending", expected: w[0], got: w[1] });
        }
        let marks = vec![Mark::LIVE; scores.len()];
        Ok(Self { origin, items, starts: Some(starts), scores, marks, log_weights: None, targets: None })
    }

    /// Additive log-weights `[cells]` in nats: a cell counts as if it stood there `exp(w)` times.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn with_log_weights(mut self, log_weights: Vec<f32>) -> Result<Self> {
        fits("log-weights of a segment", self.scores.len(), log_weights.len())?;
        self.log_weights = Some(log_weights);
        Ok(self)
    }

    /// Targets `[cells]`: in LIST losses a row sums to 1 over its segments, in POINT losses each lies in `[0, 1]`.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn with_targets(mut self, targets: Vec<f32>) -> Result<Self> {
        fits("targets of a segment", self.scores.len(), targets.len())?;
        self.targets = Some(targets);
        Ok(self)
    }

    /// Makes one more cell a positive of its row (several positives). `cell` counts within the segment.
    ///
    /// # Errors
    /// [`Error::Shape`] for a cell that is not there.
    pub fn mark_positive(&mut self, cell: usize) -> Result<()> {
        let got = self.marks.len();
        match self.marks.get_mut(cell) {
            Some(mark) => {
                *mark = Mark::POSITIVE;
                Ok(())
            }
            None => Err(Error::Shape { what: "cell of a segment", expected: got, got: cell }),
        }
    }

    /// Where its cells come from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Columns, where they are the same for every row.
    pub fn columns(&self) -> Option<usize> {
        self.starts.is_none().then_some(self.items.len())
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.scores.len()
    }

    /// Rows that it fits; `None` where a shared segment has no columns and so fits any number.
    pub(super) fn rows(&self) -> Option<usize> {
        match &self.starts {
            Some(starts) => Some(starts.len().saturating_sub(1)),
            None => self.scores.len().checked_div(self.items.len()),
        }
    }

    /// Cells of one row, within the segment.
    pub(super) fn range(&self, row: usize) -> std::ops::Range<usize> {
        match &self.starts {
            Some(starts) => starts[row]..starts[row + 1],
            None => row * self.items.len()..(row + 1) * self.items.len(),
        }
    }

    /// Items of one row's cells.
    pub(super) fn row_items(&self, row: usize) -> &[ItemId] {
        match &self.starts {
            Some(starts) => &self.items[starts[row]..starts[row + 1]],
            None => &self.items,
        }
    }
}

pub(super) fn fits(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}
