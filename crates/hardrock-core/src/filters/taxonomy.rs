//! Drops ancestors and descendants of a positive: what is true of a class is often true of the one above or below.
//!
//! ## Rule
//! A cell goes when it can be reached from a positive of the anchor (or of an anchor with the same text) by walking only up
//! or only down the is-a relation, in at most `steps`. Siblings share a parent and stay: they are the hard negatives that a
//! taxonomy offers. Without `steps` every distance counts, because being an instance of a class is inherited all the way up.
//!
//! ## Seen in
//! Hierarchy masking in label and skill retrieval (ESCO), extreme multi-label trees.

use serde::{Deserialize, Serialize};

use super::{given, positives};
use crate::{Error, Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// Parameters as written in TOML: `{ taxonomy = { file = "is_a.tsv", steps = 2 } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Taxonomy {
    /// File of (child, parent) ids; must be given.
    pub file: String,
    /// Longest way up or down that counts, at least 1; none = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
}

impl Taxonomy {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        given(&self.file, "taxonomy", "file", "the path of a file of (child, parent) ids")?;
        match self.steps {
            Some(0) => Err(Error::Parameter {
                stage: "taxonomy",
                field: "steps",
                must: "at least 1",
                got: "0".into(),
            }),
            _ => Ok(self),
        }
    }
}

impl Filter for Taxonomy {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let taxonomy =
            facts.taxonomy.ok_or(Error::Missing { stage: "taxonomy", what: "its file of is-a relations" })?;
        let limit = self.steps.unwrap_or(u32::MAX);
        for row in block.iter() {
            let positives = positives(&row, facts);
            let above: Vec<_> = positives.iter().map(|&p| taxonomy.ancestors(p, limit)).collect();
            for position in row.live() {
                let item = row.items()[position];
                let own = taxonomy.ancestors(item, limit);
                let nearest = positives
                    .iter()
                    .zip(&above)
                    .filter_map(|(&p, up)| Some((steps(up, item).or_else(|| steps(&own, p))?, p)))
                    .min_by_key(|(steps, _)| *steps);
                if let Some((steps, p)) = nearest {
                    let verdict = Verdict::new(
                        Reason::Taxonomy,
                        steps as f32,
                        self.steps.map_or(f32::INFINITY, |s| s as f32),
                    );
                    out.drop(&row, position, verdict.against(p));
                }
            }
        }
        Ok(())
    }
}

/// Steps to `item` in a list of ancestors.
fn steps(ancestors: &[(crate::ItemId, u32)], item: crate::ItemId) -> Option<u32> {
    ancestors.binary_search_by_key(&item, |a| a.0).ok().map(|at| ancestors[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ItemId;
    use crate::fixture::{World, drops, row};

    /// 4 is-a 2 is-a 1 is-a 0, and 3 is-a 1 (sibling of 2).
    fn world() -> World {
        let parents = [vec![], vec![0], vec![1], vec![1], vec![2]];
        let lists = parents.into_iter().map(|l| l.into_iter().map(ItemId).collect());
        World { taxonomy: Some(crate::Taxonomy::new(lists)), ..World::default() }
    }

    #[test]
    fn ancestors_and_descendants_go_and_siblings_stay() -> Result<()> {
        let all = Taxonomy { file: "t.tsv".into(), steps: None };
        let block = || row(&[(0, 0.9), (1, 0.8), (3, 0.7), (4, 0.6)], &[(2, 1.0)]);
        assert_eq!(drops(&all.check()?, block(), &world())?, [true, true, false, true]);
        let one = Taxonomy { file: "t.tsv".into(), steps: Some(1) };
        assert_eq!(drops(&one.check()?, block(), &world())?, [false, true, false, true]);
        Ok(())
    }

    #[test]
    fn a_circle_ends() {
        let circle = crate::Taxonomy::new([vec![ItemId(1)], vec![ItemId(0)]]);
        assert_eq!(circle.ancestors(ItemId(0), u32::MAX), [(ItemId(1), 1)]);
    }
}
