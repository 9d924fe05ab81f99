//! Drops candidates of the same family of near-duplicates as a positive.
//!
//! ## Rule
//! Families are the connected groups of near-duplicates of the corpus. A cell goes when a positive of the anchor (or of an
//! anchor with the same text) is in its family. Unlike `near` this reaches along a chain of copies: version 1 and version
//! 9 of a page may share few sentences and still be one document.
//!
//! ## Seen in
//! Duplicate groups of corpus deduplication, where one member per group is kept; no miner.

use serde::{Deserialize, Serialize};

use super::{needed, positives};
use crate::{ABSENT, Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// No parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {}

impl Family {
    /// Nothing can be wrong.
    pub fn check(self) -> Result<Self> {
        Ok(self)
    }
}

impl Filter for Family {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let families =
            needed(facts.items.family.as_ref(), "family", "the near-duplicate families of the documents")?;
        for row in block.iter() {
            let positives = positives(&row, facts);
            for position in row.live() {
                let own = families.get(row.items()[position].index()).filter(|f| **f != ABSENT);
                let Some(own) = own else { continue };
                if let Some(&p) = positives.iter().find(|p| families.get(p.index()) == Some(own)) {
                    out.drop(&row, position, Verdict::new(Reason::Family, 1.0, 1.0).against(p));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, drops, row};

    #[test]
    fn members_of_a_positives_family_go() -> Result<()> {
        let mut world = World::default();
        world.items.family = Some(vec![0, 1, 0, 3]);
        assert_eq!(
            drops(&Family {}, row(&[(1, 0.9), (2, 0.8), (3, 0.7)], &[(0, 1.0)]), &world)?,
            [false, true, false]
        );
        Ok(())
    }
}
