//! Two-sided: rows against columns and columns against rows.
//!
//! ## Rule
//! The mean of `list` over the rows of the whole block and of `list` over the columns of a range of it, in which every
//! column with a positive is a row of its own. A cell dropped one way is dropped the other way.
//!
//! ## Seen in
//! CLIP, GISTEmbed, MultipleNegativesSymmetricRankingLoss, NegCLIP (columns: only the first 2B texts)

use std::ops::Range;

use super::{List, Loss, LossValue, Scores, fits};
use crate::block::Mark;
use crate::{Error, Result};

/// LIST in both directions. The columns that are turned into rows must be shared by all rows of the block.
#[derive(Debug, Clone, PartialEq)]
pub struct BothWays {
    /// The loss of either direction.
    pub list: List,
    /// Columns that are rows of the other direction; none = all.
    pub columns: Option<Range<usize>>,
}

impl Loss for BothWays {
    fn evaluate(&self, scores: &Scores<'_>, slope: &mut [f32]) -> Result<LossValue> {
        fits("slopes of a block", scores.cells(), slope.len())?;
        let (rows, width) = (scores.rows(), scores.columns());
        let range = self.columns.clone().unwrap_or(0..width);
        if range.end > width || range.start > range.end {
            let what = "columns that are turned into rows";
            return Err(Error::Shape { what, expected: width, got: range.end.max(range.start) });
        }
        let there = self.list.evaluate(scores, slope)?;
        let turned = turn(scores.scores(), width, rows, &range);
        let marks = turn(scores.marks(), width, rows, &range);
        let log_weights = scores.log_weights().map(|w| turn(w, width, rows, &range));
        let targets = scores.targets().map(|t| turn(t, width, rows, &range));
        let weights: Vec<f32> = range.clone().map(|c| column_weight(scores, c)).collect();
        let mut other = Scores::new(rows, &turned, &marks)?.with_row_weights(&weights)?;
        if let Some(w) = &log_weights {
            other = other.with_log_weights(w)?;
        }
        if let Some(t) = &targets {
            other = other.with_targets(t)?;
        }
        let mut back = vec![0.0; turned.len()];
        let here = self.list.evaluate(&other, &mut back)?;
        slope.iter_mut().for_each(|s| *s *= 0.5);
        for (at, column) in range.enumerate() {
            for row in 0..rows {
                slope[row * width + column] += 0.5 * back[at * rows + row];
            }
        }
        Ok(LossValue {
            mean: 0.5 * (there.mean + here.mean),
            live_rows: there.live_rows,
            empty_rows: there.empty_rows,
            temperature_slope: 0.5 * (there.temperature_slope + here.temperature_slope),
            bias_slope: 0.0,
        })
    }
}

/// A column weighs what the rows weigh whose positive it is, on average; 0 where it is nobody's.
fn column_weight(scores: &Scores<'_>, column: usize) -> f32 {
    let own = |row: &usize| scores.marks()[row * scores.columns() + column] == Mark::POSITIVE;
    let (sum, count) =
        (0..scores.rows()).filter(own).fold((0.0, 0), |(s, n), r| (s + scores.row_weight(r), n + 1));
    if count > 0 { (sum / f64::from(count)) as f32 } else { 0.0 }
}

fn turn<T: Copy>(cells: &[T], width: usize, rows: usize, range: &Range<usize>) -> Vec<T> {
    range.clone().flat_map(|c| (0..rows).map(move |r| cells[r * width + c])).collect()
}
