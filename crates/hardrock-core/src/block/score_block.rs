//! The block of a training step: a dense matrix whose columns lie in segments, one for each kind of candidate.
//!
//! A row is an anchor. Filters judge the block segment by segment through the same [`Rows`] as mined candidates, so a rank
//! (`window`) counts within its segment. A row's own positives are no candidates: no filter sees them as live, and no
//! verdict can drop them. Losses read the whole matrix ([`ScoreBlock::view`]).

use std::ops::Range;

use super::row::Fates;
use super::{Evidence, Mark, Reason, Row, Rows, Verdict, Verdicts};
use crate::losses::{Scores, fits};
use crate::{AnchorId, Error, Facts, Filter, ItemId, Result};

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
    /// Documents that were mined: the row's own ones, or those of the whole batch.
    Mined,
    /// Vectors of earlier steps.
    Queue,
    /// Made by mixing or by a generator.
    Synthetic,
    /// Pairs that have nothing to do with the anchor: the same for every row, judged by no filter.
    Foreign,
    /// Class weights: the block is a classifier head, judged by no filter.
    Class,
}

impl Origin {
    fn is_judged(self) -> bool {
        !matches!(self, Self::Foreign | Self::Class)
    }

    /// Whether a row's own column is itself and not its positive.
    fn holds_itself(self) -> bool {
        matches!(self, Self::AnchorSide | Self::PositiveSide)
    }
}

/// What the columns of a segment stand for.
#[derive(Debug, Clone, PartialEq)]
pub enum Items {
    /// The same for every row `[width]`.
    Shared(Vec<ItemId>),
    /// Each row its own, row-major `[rows, width]`; `None` where a row has fewer than `width`.
    Own {
        /// Columns of the segment.
        width: usize,
        /// `[rows, width]`
        items: Vec<Option<ItemId>>,
    },
    /// So many columns that no document stands for; no filter judges them.
    Nameless(usize),
}

/// A segment as it is handed to [`ScoreBlock::new`].
#[derive(Debug, Clone, PartialEq)]
pub struct NewSegment {
    /// Where its cells come from.
    pub origin: Origin,
    /// What its columns stand for.
    pub items: Items,
    /// Similarities, row-major `[rows, width]`, higher = closer.
    pub scores: Vec<f32>,
    /// The column that is the row's own `[rows]`: its positive, or in segments of anchors against anchors and positives
    /// against positives the row itself, which counts as absent. Empty = no row has one here.
    pub own: Vec<Option<u32>>,
}

/// Columns of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    origin: Origin,
    columns: Range<usize>,
    /// `[width]` where shared, else `[rows, width]`.
    items: Vec<ItemId>,
    shared: bool,
}

impl Segment {
    /// Where its cells come from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Its columns within the block.
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// What the columns stand for in one row `[width]`.
    pub fn items(&self, row: usize) -> &[ItemId] {
        let width = self.columns.len();
        if self.shared { &self.items } else { &self.items[row * width..(row + 1) * width] }
    }
}

/// Anchors x candidates of a training step.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreBlock {
    anchors: Vec<AnchorId>,
    segments: Vec<Segment>,
    columns: usize,
    /// `[rows, columns]`, as are marks, log-weights and targets.
    scores: Vec<f32>,
    marks: Vec<Mark>,
    log_weights: Option<Vec<f32>>,
    targets: Option<Vec<f32>>,
    row_weights: Option<Vec<f32>>,
    /// Positives of row r: `positive_starts[r]..positive_starts[r + 1]`.
    positive_starts: Vec<usize>,
    positives: Vec<ItemId>,
    positive_scores: Vec<f32>,
    verdicts: Vec<(usize, Verdict)>,
}

/// Stands in item lists where a cell is absent or nameless.
const NOBODY: ItemId = ItemId(u32::MAX);

