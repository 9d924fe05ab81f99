//! Drops candidates that share a column's value with a positive: the same article, product, author or answer.
//!
//! ## Rule
//! A cell goes when its value in `column` equals that of a positive of the anchor (or of an anchor with the same text).
//! A document without a value matches nothing.
//!
//! ## Seen in
//! No miner by column. DPR and Tevatron's `hn_mining.py --em` drop passages that hold the answer string, to the same end.

use serde::{Deserialize, Serialize};

use super::{given, needed, positives};
use crate::{ABSENT, Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// Parameters as written in TOML: `{ group = { column = "page" } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Group {
    /// The documents' column; must be given.
    pub column: String,
}

impl Group {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        given(&self.column, "group", "column", "the name of a column of the documents")?;
        Ok(self)
    }
}

impl Filter for Group {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let groups = needed(facts.items.group.as_ref(), "group", "its column in the documents")?;
        for row in block.iter() {
            let positives = positives(&row, facts);
            for position in row.live() {
                let own = groups.get(row.items()[position].index()).filter(|g| **g != ABSENT);
                let Some(own) = own else { continue };
                if let Some(&p) = positives.iter().find(|p| groups.get(p.index()) == Some(own)) {
                    out.drop(&row, position, Verdict::new(Reason::Group, 1.0, 1.0).against(p));
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
    fn documents_without_a_value_match_nothing_not_even_each_other() -> Result<()> {
        let mut world = World::default();
        world.items.group = Some(vec![ABSENT, 4, ABSENT, 4, 5]);
        let filter = Group { column: "page".into() }.check()?;
        let block = row(&[(2, 0.9), (3, 0.8), (4, 0.7)], &[(0, 1.0), (1, 1.0)]);
        assert_eq!(drops(&filter, block, &world)?, [false, true, false]);
        Ok(())
    }
}
