//! Drops labelled positives of the anchor.
//!
//! ## Rule
//! A cell goes when it is a labelled positive of this anchor, or of another anchor with the same normalised text.
//!
//! ## Seen in
//! Every miner; leaving out the *other* positives of the anchor is the mistake of single-pair miners.

use serde::{Deserialize, Serialize};

use crate::{Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// No parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {}

impl Known {
    /// Nothing can be wrong.
    pub fn check(self) -> Result<Self> {
        Ok(self)
    }
}

impl Filter for Known {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        for row in block.iter() {
            let known = facts.known.of(row.anchor());
            for position in row.live() {
                let item = row.items()[position];
                if known.binary_search(&item).is_ok() || row.positives().contains(&item) {
                    out.drop(&row, position, Verdict::new(Reason::Known, 1.0, 1.0).against(item));
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

    #[test]
    fn every_positive_of_the_anchor_goes_not_only_the_one_of_the_row() -> Result<()> {
        let world = World { known: crate::Known::new([vec![crate::ItemId(2)]]), ..World::default() };
        let verdicts = judge(&Known {}, row(&[(1, 0.9), (2, 0.8), (3, 0.7)], &[(1, 1.0)]), &world)?;
        let gone: Vec<_> = verdicts.iter().map(|v| v.and_then(|v| v.against).map(|i| i.0)).collect();
        assert_eq!(gone, [Some(1), Some(2), None]);
        Ok(())
    }
}
