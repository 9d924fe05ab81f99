//! The view of a block that losses read: a plain matrix of scores with what each cell is and weighs.

use super::fits;
use crate::block::Mark;
use crate::{Error, Result};

/// Rows x columns of scores, borrowed. Everything is row-major `[rows, columns]`.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    columns: usize,
    scores: &'a [f32],
    marks: &'a [Mark],
    log_weights: Option<&'a [f32]>,
    targets: Option<&'a [f32]>,
    row_weights: Option<&'a [f32]>,
}

/// One row of [`Scores`]; every slice is `[columns]`.
#[derive(Debug, Clone, Copy)]
pub struct Cells<'a> {
    /// Similarities, higher = closer.
    pub scores: &'a [f32],
    /// What each cell is.
    pub marks: &'a [Mark],
    /// Additive log-weights [nats]: a cell counts as if it stood there `exp(w)` times; none = all 0.
    pub log_weights: Option<&'a [f32]>,
    /// Soft targets, not negative; none = the positives.
    pub targets: Option<&'a [f32]>,
}

impl<'a> Scores<'a> {
    /// A view of `scores` with `marks`, both `[rows, columns]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths do not fit; [`Error::Parameter`] for a score that is not finite in a kept cell.
    pub fn new(columns: usize, scores: &'a [f32], marks: &'a [Mark]) -> Result<Self> {
        fits("marks of a block", scores.len(), marks.len())?;
        let rows = scores.len().checked_div(columns).unwrap_or(0);
        fits("scores of a block", rows * columns, scores.len())?;
        // Whole chunks at a time: a search that stops early would not become vector code.
        for (scores, marks) in scores.chunks(64).zip(marks.chunks(64)) {
            if scores.iter().fold(true, |all, s| all & s.is_finite()) {
                continue;
            }
            if let Some((bad, _)) = scores.iter().zip(marks).find(|(s, m)| m.is_kept() && !s.is_finite()) {
                return Err(Error::Parameter {
                    stage: "block",
                    field: "scores",
                    must: "finite: the encoder has diverged, lower the learning rate",
                    got: bad.to_string(),
                });
            }
        }
        Ok(Self { columns, scores, marks, log_weights: None, targets: None, row_weights: None })
    }

    /// Additive log-weights `[rows, columns]` in nats.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Parameter`] for a weight that is NaN or +inf.
    pub fn with_log_weights(self, weights: &'a [f32]) -> Result<Self> {
        fits("log-weights of a block", self.scores.len(), weights.len())?;
        all(weights, "log_weights", "below infinity", |w| w < f32::INFINITY)?;
        Ok(Self { log_weights: Some(weights), ..self })
    }

    /// Soft targets `[rows, columns]`, not negative. LIST losses bring those of a row's kept cells to a sum of 1; POINT
    /// losses read them as they are, in `[0, 1]`.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Parameter`] for a target below 0 or not finite.
    pub fn with_targets(self, targets: &'a [f32]) -> Result<Self> {
        fits("targets of a block", self.scores.len(), targets.len())?;
        all(targets, "targets", "at least 0 and finite", |t| (0.0..f32::INFINITY).contains(&t))?;
        Ok(Self { targets: Some(targets), ..self })
    }

    /// Weights of the rows `[rows]`, not negative. The mean over rows divides by their sum, so their scale does not matter.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Parameter`] for a weight below 0 or not finite.
    pub fn with_row_weights(self, weights: &'a [f32]) -> Result<Self> {
        fits("row weights of a block", self.rows(), weights.len())?;
        all(weights, "row_weights", "at least 0 and finite", |w| (0.0..f32::INFINITY).contains(&w))?;
        Ok(Self { row_weights: Some(weights), ..self })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.scores.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.scores.len()
    }

    /// The weight of a row, 1 where none was given.
    pub fn row_weight(&self, row: usize) -> f64 {
        self.row_weights.map_or(1.0, |w| f64::from(w[row]))
    }

    /// One row, which must be below [`Scores::rows`].
    pub fn row(&self, row: usize) -> Cells<'a> {
        let cells = row * self.columns..(row + 1) * self.columns;
        Cells {
            scores: &self.scores[cells.clone()],
            marks: &self.marks[cells.clone()],
            log_weights: self.log_weights.map(|w| &w[cells.clone()]),
            targets: self.targets.map(|t| &t[cells]),
        }
    }

    /// The scores `[rows, columns]`.
    pub fn scores(&self) -> &'a [f32] {
        self.scores
    }

    /// The marks `[rows, columns]`.
    pub fn marks(&self) -> &'a [Mark] {
        self.marks
    }

    /// The log-weights `[rows, columns]`, where there are any.
    pub fn log_weights(&self) -> Option<&'a [f32]> {
        self.log_weights
    }

    /// The targets `[rows, columns]`, where there are any.
    pub fn targets(&self) -> Option<&'a [f32]> {
        self.targets
    }
}

