//! The block of a training step: dense where columns are shared, ragged where rows bring their own.
//!
//! A row is an anchor; its cells run through the segments in order. Filters judge it segment by segment through the same
//! [`Rows`] as mined candidates, so a rank (`window`) counts within its segment. A row's own positives are no candidates:
//! no filter sees them as live, and no verdict can drop them.

use std::ops::Range;

use super::row::Fates;
use super::segment::fits;
use super::{Evidence, Mark, Origin, Reason, Row, Rows, Segment, Verdict, Verdicts};
use crate::{AnchorId, Error, Facts, Filter, ItemId, Result};

/// Anchors x candidates of a training step: what weighers and losses read.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreBlock {
    /// `[rows]`
    anchors: Vec<AnchorId>,
    segments: Vec<Segment>,
    /// First cell of each segment.
    firsts: Vec<usize>,
    /// Positives of row r: `positive_starts[r]..positive_starts[r + 1]`.
    positive_starts: Vec<usize>,
    positives: Vec<ItemId>,
    positive_scores: Vec<f32>,
    /// `[rows]`; none = all 1.
    row_weights: Option<Vec<f32>>,
    /// Dropped cells by number, in the order in which they were dropped.
    verdicts: Vec<(usize, Verdict)>,
}

/// The cells of one row in one segment.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Where they come from.
    pub origin: Origin,
    /// Number of the first cell in the block.
    pub first: usize,
    /// What they stand for `[cells]`.
    pub items: &'a [ItemId],
    /// Similarities `[cells]`, higher = closer.
    pub scores: &'a [f32],
    /// What each cell is `[cells]`.
    pub marks: &'a [Mark],
    /// Log-weights `[cells]` in nats; none = all 0.
    pub log_weights: Option<&'a [f32]>,
    /// Targets `[cells]`; none = 1 at the positives.
    pub targets: Option<&'a [f32]>,
}

impl ScoreBlock {
    /// A block of these rows out of segments that all fit them.
    ///
    /// # Errors
    /// [`Error::Shape`] for a segment of another number of rows; [`Error::Parameter`] for a score that is not finite.
    pub fn new(anchors: Vec<AnchorId>, segments: Vec<Segment>) -> Result<Self> {
        let mut firsts = Vec::with_capacity(segments.len());
        let mut cells = 0;
        for segment in &segments {
            fits("rows of a segment", anchors.len(), segment.rows().unwrap_or(anchors.len()))?;
            if let Some(bad) = segment.scores.iter().find(|s| !s.is_finite()) {
                return Err(Error::Parameter {
                    stage: "block",
                    field: "scores",
                    must: "finite: the encoder has diverged, lower the learning rate",
                    got: bad.to_string(),
                });
            }
            firsts.push(cells);
            cells += segment.cells();
        }
        let (mut positive_starts, mut positives, mut positive_scores) = (vec![0], Vec::new(), Vec::new());
        for row in 0..anchors.len() {
            for segment in &segments {
                let items = segment.row_items(row);
                for (at, cell) in segment.range(row).enumerate() {
                    if segment.marks[cell] == Mark::POSITIVE {
                        positives.push(items[at]);
                        positive_scores.push(segment.scores[cell]);
                    }
                }
            }
            positive_starts.push(positives.len());
        }
        let verdicts = Vec::new();
        Ok(Self { anchors, segments, firsts, positive_starts, positives, positive_scores, row_weights: None, verdicts })
    }