impl ScoreBlock {
    /// A block of these rows out of segments that all fit them.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for a segment of another number of rows or an own column that is not there.
    pub fn new(anchors: Vec<AnchorId>, segments: Vec<NewSegment>) -> Result<Self> {
        let rows = anchors.len();
        let mut kept = Vec::with_capacity(segments.len());
        let mut columns = 0;
        for segment in &segments {
            let (items, width, shared) = match &segment.items {
                Items::Shared(items) => (items.clone(), items.len(), true),
                Items::Nameless(width) => (vec![NOBODY; *width], *width, true),
                Items::Own { width, items } => {
                    fits("items of a segment", rows * width, items.len())?;
                    (items.iter().map(|i| i.unwrap_or(NOBODY)).collect(), *width, false)
                }
            };
            fits("scores of a segment", rows * width, segment.scores.len())?;
            if !segment.own.is_empty() {
                fits("own columns of a segment", rows, segment.own.len())?;
            }
            if let Some(own) = segment.own.iter().flatten().find(|own| **own as usize >= width) {
                let what = "own column of a row, below the width of its segment";
                return Err(Error::Shape { what, expected: width, got: *own as usize });
            }
            kept.push(Segment { origin: segment.origin, columns: columns..columns + width, items, shared });
            columns += width;
        }
        let mut block = Self {
            scores: vec![0.0; rows * columns],
            marks: vec![Mark::LIVE; rows * columns],
            anchors,
            segments: kept,
            columns,
            log_weights: None,
            targets: None,
            row_weights: None,
            positive_starts: Vec::new(),
            positives: Vec::new(),
            positive_scores: Vec::new(),
            verdicts: Vec::new(),
        };
        for (at, segment) in segments.iter().enumerate() {
            block.fill(at, segment);
        }
        block.collect_positives();
        Ok(block)
    }

    fn fill(&mut self, at: usize, from: &NewSegment) {
        let range = self.segments[at].columns();
        for row in 0..self.anchors.len() {
            let to = row * self.columns + range.start;
            let cells = row * range.len()..(row + 1) * range.len();
            self.scores[to..to + range.len()].copy_from_slice(&from.scores[cells.clone()]);
            if let Items::Own { items, .. } = &from.items {
                for (mark, item) in self.marks[to..].iter_mut().zip(&items[cells]) {
                    *mark = if item.is_some() { Mark::LIVE } else { Mark::ABSENT };
                }
            }
            if let Some(Some(own)) = from.own.get(row) {
                let mark = if from.origin.holds_itself() { Mark::ABSENT } else { Mark::POSITIVE };
                self.marks[to + *own as usize] = mark;
            }
        }
    }

    fn collect_positives(&mut self) {
        (self.positive_starts, self.positives, self.positive_scores) = (vec![0], Vec::new(), Vec::new());
        for row in 0..self.anchors.len() {
            for segment in &self.segments {
                let items = segment.items(row);
                for (item, column) in items.iter().zip(segment.columns()) {
                    let cell = row * self.columns + column;
                    if self.marks[cell].is_positive() {
                        self.positives.push(*item);
                        self.positive_scores.push(self.scores[cell]);
                    }
                }
            }
            self.positive_starts.push(self.positives.len());
        }
    }

    /// Makes more cells positives of their rows (several positives); a dropped or absent cell stays what it is.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for a cell that is not there.
    pub fn mark_positives(&mut self, cells: impl IntoIterator<Item = (usize, usize)>) -> Result<()> {
        for (row, column) in cells {
            if row >= self.rows() || column >= self.columns {
                let got = row * self.columns + column;
                return Err(Error::Shape { what: "cell of a block", expected: self.cells(), got });
            }
            let mark = &mut self.marks[row * self.columns + column];
            if mark.is_live() {
                *mark = Mark::POSITIVE;
            }
        }
        self.collect_positives();
        Ok(())
    }

