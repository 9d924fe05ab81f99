//! Drops candidates that are too similar to a positive: the signal that tells false negatives from hard ones.
//!
//! ## Rule
//! A cell goes when its similarity to a positive of the anchor (or of an anchor with the same text) is above `threshold`.
//! The similarity is the tf-idf cosine, or the cosine of the given vectors; the highest over the positives counts and the
//! verdict names that positive. A pair that cannot be compared (NaN) decides nothing.
//!
//! An unlabelled relevant document is a relative of the labelled one; it does not score higher against the anchor than
//! other hard candidates do. That is why a margin on the anchor's score loses mostly true negatives.
//!
//! ## Seen in
//! No miner. Document-to-document similarity appears as a *feature* in denoising work and as deduplication (SemDeDup).

use serde::{Deserialize, Serialize};

use super::{Closest, positives};
use crate::{Error, Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// Parameters as written in TOML: `{ kin = { threshold = 0.6 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kin {
    /// Highest similarity that stays, in `[-1, 1]`.
    pub threshold: f32,
}

impl Default for Kin {
    fn default() -> Self {
        Self { threshold: 0.6 }
    }
}

impl Kin {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        if (-1.0..=1.0).contains(&self.threshold) {
            return Ok(self);
        }
        let got = self.threshold.to_string();
        Err(Error::Parameter { stage: "kin", field: "threshold", must: "in [-1, 1]", got })
    }
}

impl Filter for Kin {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let what = "a similarity between documents (their texts, or vectors)";
        let likeness = facts.likeness.ok_or(Error::Missing { stage: "kin", what })?;
        let mut closest = Closest::default();
        for row in block.iter() {
            let measure = |p, items: &[_], values: &mut [_]| likeness.likeness(p, items, values);
            for (position, v, p) in closest.of(&row, &positives(&row, facts), measure)? {
                if v > self.threshold {
                    out.drop(&row, position, Verdict::new(Reason::Kin, v, self.threshold).against(p));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, judge, row};
    use crate::{ItemId, Known};

    #[test]
    fn the_threshold_itself_stays() -> Result<()> {
        let world = World { related: true, ..World::default() };
        let verdicts = judge(&Kin { threshold: 0.9 }, row(&[(10, 0.9), (9, 0.8)], &[(0, 1.0)]), &world)?;
        assert_eq!(verdicts.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
        Ok(())
    }

    #[test]
    fn of_equally_close_positives_the_first_is_named() -> Result<()> {
        let world = World { related: true, ..World::default() };
        let verdicts = judge(&Kin { threshold: 0.5 }, row(&[(10, 0.9)], &[(20, 1.0), (0, 1.0)]), &world)?;
        assert_eq!(verdicts[0].and_then(|v| v.against), Some(ItemId(20)));
        Ok(())
    }

    #[test]
    fn relatives_of_a_positive_of_an_anchor_with_the_same_text_go() -> Result<()> {
        let world = World { related: true, known: Known::new([vec![ItemId(70)]]), ..World::default() };
        let verdicts = judge(&Kin { threshold: 0.95 }, row(&[(71, 0.9), (50, 0.8)], &[(0, 1.0)]), &world)?;
        assert_eq!(verdicts[0].and_then(|v| v.against), Some(ItemId(70)));
        assert_eq!(verdicts[1], None);
        Ok(())
    }

    #[test]
    fn an_anchor_without_positives_loses_nothing() -> Result<()> {
        let world = World { related: true, ..World::default() };
        assert_eq!(judge(&Kin { threshold: -1.0 }, row(&[(1, 0.9)], &[]), &world)?, [None]);
        Ok(())
    }

    #[test]
    fn a_threshold_that_is_no_number_is_refused() {
        assert!(Kin { threshold: f32::NAN }.check().is_err());
    }
}
