//! Keeps a window of ranks: skips the very best candidates, or looks no deeper than asked.
//!
//! ## Rule
//! The candidates of a row that neither `known` nor `text` dropped are counted from 0 in judged order, best first: ranks
//! count what could be a negative, so a positive at the top takes no place of the window. A cell goes when its rank is
//! below `min` or not below `max`.
//!
//! ## Seen in
//! sentence-transformers (`range_min`, `range_max`), FlagEmbedding (`range_for_sampling`), NV-Retriever (Top-K shifted by N).
//! The latter two count the raw list, positives included; with one positive per anchor the windows differ by one place.

use serde::{Deserialize, Serialize};

use crate::{Error, Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// Parameters as written in TOML: `{ window = { min = 10, max = 210 } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Window {
    /// First rank kept, 0 = best.
    pub min: u32,
    /// First rank behind the window, above `min`; none = no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

impl Window {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        match self.max {
            Some(max) if max <= self.min => Err(Error::Parameter {
                stage: "window",
                field: "max",
                must: "above min",
                got: format!("{max} with min = {}", self.min),
            }),
            _ => Ok(self),
        }
    }
}

impl Filter for Window {
    fn judge(&self, block: &dyn Rows, _: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let (min, max) = (self.min as usize, self.max.map_or(usize::MAX, |m| m as usize));
        for row in block.iter() {
            let identical = |p: usize| matches!(row.reason(p), Some(Reason::Known | Reason::Text));
            // A training block's own positives are neither dropped nor candidates.
            let could_be = |&p: &usize| !identical(p) && (row.is_live(p) || row.reason(p).is_some());
            let ranked = row.best_first().filter(could_be).enumerate();
            for (rank, position) in ranked {
                let limit = if rank < min { min } else { max };
                if row.is_live(position) && (rank < min || rank >= max) {
                    out.drop(&row, position, Verdict::new(Reason::Window, rank as f32, limit as f32));
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
    fn positives_take_no_place_of_the_window_but_other_drops_do() -> Result<()> {
        for (reason, live) in [(Reason::Known, [0, 0, 1, 1]), (Reason::Kin, [0, 1, 1, 0])] {
            let mut block = row(&[(1, 0.9), (2, 0.8), (3, 0.7), (4, 0.6)], &[]);
            let mut first = Verdicts::default();
            first.drop(&block.row(0), 0, Verdict::new(reason, 1.0, 1.0));
            block.apply(first);
            let window = Window { min: 1, max: Some(3) }.check()?;
            let gone = drops(&window, block, &World::default())?;
            assert_eq!(gone, live.map(|l| l == 0), "{reason:?}");
        }
        Ok(())
    }

    #[test]
    fn the_verdict_says_on_which_side_of_the_window_the_rank_lies() -> Result<()> {
        let window = Window { min: 1, max: Some(2) };
        let verdicts =
            crate::fixture::judge(&window, row(&[(1, 0.9), (2, 0.8), (3, 0.7)], &[]), &World::default())?;
        let said: Vec<_> = verdicts.iter().flatten().map(|v| v.sentence(|i| i.0.to_string())).collect();
        let want = [
            "rank 0 lies before the window, which starts at 1",
            "rank 2 lies behind the window, which ends before 2",
        ];
        assert_eq!(said, want);
        Ok(())
    }

    #[test]
    fn an_empty_window_is_refused() {
        assert!(Window { min: 5, max: Some(5) }.check().is_err());
    }
}
