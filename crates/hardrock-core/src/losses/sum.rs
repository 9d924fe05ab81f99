//! Several losses of one block, added up.

use super::{Loss, LossValue, Scores, fits};
use crate::Result;

/// A weighted sum of losses. A row is live where the first of them counts it.
#[derive(Debug, Default)]
pub struct Sum {
    parts: Vec<(f32, Box<dyn Loss>)>,
}

impl Sum {
    /// The sum of `parts`, each with its weight.
    pub fn new(parts: Vec<(f32, Box<dyn Loss>)>) -> Self {
        Self { parts }
    }
}

impl Loss for Sum {
    fn evaluate(&self, scores: &Scores<'_>, slope: &mut [f32]) -> Result<LossValue> {
        fits("slopes of a block", scores.cells(), slope.len())?;
        slope.fill(0.0);
        let mut sum = LossValue::default();
        let mut part_slope = vec![0.0; slope.len()];
        for (at, (weight, loss)) in self.parts.iter().enumerate() {
            let part = loss.evaluate(scores, &mut part_slope)?;
            slope.iter_mut().zip(&part_slope).for_each(|(s, p)| *s += weight * p);
            if at == 0 {
                (sum.live_rows, sum.empty_rows) = (part.live_rows, part.empty_rows);
            }
            let weight = f64::from(*weight);
            sum.mean += weight * part.mean;
            sum.temperature_slope += weight * part.temperature_slope;
            sum.bias_slope += weight * part.bias_slope;
        }
        Ok(sum)
    }
}
