//! Row weights: plain numbers, detached, capped, with a mean of 1.

use super::{List, RowLoss, Scores, must};
use crate::{Error, Result};

/// Caps weights at `cap` times their mean, then brings their mean to 1. Weights of 0 stay 0; all 0 stays all 0.
///
/// # Errors
/// [`Error::Parameter`] for a cap that is not above 1, or a weight below 0 or not finite.
pub fn mean_one(weights: &mut [f32], cap: f32) -> Result<()> {
    must(cap > 1.0, "weights", "cap", "above 1", cap)?;
    if let Some(bad) = weights.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
        let (stage, field, must) = ("weights", "weight", "at least 0 and finite");
        return Err(Error::Parameter { stage, field, must, got: bad.to_string() });
    }
    let mean = |weights: &[f32]| weights.iter().map(|w| f64::from(*w)).sum::<f64>() / weights.len() as f64;
    let top = (mean(weights) * f64::from(cap)) as f32;
    weights.iter_mut().for_each(|w| *w = w.min(top));
    let now = mean(weights);
    if now > 0.0 {
        weights.iter_mut().for_each(|w| *w = (f64::from(*w) / now) as f32);
    }
    Ok(())
}

/// Focal row weights `(1 - p)^gamma`, with p the probability that `list` gives the row's positives, capped at 10 times
/// their mean and brought to a mean of 1 over the rows that count; 0 for the others.
///
/// # Errors
/// [`Error::Parameter`] for a gamma below 0.
pub fn focal_weights(scores: &Scores<'_>, list: &List, gamma: f32) -> Result<Vec<f32>> {
    must(gamma >= 0.0 && gamma.is_finite(), "weights", "gamma", "at least 0", gamma)?;
    let mut p = vec![0.0; scores.columns()];
    let mut rows = Vec::new();
    let mut live = Vec::new();
    for r in 0..scores.rows() {
        let row = scores.row(r);
        if row.has_both() && list.counts(&row) {
            list.softmax(&row, &mut p);
            let hit: f32 = row.positives().map(|at| p[at]).sum();
            rows.push(r);
            live.push((1.0 - hit).max(0.0).powf(gamma));
        }
    }
    mean_one(&mut live, 10.0)?;
    let mut weights = vec![0.0; scores.rows()];
    for (r, w) in rows.into_iter().zip(live) {
        weights[r] = w;
    }
    Ok(weights)
}
