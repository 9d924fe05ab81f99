//! Ambiguous negatives: a draw around the positive's own score, neither the hardest nor the easy ones.
//!
//! ## Rule
//! Draws k live candidates without replacement, each time with probability proportional to `exp(-a (s - p - b)^2)` among
//! those left, where s is the candidate's and p the positive's judging score (of several: the lowest, highest or mean).
//! `a` is in 1 / score units squared, `b` in score units: the published a = 0.5 was chosen for inner products that span
//! tens; cosines need hundreds. Candidates without a score come last; without a scored positive the draw is uniform.
//!
//! ## Seen in
//! SimANS (arXiv 2210.11773; a = 0.5 and b = 0 in its code for MS MARCO documents). Its code writes `+ b`, its
//! passage variant `exp(-3 |s - p|)`, and it draws one positive per step where we take one score for all.

use serde::{Deserialize, Serialize};

use super::Draw;
use crate::filters::Against;
use crate::{Error, Result, Row, Selector};

/// Parameters as written in TOML: `{ simans = { a = 0.5, b = 0.0 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Simans {
    /// Sharpness, in 1 / score units squared, `>= 0`; 0 draws uniformly.
    pub a: f32,
    /// Where the peak lies, in score units above the positive; usually 0 or below.
    pub b: f32,
    /// The positive to measure from.
    pub against: Against,
}

impl Default for Simans {
    fn default() -> Self {
        Self { a: 0.5, b: 0.0, against: Against::Min }
    }
}

impl Simans {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        let bad = |field, must, got: f32| {
            Err(Error::Parameter { stage: "simans", field, must, got: got.to_string() })
        };
        match (self.a, self.b) {
            (a, _) if !(a >= 0.0 && a.is_finite()) => bad("a", ">= 0 and finite", a),
            (_, b) if !b.is_finite() => bad("b", "finite", b),
            _ => Ok(self),
        }
    }
}

impl Selector for Simans {
    fn select(&self, row: &Row<'_>, k: usize, seed: u64, key: u64, out: &mut Vec<usize>) -> Result<()> {
        let (a, b) = (f64::from(self.a), f64::from(self.b));
        let positive = self.against.of(row.positive_scores()).map(f64::from);
        Draw::new(seed, b"s-simans", key).take(row, row.live(), k, out, |p| {
            let distance = f64::from(row.scores()[p]) - positive? - b;
            (!distance.is_nan()).then_some(-a * distance * distance)
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::row;

    fn first_draws(simans: &Simans, scores: &[f32], positives: &[(u32, f32)]) -> Result<Vec<f64>> {
        let candidates: Vec<(u32, f32)> = (0..).zip(scores.iter().copied()).collect();
        let block = row(&candidates, positives);
        let mut share = vec![0.0; scores.len()];
        for key in 0..20_000 {
            let mut out = Vec::new();
            simans.select(&block.row(0), 1, 1, key, &mut out)?;
            share[out[0]] += 1.0 / 20_000.0;
        }
        Ok(share)
    }

    #[test]
    fn the_draw_follows_the_published_density() -> Result<()> {
        let simans = Simans { a: 2.0, b: -0.5, against: Against::Min }.check()?;
        let scores = [2.0f32, 1.0, 0.5, -1.0];
        let weights = scores.map(|s| (-2.0 * (f64::from(s) - 1.0 + 0.5).powi(2)).exp());
        let share = first_draws(&simans, &scores, &[(9, 1.0)])?;
        for (got, weight) in share.iter().zip(weights) {
            let want = weight / weights.iter().sum::<f64>();
            // Four standard deviations of a share of 20,000 draws.
            assert!(
                (got - want).abs() < 4.0 * (want * (1.0 - want) / 20_000.0).sqrt() + 1e-3,
                "{got} {want}"
            );
        }
        Ok(())
    }

    #[test]
    fn without_a_scored_positive_the_draw_is_uniform() -> Result<()> {
        for positives in [&[][..], &[(9, f32::NAN)]] {
            let share = first_draws(&Simans::default(), &[50.0, 1.0], positives)?;
            assert!((share[0] - 0.5).abs() < 0.015, "{share:?}");
        }
        Ok(())
    }

    #[test]
    fn a_negative_or_missing_sharpness_is_refused() {
        assert!(Simans { a: -1.0, ..Simans::default() }.check().is_err());
        assert!(Simans { a: f32::NAN, ..Simans::default() }.check().is_err());
        assert!(Simans { b: f32::INFINITY, ..Simans::default() }.check().is_err());
    }
}
