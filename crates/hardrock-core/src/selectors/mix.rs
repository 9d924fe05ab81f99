//! Fixed shares per source: two from BM25, two from the dense source, one at random.
//!
//! ## Rule
//! k is shared among the named sources in proportion to their counts (largest remainder; ties to the earlier), so counts
//! that sum to k are taken as they stand. In the order given, each source takes its best live candidates by its own rank,
//! leaving out those already taken; what the sources cannot fill is taken from the judged order. `random` is a source like
//! any other, whose ranks are the order of a uniform draw of documents.
//!
//! ## Seen in
//! STAR and ADORE (random plus hard), DPR (BM25 plus gold), mixtures in MM-Embed.

use serde::{Deserialize, Serialize};

use crate::{Error, NO_RANK, Result, Row, Selector};

/// One source and its part of the negatives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// Name of a source of the run.
    pub source: String,
    /// Its part, at least 1, relative to the sum of all parts.
    pub count: u32,
}

/// Parameters as written in TOML: `{ mix = { shares = [{ source = "bm25", count = 2 }, { source = "dense", count = 2 }] } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// At least one, of different sources; the earlier takes first.
    pub shares: Vec<Share>,
}

impl Mix {
    /// Runs once, when the plan is made; the names are compared with the run's sources when a row comes.
    pub fn check(self) -> Result<Self> {
        let bad = |must, got| Err(Error::Parameter { stage: "mix", field: "shares", must, got });
        if self.shares.is_empty() {
            return bad("at least one source with its count", "none".into());
        }
        for (i, share) in self.shares.iter().enumerate() {
            if share.count == 0 {
                return bad("counts of at least 1", format!("{}=0", share.source));
            }
            if self.shares[..i].iter().any(|s| s.source == share.source) {
                return bad("different sources", format!("{} twice", share.source));
            }
        }
        Ok(self)
    }

    /// How many of k each share gets.
    fn quotas(&self, k: usize) -> Vec<usize> {
        let sum: u64 = self.shares.iter().map(|s| u64::from(s.count)).sum::<u64>().max(1);
        let part = |s: &Share| u128::from(s.count) * k as u128;
        let mut quotas: Vec<usize> =
            self.shares.iter().map(|s| (part(s) / u128::from(sum)) as usize).collect();
        let mut by_rest: Vec<usize> = (0..quotas.len()).collect();
        by_rest.sort_by_key(|&i| std::cmp::Reverse(part(&self.shares[i]) % u128::from(sum)));
        let rest = k - quotas.iter().sum::<usize>();
        for &i in by_rest.iter().take(rest) {
            quotas[i] += 1;
        }
        quotas
    }
}

impl Selector for Mix {
    fn select(&self, row: &Row<'_>, k: usize, _: u64, _: u64, out: &mut Vec<usize>) -> Result<()> {
        let start = out.len();
        let mut left: Vec<usize> = row.live().collect();
        for (share, quota) in self.shares.iter().zip(self.quotas(k)) {
            let Some(evidence) = row.evidence().iter().find(|e| e.source == share.source) else {
                return Err(Error::Parameter {
                    stage: "mix",
                    field: "shares",
                    must: "names of the run's sources",
                    got: share.source.clone(),
                });
            };
            let ranks = row.source_ranks(evidence);
            let mut proposed: Vec<(u32, usize)> =
                left.iter().map(|&p| (ranks[p], p)).filter(|(rank, _)| *rank != NO_RANK).collect();
            proposed.sort_unstable();
            proposed.truncate(quota);
            out.extend(proposed.iter().map(|&(_, p)| p));
            left.retain(|p| !proposed.iter().any(|(_, taken)| taken == p));
        }
        let missing = k - (out.len() - start);
        out.extend(left.iter().take(missing));
        out[start..].sort_unstable();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnchorId, Block, BlockBuilder, ItemId, NewRow, Proposal};

    fn mix(text: &[(&str, u32)]) -> Mix {
        Mix { shares: text.iter().map(|&(s, count)| Share { source: s.into(), count }).collect() }
    }

    /// Six candidates, best first 0..6; `a` proposed them in reverse, `b` only 0 and 5, best 0.
    fn block() -> Result<Block> {
        let mut b = BlockBuilder::new(["a", "b"]);
        let said = |rank| Proposal { score: 0.0, rank };
        let ranks_b = [0, NO_RANK, NO_RANK, NO_RANK, NO_RANK, 1];
        b.push_row(&NewRow {
            items: &[0, 1, 2, 3, 4, 5].map(ItemId),
            scores: &[0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
            proposals: &(0..6).flat_map(|i| [said(5 - i as u32), said(ranks_b[i])]).collect::<Vec<_>>(),
            ..NewRow::empty(AnchorId(0))
        })?;
        Ok(b.finish())
    }

    fn select(mix: Mix, k: usize) -> Result<Vec<usize>> {
        let mut out = Vec::new();
        mix.check()?.select(&block()?.row(0), k, 0, 0, &mut out)?;
        Ok(out)
    }

    #[test]
    fn each_source_gives_its_best_that_no_earlier_one_took() -> Result<()> {
        assert_eq!(select(mix(&[("a", 2), ("b", 1)]), 3)?, [0, 4, 5]);
        assert_eq!(select(mix(&[("b", 1), ("a", 2)]), 3)?, [0, 4, 5]);
        Ok(())
    }

    #[test]
    fn what_a_source_cannot_fill_comes_from_the_judged_order() -> Result<()> {
        // b has two, a takes 5 from it first; one place of b is left for the judged order: 1.
        assert_eq!(select(mix(&[("a", 1), ("b", 2)]), 3)?, [0, 1, 5]);
        assert_eq!(select(mix(&[("b", 1)]), 9)?, [0, 1, 2, 3, 4, 5]);
        Ok(())
    }

    #[test]
    fn shares_scale_with_k_by_largest_remainder() {
        let m = mix(&[("a", 2), ("b", 2), ("c", 1)]);
        assert_eq!(m.quotas(5), [2, 2, 1]);
        assert_eq!(m.quotas(10), [4, 4, 2]);
        assert_eq!(m.quotas(7), [3, 3, 1]);
        assert_eq!(m.quotas(1), [1, 0, 0]);
        assert_eq!(m.quotas(0), [0, 0, 0]);
    }

    #[test]
    fn a_source_that_the_run_does_not_have_is_named() {
        let got = select(mix(&[("denes", 1)]), 1);
        assert!(matches!(&got, Err(Error::Parameter { got, .. }) if got == "denes"), "{got:?}");
    }

    #[test]
    fn doubled_sources_and_empty_counts_are_refused() {
        assert!(mix(&[("a", 1), ("a", 2)]).check().is_err());
        assert!(mix(&[("a", 0)]).check().is_err());
    }
}
