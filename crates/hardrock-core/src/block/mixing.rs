//! Synthetic negatives: mixtures of a row's own hard negatives.
//!
//! ## Rule
//! h = a n_i + (1 - a) n_j with i, j from the row's list and a uniform in (0, 1), brought to length 1 after mixing. They
//! carry no gradient: give them to a block as a frozen side.
//!
//! ## Seen in
//! MoCHi; KaLM-Embedding-V2 (pair mixing)

use super::sides::dot;
use crate::losses::fits;
use crate::{Error, Result, Rng};

/// Mixed vectors with their place in each row's columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// `[n, dim]`, each of length 1.
    pub vectors: Vec<f32>,
    /// For [`super::Layout::Own`]: `[rows, per_row]`; `None` for a row with fewer than two negatives.
    pub index: Vec<Option<u32>>,
}

/// Mixes `per_row` negatives for every row of `index` `[rows, width]`, the numbers of each row's own negatives among
/// `vectors` `[n, dim]`.
///
/// # Errors
/// [`Error::Shape`] where the lengths do not fit or a number has no vector.
pub fn mix(
    vectors: &[f32],
    dim: usize,
    index: &[Option<u32>],
    width: usize,
    per_row: usize,
    seed: u64,
) -> Result<Mixed> {
    /// Keeps these draws apart from those of other stages of one seed.
    const STAGE: u64 = 0x313D;
    let dim = dim.max(1);
    fits("numbers of the vectors", vectors.len() / dim * dim, vectors.len())?;
    let rows = index.len().checked_div(width).unwrap_or(0);
    fits("index of own negatives", rows * width, index.len())?;
    let mut mixed = Mixed { vectors: Vec::new(), index: Vec::with_capacity(rows * per_row) };
    for (row, own) in index.chunks_exact(width.max(1)).enumerate() {
        let own: Vec<u32> = own.iter().flatten().copied().collect();
        let mut rng = Rng::at(seed, STAGE, row as u64);
        for _ in 0..per_row {
            if own.len() < 2 {
                mixed.index.push(None);
                continue;
            }
            let first = rng.below(own.len() as u64) as usize;
            let second = (first + 1 + rng.below(own.len() as u64 - 1) as usize) % own.len();
            let a = rng.unit() as f32;
            let of = |i: u32| {
                let missing = Error::Shape {
                    what: "vector of a negative",
                    expected: vectors.len() / dim,
                    got: i as usize,
                };
                vectors.get(i as usize * dim..(i as usize + 1) * dim).ok_or(missing)
            };
            let (x, y) = (of(own[first])?, of(own[second])?);
            let mut h: Vec<f32> = x.iter().zip(y).map(|(x, y)| a * x + (1.0 - a) * y).collect();
            let length = dot(&h, &h).sqrt().max(1e-12);
            h.iter_mut().for_each(|v| *v /= length);
            mixed.index.push(Some((mixed.vectors.len() / dim) as u32));
            mixed.vectors.extend(h);
        }
    }
    Ok(mixed)
}
