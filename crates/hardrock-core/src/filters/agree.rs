//! Drops candidates that too few sources proposed.
//!
//! ## Rule
//! A cell goes when fewer than `sources` of the run's sources proposed it (a source that only scored it does not count).
//! What several retrievers of different kinds find is hard for all of them, not an oddity of one.
//!
//! ## Seen in
//! No miner as a filter. NV-Retriever mixes the lists of four models; this keeps what such lists have in common.

use serde::{Deserialize, Serialize};

use crate::{Error, Facts, Filter, NO_RANK, Reason, Result, Rows, Verdict, Verdicts};

/// Parameters as written in TOML: `{ agree = { sources = 2 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agree {
    /// Sources that must have proposed a candidate, from 1 to the number of sources of the run.
    pub sources: u32,
}

impl Default for Agree {
    fn default() -> Self {
        Self { sources: 2 }
    }
}

impl Agree {
    /// Runs once, when the plan is made; the number of sources is only known when a block comes.
    pub fn check(self) -> Result<Self> {
        if self.sources >= 1 {
            return Ok(self);
        }
        Err(Error::Parameter {
            stage: "agree",
            field: "sources",
            must: "at least 1",
            got: self.sources.to_string(),
        })
    }
}

impl Filter for Agree {
    fn judge(&self, block: &dyn Rows, _: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let run = block.evidence().len();
        if self.sources as usize > run {
            return Err(Error::Parameter {
                stage: "agree",
                field: "sources",
                must: "at most the number of sources of the run",
                got: format!("{} with {run} source(s)", self.sources),
            });
        }
        for row in block.iter() {
            for position in row.live() {
                let proposed = |e: &&crate::Evidence| row.source_ranks(e)[position] != NO_RANK;
                let count = row.evidence().iter().filter(proposed).count();
                if count < self.sources as usize {
                    let verdict = Verdict::new(Reason::Agree, count as f32, self.sources as f32);
                    out.drop(&row, position, verdict);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Block;
    use crate::fixture::{World, drops};
    use crate::{AnchorId, BlockBuilder, ItemId, NewRow, Proposal};

    fn block() -> Result<Block> {
        let mut b = BlockBuilder::new(["bm25", "dense"]);
        let said = |rank| Proposal { score: 0.5, rank };
        b.push_row(&NewRow {
            items: &[ItemId(1), ItemId(2)],
            scores: &[0.9, 0.8],
            // The second was scored by both sources but proposed by one.
            proposals: &[said(0), said(3), said(1), said(NO_RANK)],
            ..NewRow::empty(AnchorId(0))
        })?;
        Ok(b.finish())
    }

    #[test]
    fn a_source_that_only_scored_a_candidate_does_not_agree() -> Result<()> {
        assert_eq!(drops(&Agree { sources: 2 }, block()?, &World::default())?, [false, true]);
        assert_eq!(drops(&Agree { sources: 1 }, block()?, &World::default())?, [false, false]);
        Ok(())
    }

    #[test]
    fn more_sources_than_the_run_has_is_an_error_not_an_empty_result() -> Result<()> {
        assert!(drops(&Agree { sources: 3 }, block()?, &World::default()).is_err());
        assert!(Agree { sources: 0 }.check().is_err());
        Ok(())
    }
}
