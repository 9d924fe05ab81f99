//! An even spread over hardness: some of the hardest, some of the middle, some of the easy survivors.
//!
//! ## Rule
//! The live candidates, best first, are cut into `bands` runs of equal length, and k is shared equally among them; what does
//! not divide goes one each to the harder bands, of the length and of k alike. So no band can run short while k are alive.
//! Within a band the draw is uniform and seeded: the best of each band would always be the same ranks, and always the upper
//! edge.
//!
//! ## Seen in
//! Rank-stratified sampling as in curriculum and good/bad negative studies.

use serde::{Deserialize, Serialize};

use super::Draw;
use crate::{Error, Result, Row, Selector};

/// Parameters as written in TOML: `{ bands = { bands = 4 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bands {
    /// Number of bands, at least 1. More bands than k leave the easiest without a share.
    pub bands: u32,
}

impl Default for Bands {
    fn default() -> Self {
        Self { bands: 4 }
    }
}

impl Bands {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        if self.bands >= 1 {
            return Ok(self);
        }
        Err(Error::Parameter {
            stage: "bands",
            field: "bands",
            must: "at least 1",
            got: self.bands.to_string(),
        })
    }
}

impl Selector for Bands {
    fn select(&self, row: &Row<'_>, k: usize, seed: u64, key: u64, out: &mut Vec<usize>) -> Result<()> {
        let live: Vec<usize> = row.live().collect();
        let k = k.min(live.len());
        let bands = self.bands as usize;
        let part = |whole: usize, band: usize| whole / bands + usize::from(band < whole % bands);
        let draw = Draw::new(seed, b"s-bands-", key);
        let mut start = 0;
        for band in 0..bands.min(live.len()) {
            let end = start + part(live.len(), band);
            draw.take(row, live[start..end].iter().copied(), part(k, band), out, |_| Some(0.0));
            start = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::row;

    fn shares(candidates: u32, bands: u32, k: usize) -> Result<Vec<usize>> {
        let scores: Vec<(u32, f32)> = (0..candidates).map(|i| (i, -(i as f32))).collect();
        let mut out = Vec::new();
        Bands { bands }.check()?.select(&row(&scores, &[]).row(0), k, 0, 7, &mut out)?;
        let width = (candidates as usize).div_ceil(bands as usize);
        Ok((0..bands as usize).map(|b| out.iter().filter(|p| *p / width == b).count()).collect())
    }

    #[test]
    fn shares_are_equal_and_the_rest_goes_to_the_harder_bands() -> Result<()> {
        assert_eq!(shares(40, 4, 4)?, [1, 1, 1, 1]);
        assert_eq!(shares(40, 4, 6)?, [2, 2, 1, 1]);
        assert_eq!(shares(40, 4, 2)?, [1, 1, 0, 0]);
        Ok(())
    }

    #[test]
    fn few_survivors_are_all_taken() -> Result<()> {
        for candidates in 0..9 {
            assert_eq!(shares(candidates.max(1), 4, 100)?.iter().sum::<usize>(), candidates.max(1) as usize);
        }
        Ok(())
    }

    #[test]
    fn the_draw_reaches_the_whole_band() -> Result<()> {
        let block = row(&[(0, 0.9), (1, 0.8), (2, 0.7), (3, 0.6)], &[]);
        let mut seen = [0u32; 4];
        for key in 0..400 {
            let mut out = Vec::new();
            Bands { bands: 2 }.select(&block.row(0), 2, 0, key, &mut out)?;
            out.iter().for_each(|&p| seen[p] += 1);
        }
        assert!(seen.iter().all(|s| (150..250).contains(s)), "{seen:?}");
        Ok(())
    }
}
