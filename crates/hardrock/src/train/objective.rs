//! From vectors of a batch to the loss and to the slopes of the vectors.

use hardrock_core::Mark;
use hardrock_core::losses::{List, LossValue, RowLoss, Scores, Share};
use hardrock_engine::training::{View, add_product};
use rayon::prelude::*;

use super::batches::Batch;
use crate::Result;

/// The loss of a job.
#[derive(Debug)]
pub(crate) struct Objective {
    pub(crate) list: List,
    /// Whether positives choose among anchors as well.
    pub(crate) two_sided: bool,
}

/// Room for a step's scores.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) scores: Vec<f32>,
    slopes: Vec<f32>,
}

impl Objective {
    /// The loss of `rows` (anchors) against `columns` (documents), unit vectors of `dim` columns. Writes dL/d of each vector
    /// into `row_slopes` and `column_slopes`; the scores stay in `room`.
    pub(crate) fn evaluate(
        &self,
        batch: &Batch,
        dim: usize,
        [rows, columns]: [&[f32]; 2],
        [row_slopes, column_slopes]: [&mut [f32]; 2],
        room: &mut Room,
    ) -> Result<LossValue> {
        let (height, width) = (batch.anchors.len(), batch.documents.len());
        let (anchors, documents) = (View::new(rows, height, dim), View::new(columns, width, dim));
        let Room { scores, slopes } = room;
        scores.clear();
        scores.resize(height * width, 0.0);
        slopes.resize(height * width, 0.0);
        add_product(anchors, documents.t(), scores);
        let mut value = evaluate(&self.list, &Scores::new(width, scores, &batch.marks)?, slopes);
        if self.two_sided {
            let other = self.other_side(batch, scores, slopes)?;
            value.mean = 0.5 * (value.mean + other.mean);
        }
        row_slopes.fill(0.0);
        column_slopes.fill(0.0);
        let slopes = View::new(slopes, height, width);
        add_product(slopes, documents, row_slopes);
        add_product(slopes.t(), anchors, column_slopes);
        Ok(value)
    }

    /// Positives as rows, anchors as columns; halves both sides' slopes.
    fn other_side(&self, batch: &Batch, scores: &[f32], slopes: &mut [f32]) -> Result<LossValue> {
        let (height, width) = (batch.anchors.len(), batch.documents.len());
        let cells =
            || (0..batch.positives).flat_map(move |column| (0..height).map(move |row| row * width + column));
        let turned: Vec<f32> = cells().map(|cell| scores[cell]).collect();
        let marks: Vec<Mark> = cells().map(|cell| batch.marks[cell]).collect();
        let mut turned_slopes = vec![0.0; turned.len()];
        let value = evaluate(&self.list, &Scores::new(height, &turned, &marks)?, &mut turned_slopes);
        slopes.iter_mut().for_each(|slope| *slope *= 0.5);
        for (cell, slope) in cells().zip(turned_slopes) {
            slopes[cell] += 0.5 * slope;
        }
        Ok(value)
    }
}

/// Row by row on the current rayon pool.
fn evaluate(loss: &dyn RowLoss, scores: &Scores<'_>, slopes: &mut [f32]) -> LossValue {
    let share = Share::of(loss, scores);
    let rows = slopes.par_chunks_mut(scores.columns().max(1)).enumerate();
    let values: Vec<_> = rows.map(|(row, slope)| share.row(loss, scores, row, slope)).collect();
    share.gather(&values)
}

#[cfg(test)]
mod tests {
    use hardrock_core::{Reason, Rng};

    use super::*;

    const DIM: usize = 3;

    fn batch() -> Batch {
        let (p, n, k) = (Mark::POSITIVE, Mark::LIVE, Mark::dropped(Reason::Known));
        let marks = [[p, n, k, n], [n, p, n, n], [p, n, n, n]].concat();
        Batch { anchors: vec![0, 1, 2], documents: vec![0, 1, 2, 3], positives: 2, marks, masked: 0 }
    }

    #[test]
    fn slopes_of_vectors_are_those_of_finite_differences() {
        let mut rng = Rng::at(5, 0, 0);
        let vectors: Vec<f32> = (0..7 * DIM).map(|_| rng.unit() as f32 - 0.5).collect();
        for two_sided in [false, true] {
            let list = List { temperature: 0.3, margin: 0.1, ..List::default() };
            let objective = Objective { list, two_sided };
            let value = |vectors: &[f32], slopes: &mut [f32]| {
                let (rows, columns) = vectors.split_at(3 * DIM);
                let (row_slopes, column_slopes) = slopes.split_at_mut(3 * DIM);
                let mut room = Room::default();
                objective
                    .evaluate(&batch(), DIM, [rows, columns], [row_slopes, column_slopes], &mut room)
                    .unwrap()
                    .mean
            };
            let mut slopes = vec![f32::NAN; vectors.len()];
            value(&vectors, &mut slopes);
            for at in 0..vectors.len() {
                let moved = |by: f32| {
                    let mut vectors = vectors.clone();
                    vectors[at] += by;
                    value(&vectors, &mut vec![0.0; slopes.len()])
                };
                let want = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!(
                    (f64::from(slopes[at]) - want).abs() < 2e-3,
                    "{two_sided} {at}: {} for {want}",
                    slopes[at]
                );
            }
        }
    }
}
