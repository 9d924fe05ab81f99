//! Drops near-copies of a positive.
//!
//! ## Rule
//! A cell goes when its word shingles share at least `threshold` (exact Jaccard) with those of a positive of the anchor (or
//! of an anchor with the same text). The verdict names the closest positive.
//!
//! The default 0.8 is the convention of corpus deduplication (Lee et al. 2022 take it for MinHash candidates), not tuned
//! here: at that overlap two documents differ in a date or a line of boilerplate. It catches copies; relatives of a
//! positive that share its words but not its sentences are the task of `kin`.
//!
//! ## Seen in
//! Deduplicating Training Data Makes Language Models Better (arXiv 2107.06499), MinHash of corpus pipelines; no miner.

use serde::{Deserialize, Serialize};

use super::{Closest, positives};
use crate::{Error, Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// Parameters as written in TOML: `{ near = { threshold = 0.8 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Near {
    /// Jaccard similarity from which on a candidate counts as a copy, in `(0, 1]`.
    pub threshold: f32,
}

impl Default for Near {
    fn default() -> Self {
        Self { threshold: 0.8 }
    }
}

impl Near {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        if self.threshold > 0.0 && self.threshold <= 1.0 {
            return Ok(self);
        }
        let got = self.threshold.to_string();
        Err(Error::Parameter { stage: "near", field: "threshold", must: "in (0, 1]", got })
    }
}

impl Filter for Near {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let overlap =
            facts.overlap.ok_or(Error::Missing { stage: "near", what: "the texts of the documents" })?;
        let mut closest = Closest::default();
        for row in block.iter() {
            let measure = |p, items: &[_], values: &mut [_]| overlap.jaccard(p, items, values);
            for (position, v, p) in closest.of(&row, &positives(&row, facts), measure)? {
                if v >= self.threshold {
                    out.drop(&row, position, Verdict::new(Reason::Near, v, self.threshold).against(p));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ItemId;
    use crate::fixture::{World, judge, row};

    #[test]
    fn the_closest_positive_decides_and_the_threshold_itself_drops() -> Result<()> {
        // Likeness of the fixture: a hundredth per unit of distance between the item numbers.
        let world = World { related: true, ..World::default() };
        let near = Near { threshold: 0.9 }.check()?;
        let verdicts = judge(&near, row(&[(25, 0.9), (18, 0.8), (40, 0.7)], &[(0, 1.0), (35, 1.0)]), &world)?;
        let got: Vec<_> = verdicts.iter().map(|v| v.map(|v| (v.value, v.against))).collect();
        assert_eq!(got, [Some((0.9, Some(ItemId(35)))), None, Some((0.95, Some(ItemId(35))))]);
        Ok(())
    }

    #[test]
    fn thresholds_outside_the_range_are_refused() {
        for threshold in [0.0, 1.01, f32::NAN] {
            assert!(Near { threshold }.check().is_err(), "{threshold}");
        }
    }
}
