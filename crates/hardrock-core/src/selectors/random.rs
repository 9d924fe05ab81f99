//! A fair draw from the survivors.
//!
//! ## Rule
//! Draws k live candidates uniformly without replacement. A smaller draw of the same anchor and seed is part of a larger.
//!
//! ## Seen in
//! ANCE (from the top 200), STAR, FlagEmbedding's `hn_mine.py`, sentence-transformers (`sampling_strategy="random"`).

use serde::{Deserialize, Serialize};

use super::Draw;
use crate::{Result, Row, Selector};

/// No parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {}

impl Random {
    /// Nothing can be wrong.
    pub fn check(self) -> Result<Self> {
        Ok(self)
    }
}

impl Selector for Random {
    fn select(&self, row: &Row<'_>, k: usize, seed: u64, key: u64, out: &mut Vec<usize>) -> Result<()> {
        Draw::new(seed, b"s-random", key).take(row, row.live(), k, out, |_| Some(0.0));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::row;

    #[test]
    fn every_pair_is_drawn_equally_often() -> Result<()> {
        let block = row(&[(0, 0.9), (1, 0.8), (2, 0.7), (3, 0.6), (4, 0.5)], &[]);
        let mut counts = [[0u32; 5]; 5];
        for key in 0..10_000 {
            let mut out = Vec::new();
            Random {}.select(&block.row(0), 2, 1, key, &mut out)?;
            counts[out[0]][out[1]] += 1;
        }
        // Ten pairs, 9 degrees of freedom: 27.9 is the 0.1 % point of chi-square.
        let pairs = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b)));
        let chi: f64 = pairs.map(|(a, b)| (f64::from(counts[a][b]) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi < 27.9, "{chi}: {counts:?}");
        Ok(())
    }
}
