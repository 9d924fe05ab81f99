//! Drops candidates that are probably false negatives.
//!
//! ## Rule
//! A cell goes when its p_fn, the estimated probability that it is in truth a positive, is above `max`. A cell without p_fn
//! stays. The filter runs last: a promise about false negatives needs to know what would live without it.
//!
//! ## Seen in
//! No miner. Denoising by a cross-encoder's score (RocketQA) is the nearest; it thresholds a relevance, not a probability.

use serde::{Deserialize, Serialize};

use crate::{Error, Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// Parameters as written in TOML: `{ p_fn = { max = 0.2 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PFn {
    /// Highest p_fn that stays, in `[0, 1]`.
    pub max: f32,
}

impl Default for PFn {
    fn default() -> Self {
        Self { max: 0.2 }
    }
}

impl PFn {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        if (0.0..=1.0).contains(&self.max) {
            return Ok(self);
        }
        Err(Error::Parameter { stage: "p_fn", field: "max", must: "in [0, 1]", got: self.max.to_string() })
    }
}

impl Filter for PFn {
    fn judge(&self, block: &dyn Rows, _: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        for row in block.iter() {
            let Some(p) = row.signal(crate::p_fn::signal::P_FN) else {
                return Err(Error::Missing { stage: "p_fn", what: "estimates of p_fn (texts to compare)" });
            };
            for position in row.live().filter(|&c| p[c] > self.max) {
                out.drop(&row, position, Verdict::new(Reason::MaxPFn, p[position], self.max));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, drops, row};
    use crate::{Block, Signal, p_fn::signal};

    fn with(p: &[f32]) -> Result<Block> {
        let mut block = row(&[(1, 0.9), (2, 0.8), (3, 0.7)], &[(0, 1.0)]);
        block.set_signals(vec![Signal { name: signal::P_FN.into(), values: p.to_vec() }])?;
        Ok(block)
    }

    #[test]
    fn the_maximum_itself_and_the_unknown_stay() -> Result<()> {
        let block = with(&[0.2, 0.21, f32::NAN])?;
        assert_eq!(drops(&PFn { max: 0.2 }, block, &World::default())?, [false, true, false]);
        Ok(())
    }

    #[test]
    fn a_block_without_estimates_is_an_error_that_says_so() {
        let judged = drops(&PFn::default(), row(&[(1, 0.9)], &[]), &World::default());
        assert!(matches!(judged, Err(Error::Missing { stage: "p_fn", .. })));
    }

    #[test]
    fn a_maximum_that_is_no_probability_is_refused() {
        assert!(PFn { max: f32::NAN }.check().is_err() && PFn { max: 1.1 }.check().is_err());
    }
}