    /// Adds log-weights `[rows, columns]` in nats to those that are there.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn add_log_weights(&mut self, weights: &[f32]) -> Result<()> {
        fits("log-weights of a block", self.cells(), weights.len())?;
        match &mut self.log_weights {
            Some(have) => have.iter_mut().zip(weights).for_each(|(a, b)| *a += b),
            None => self.log_weights = Some(weights.to_vec()),
        }
        Ok(())
    }

    /// Sets soft targets `[rows, columns]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn set_targets(&mut self, targets: Vec<f32>) -> Result<()> {
        fits("targets of a block", self.cells(), targets.len())?;
        self.targets = Some(targets);
        Ok(())
    }

    /// Sets weights of the rows `[rows]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn set_row_weights(&mut self, weights: Vec<f32>) -> Result<()> {
        fits("row weights of a block", self.rows(), weights.len())?;
        self.row_weights = Some(weights);
        Ok(())
    }

    /// The whole matrix, as losses read it.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] for a score that is not finite, or weights or targets outside their range.
    pub fn view(&self) -> Result<Scores<'_>> {
        let mut view = Scores::new(self.columns, &self.scores, &self.marks)?;
        if let Some(w) = &self.log_weights {
            view = view.with_log_weights(w)?;
        }
        if let Some(t) = &self.targets {
            view = view.with_targets(t)?;
        }
        match &self.row_weights {
            Some(w) => view.with_row_weights(w),
            None => Ok(view),
        }
    }

    /// Number of anchors.
    pub fn rows(&self) -> usize {
        self.anchors.len()
    }

    /// Number of columns over all segments.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of cells, absent ones included.
    pub fn cells(&self) -> usize {
        self.scores.len()
    }

    /// The segments, in the order of their columns.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Where a column comes from; `None` behind the last.
    pub fn origin(&self, column: usize) -> Option<Origin> {
        self.segments.iter().find(|s| s.columns.contains(&column)).map(|s| s.origin)
    }

    /// What each cell is `[rows, columns]`.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The part of `slope` `[rows, columns]` that belongs to one segment, row-major `[rows, width]`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn segment_slope(&self, segment: usize, slope: &[f32]) -> Result<Vec<f32>> {
        fits("slopes of a block", self.cells(), slope.len())?;
        let range = self.segments[segment].columns();
        let rows = (0..self.rows()).map(|r| r * self.columns);
        Ok(rows.flat_map(|first| &slope[first + range.start..first + range.end]).copied().collect())
    }

    /// One segment, as filters see it.
    pub fn judged(&self, segment: usize) -> Judgeable<'_> {
        Judgeable { block: self, segment }
    }

    /// Lets filters judge the segments, in the order of the filters, and drops what they say.
    ///
    /// # Errors
    /// The filter's own.
    pub fn filter<'f>(
        &mut self,
        filters: impl IntoIterator<Item = &'f (dyn Filter + 'static)>,
        facts: &Facts<'_>,
    ) -> Result<()> {
        for filter in filters {
            for segment in 0..self.segments.len() {
                if self.segments[segment].origin.is_judged() {
                    let mut verdicts = Verdicts::default();
                    filter.judge(&self.judged(segment), facts, &mut verdicts)?;
                    self.apply(verdicts);
                }
            }
        }
        Ok(())
    }

    /// Writes verdicts into the block: the only way to drop. The first reason of a cell stays; a positive is never dropped.
    pub fn apply(&mut self, verdicts: Verdicts) {
        for (cell, verdict) in verdicts.into_inner() {
            if let Some(mark) = self.marks.get_mut(cell).filter(|m| m.is_live()) {
                *mark = Mark::dropped(verdict.reason);
                self.verdicts.push((cell, verdict));
            }
        }
    }

    /// Dropped cells (row x columns + column) with their verdicts, in the order in which they were dropped.
    pub fn verdicts(&self) -> &[(usize, Verdict)] {
        &self.verdicts
    }

    /// Dropped cells per reason, in the order of [`Reason::ALL`].
    pub fn dropped(&self) -> Vec<u64> {
        let mut counts = vec![0; Reason::ALL.len()];
        for (_, verdict) in &self.verdicts {
            counts[verdict.reason as usize] += 1;
        }
        counts
    }
}

/// One segment of a training block, as a [`Filter`] judges it.
#[derive(Debug, Clone, Copy)]
pub struct Judgeable<'a> {
    block: &'a ScoreBlock,
    segment: usize,
}

impl Rows for Judgeable<'_> {
    fn rows(&self) -> usize {
        self.block.rows()
    }

    fn row(&self, row: usize) -> Row<'_> {
        let (block, segment) = (self.block, &self.block.segments[self.segment]);
        let first = row * block.columns;
        let cells = first + segment.columns.start..first + segment.columns.end;
        let positives = block.positive_starts[row]..block.positive_starts[row + 1];
        Row {
            anchor: block.anchors[row],
            first: cells.start,
            items: segment.items(row),
            scores: &block.scores[cells.clone()],
            fates: Fates::Marks(&block.marks[cells]),
            evidence: &[],
            signals: &[],
            positives: &block.positives[positives.clone()],
            positive_scores: &block.positive_scores[positives],
        }
    }

    fn evidence(&self) -> &[Evidence] {
        &[]
    }
}