fn all(values: &[f32], field: &'static str, must: &'static str, fine: impl Fn(f32) -> bool) -> Result<()> {
    match values.iter().find(|v| !fine(**v)) {
        Some(bad) => Err(Error::Parameter { stage: "block", field, must, got: bad.to_string() }),
        None => Ok(()),
    }
}

impl<'a> Cells<'a> {
    /// Positions of the cells with this mark, in order.
    pub fn of(&self, mark: Mark) -> impl Iterator<Item = usize> + Clone + 'a {
        /// Chunks without a hit are passed over as a whole.
        const CHUNK: usize = 64;
        let chunks = self.marks.chunks(CHUNK).enumerate();
        let hit = move |(_, chunk): &(usize, &[Mark])| chunk.iter().fold(false, |any, m| any | (*m == mark));
        chunks.filter(hit).flat_map(move |(at, chunk)| {
            chunk.iter().enumerate().filter(move |(_, m)| **m == mark).map(move |(i, _)| at * CHUNK + i)
        })
    }

    /// Positions of the positives.
    pub fn positives(&self) -> impl Iterator<Item = usize> + Clone + 'a {
        self.of(Mark::POSITIVE)
    }

    /// Positions of the live negatives.
    pub fn live(&self) -> impl Iterator<Item = usize> + Clone + 'a {
        self.of(Mark::LIVE)
    }

    /// Positions of positives and live negatives.
    pub fn kept(&self) -> impl Iterator<Item = usize> + Clone + 'a {
        self.marks.iter().enumerate().filter(|(_, m)| m.is_kept()).map(|(i, _)| i)
    }

    /// Number of live negatives.
    pub fn live_count(&self) -> usize {
        self.marks.chunks(128).map(|c| usize::from(c.iter().map(|m| u8::from(m.is_live())).sum::<u8>())).sum()
    }

    /// Whether the row has a positive and a live negative.
    pub fn has_both(&self) -> bool {
        self.positives().next().is_some() && self.live().next().is_some()
    }

    /// The log-weight of a cell, 0 where none was given.
    pub fn log_weight(&self, at: usize) -> f64 {
        self.log_weights.map_or(0.0, |w| f64::from(w[at]))
    }

    /// The target of a cell for losses that judge it alone: the soft one, or 1 for a positive and 0 for a negative.
    pub fn target(&self, at: usize) -> f64 {
        match self.targets {
            Some(t) => f64::from(t[at]),
            None => f64::from(u8::from(self.marks[at].is_positive())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kept_cells_must_be_finite() {
        let marks = [Mark::POSITIVE, Mark::ABSENT];
        assert!(Scores::new(2, &[0.5, f32::NAN], &marks).is_ok());
        let said = Scores::new(2, &[f32::INFINITY, 0.0], &marks).unwrap_err().to_string();
        assert!(said.contains("lower the learning rate"), "{said}");
    }

    #[test]
    fn what_does_not_fit_is_refused() -> Result<()> {
        let marks = [Mark::LIVE; 4];
        let s = Scores::new(2, &[0.0; 4], &marks)?;
        assert!(Scores::new(3, &[0.0; 4], &marks).is_err());
        assert!(s.with_targets(&[0.0; 3]).is_err());
        assert!(s.with_targets(&[0.0, -0.1, 0.0, 0.0]).is_err());
        assert!(s.with_row_weights(&[1.0, f32::NAN]).is_err());
        assert!(s.with_log_weights(&[f32::NAN; 4]).is_err());
        Ok(())
    }

    #[test]
    fn positions_are_found_across_chunks() {
        let mut marks = vec![Mark::LIVE; 200];
        for at in [0, 63, 64, 199] {
            marks[at] = Mark::POSITIVE;
        }
        let cells = Cells { scores: &[0.0; 200], marks: &marks, log_weights: None, targets: None };
        assert_eq!(cells.positives().collect::<Vec<_>>(), [0, 63, 64, 199]);
        assert_eq!(cells.live().count(), 196);
    }
}