    /// Weights of the rows, `[rows]`, not negative.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Parameter`] for a weight below 0 or not finite.
    pub fn with_row_weights(mut self, weights: Vec<f32>) -> Result<Self> {
        fits("row weights", self.anchors.len(), weights.len())?;
        if let Some(bad) = weights.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
            let (stage, field, must) = ("block", "row_weights", "at least 0 and finite");
            return Err(Error::Parameter { stage, field, must, got: bad.to_string() });
        }
        self.row_weights = Some(weights);
        Ok(self)
    }

    /// Adds log-weights `[cells]` in nats to those that are there.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn add_log_weights(&mut self, weights: &[f32]) -> Result<()> {
        fits("log-weights of a block", self.cells(), weights.len())?;
        for (segment, &first) in self.segments.iter_mut().zip(&self.firsts) {
            let more = &weights[first..first + segment.cells()];
            match &mut segment.log_weights {
                Some(have) => have.iter_mut().zip(more).for_each(|(a, b)| *a += b),
                None => segment.log_weights = Some(more.to_vec()),
            }
        }
        Ok(())
    }

    /// Number of anchors.
    pub fn rows(&self) -> usize {
        self.anchors.len()
    }

    /// The anchors `[rows]`.
    pub fn anchors(&self) -> &[AnchorId] {
        &self.anchors
    }

    /// Number of cells over all rows and segments.
    pub fn cells(&self) -> usize {
        self.segments.iter().map(Segment::cells).sum()
    }

    /// The segments, in the order of the cells.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The cells of segment `at`, as a range of the block's.
    pub fn segment_cells(&self, at: usize) -> Range<usize> {
        self.firsts[at]..self.firsts[at] + self.segments[at].cells()
    }

    /// The weight of a row.
    pub fn row_weight(&self, row: usize) -> f64 {
        self.row_weights.as_ref().map_or(1.0, |w| f64::from(w[row]))
    }

    /// One row's cells in one segment.
    pub fn part(&self, row: usize, segment: usize) -> Part<'_> {
        let (of, first) = (&self.segments[segment], self.firsts[segment]);
        let range = of.range(row);
        Part {
            origin: of.origin,
            first: first + range.start,
            items: of.row_items(row),
            scores: &of.scores[range.clone()],
            marks: &of.marks[range.clone()],
            log_weights: of.log_weights.as_ref().map(|w| &w[range.clone()]),
            targets: of.targets.as_ref().map(|t| &t[range]),
        }
    }

    /// One row's cells, segment by segment.
    pub fn parts(&self, row: usize) -> impl Iterator<Item = Part<'_>> + Clone {
        (0..self.segments.len()).map(move |s| self.part(row, s))
    }

    /// Scores of a row's positives.
    pub fn positive_scores(&self, row: usize) -> &[f32] {
        &self.positive_scores[self.positive_starts[row]..self.positive_starts[row + 1]]
    }

    /// Whether a row has a positive and a live negative, and weighs something: only then a loss counts it.
    pub fn counts(&self, row: usize) -> bool {
        self.row_weight(row) > 0.0
            && !self.positive_scores(row).is_empty()
            && self.parts(row).any(|p| p.marks.contains(&Mark::LIVE))
    }

    /// One segment's rows `rows`, as filters see them.
    pub fn judged(&self, segment: usize, rows: Range<usize>) -> Judgeable<'_> {
        Judgeable { block: self, segment, rows }
    }

    /// Lets filters judge every segment but those of class weights, in their order, and drops what they say.
    ///
    /// # Errors
    /// The filter's own.
    pub fn filter(&mut self, filters: &[Box<dyn Filter>], facts: &Facts<'_>) -> Result<()> {
        for filter in filters {
            for segment in 0..self.segments.len() {
                if self.segments[segment].origin == Origin::Class {
                    continue;
                }
                let mut verdicts = Verdicts::default();
                filter.judge(&self.judged(segment, 0..self.rows()), facts, &mut verdicts)?;
                self.apply(verdicts);
            }
        }
        Ok(())
    }

    /// Writes verdicts into the block: the only way to drop. The first reason of a cell stays; a positive is never dropped.
    pub fn apply(&mut self, verdicts: Verdicts) {
        for (cell, verdict) in verdicts.into_inner() {
            let at = self.firsts.partition_point(|&first| first <= cell) - 1;
            let mark = self.segments.get_mut(at).and_then(|s| s.marks.get_mut(cell - self.firsts[at]));
            if let Some(mark) = mark.filter(|m| **m == Mark::LIVE) {
                *mark = Mark::dropped(&verdict);
                self.verdicts.push((cell, verdict));
            }
        }
    }

    /// The dropped cells with their verdicts, in the order in which they were dropped.
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

/// Rows of one segment, as [`Filter`] judges them.
#[derive(Debug, Clone)]
pub struct Judgeable<'a> {
    block: &'a ScoreBlock,
    segment: usize,
    rows: Range<usize>,
}

impl Rows for Judgeable<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, row: usize) -> Row<'_> {
        let row = self.rows.start + row;
        let part = self.block.part(row, self.segment);
        let positives = self.block.positive_starts[row]..self.block.positive_starts[row + 1];
        Row {
            anchor: self.block.anchors[row],
            first: part.first,
            items: part.items,
            scores: part.scores,
            fates: Fates::Marks(part.marks),
            evidence: &[],
            positives: &self.block.positives[positives.clone()],
            positive_scores: &self.block.positive_scores[positives],
        }
    }

    fn evidence(&self) -> &[Evidence] {
        &[]
    }
}
