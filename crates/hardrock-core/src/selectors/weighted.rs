//! A draw that prefers the harder survivors, as strongly as asked.
//!
//! ## Rule
//! Draws k live candidates without replacement, each time with probability proportional to `exp(score / temperature)` among
//! those left. The temperature is in units of the judging score: a candidate that scores one temperature higher is e times
//! as likely to be drawn first. For cosines try 0.02 to 0.1, for BM25, whose scores span tens, 1 to 5. Towards 0 it becomes
//! `top`, towards infinity `random`. Candidates without a judging score come last.
//!
//! ## Seen in
//! Self-adversarial sampling (RotatE), score-proportional samplers; the draw by Gumbel noise is Kool et al. 2019.

use serde::{Deserialize, Serialize};

use super::Draw;
use crate::{Error, Result, Row, Selector};

/// Parameters as written in TOML: `{ weighted = { temperature = 0.05 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weighted {
    /// In units of the judging score, above 0.
    pub temperature: f32,
}

impl Default for Weighted {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Weighted {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        if self.temperature > 0.0 && self.temperature.is_finite() {
            return Ok(self);
        }
        let got = self.temperature.to_string();
        Err(Error::Parameter { stage: "weighted", field: "temperature", must: "above 0 and finite", got })
    }
}

impl Selector for Weighted {
    fn select(&self, row: &Row<'_>, k: usize, seed: u64, key: u64, out: &mut Vec<usize>) -> Result<()> {
        let scores = row.scores();
        let t = f64::from(self.temperature);
        // Measured from the best, so that a tiny temperature makes the others improbable instead of all of them infinite.
        let best = row.live().map(|p| f64::from(scores[p])).find(|s| !s.is_nan()).unwrap_or(0.0);
        Draw::new(seed, b"s-weight", key).take(row, row.live(), k, out, |p| {
            let s = f64::from(scores[p]);
            (!s.is_nan()).then(|| if s == best { 0.0 } else { (s - best) / t })
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::row;

    #[test]
    fn the_first_draw_follows_the_softmax() -> Result<()> {
        let block = row(&[(0, 1.0), (1, 0.5), (2, -1.0)], &[]);
        let weighted = Weighted { temperature: 1.0 }.check()?;
        let mut counts = [0u32; 3];
        for key in 0..20_000 {
            let mut out = Vec::new();
            weighted.select(&block.row(0), 1, 1, key, &mut out)?;
            counts[out[0]] += 1;
        }
        let weights = [1f64, 0.5, -1.0].map(f64::exp);
        let expected = weights.map(|w| w / weights.iter().sum::<f64>() * 20_000.0);
        // Two degrees of freedom: 13.8 is the 0.1 % point of chi-square.
        let chi: f64 = counts.iter().zip(expected).map(|(&c, e)| (f64::from(c) - e).powi(2) / e).sum();
        assert!(chi < 13.8, "{chi}: {counts:?}");
        Ok(())
    }

    #[test]
    fn a_candidate_without_a_score_is_drawn_only_when_nothing_else_is_left() -> Result<()> {
        let block = row(&[(0, f32::NAN), (1, -5.0), (2, f32::NAN), (3, 9.0)], &[]);
        let mut drawn = [0u32; 4];
        for key in 0..200 {
            let mut out = Vec::new();
            Weighted::default().select(&block.row(0), 3, 0, key, &mut out)?;
            out.iter().for_each(|&p| drawn[p] += 1);
        }
        assert_eq!(drawn[..2], [200, 200]);
        assert!(drawn[2] > 60 && drawn[3] > 60, "{drawn:?}");
        Ok(())
    }

    #[test]
    fn a_temperature_that_is_not_above_zero_is_refused() {
        for temperature in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(Weighted { temperature }.check().is_err(), "{temperature}");
        }
    }
}
