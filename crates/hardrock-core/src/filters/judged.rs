//! Drops candidates that a judge found relevant.
//!
//! ## Rule
//! A cell goes when the verdicts at hand say that it is relevant to the anchor, whatever its scores.
//!
//! ## Seen in
//! RocketQA's denoising drops what a cross-encoder calls relevant; here the judge may be a person.

use serde::{Deserialize, Serialize};

use crate::{Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// No parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {}

impl Judged {
    /// Nothing can be wrong.
    pub fn check(self) -> Result<Self> {
        Ok(self)
    }
}

impl Filter for Judged {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        for row in block.iter() {
            let relevant = facts.judged.of(row.anchor());
            if relevant.is_empty() {
                continue;
            }
            for position in row.live().filter(|&c| relevant.contains(&row.items()[c])) {
                out.drop(&row, position, Verdict::new(Reason::Judged, f32::NAN, f32::NAN));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, drops, row};
    use crate::{ItemId, Known};

    #[test]
    fn what_was_found_relevant_goes_and_nothing_else() -> Result<()> {
        let world = World { judged: Known::new([vec![ItemId(2)]]), ..World::default() };
        assert_eq!(drops(&Judged {}, row(&[(1, 0.9), (2, 0.8)], &[]), &world)?, [false, true]);
        assert_eq!(drops(&Judged {}, row(&[(1, 0.9), (2, 0.8)], &[]), &World::default())?, [false, false]);
        Ok(())
    }
}
