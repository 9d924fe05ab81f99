//! Clusters of vectors by direction: Lloyd's iterations on a sample, with the search kernel as the assigner.

use hardrock_core::Rng;
use rayon::prelude::*;

use super::flat::{Flat, Watch};
use super::rows::{Matrix, Result, Rows, normalise};

/// Rows of the sample per cluster.
const SAMPLE: usize = 32;

/// Lloyd's iterations: more move few rows.
const ROUNDS: usize = 6;

/// A cluster this many times smaller than the mean gives its centre away to the largest one.
const SMALL: usize = 8;

/// Unit centres of `clusters` clusters `[clusters][dim]`, the same for the same rows and seed.
///
/// # Errors
/// Those of [`Flat::search`].
pub(super) fn centres(rows: &dyn Rows, clusters: usize, seed: u64, watch: Watch<'_>) -> Result<Matrix> {
    let dim = rows.dim();
    let sample = sample(rows, (clusters * SAMPLE).min(rows.len()), seed)?;
    let count = sample.len();
    let mut centres = vec![0.0; clusters * dim];
    for (c, centre) in centres.chunks_mut(dim).enumerate() {
        sample.read(c * count / clusters, centre)?;
    }
    for round in 0..ROUNDS {
        let matrix = Matrix::new(centres, dim)?;
        let nearest = nearest(&sample, &matrix, 1, watch)?;
        let members = Members::new(&nearest, clusters);
        centres = members.means(&sample)?;
        if round + 1 < ROUNDS {
            members.reseed(&sample, &mut centres, seed + round as u64)?;
        }
    }
    Matrix::new(centres, dim)
}

/// The `k` nearest centres of each row, `[rows][k]`, best first. Rows that score with no centre (not finite) go to the first.
pub(super) fn nearest(rows: &dyn Rows, centres: &Matrix, k: usize, watch: Watch<'_>) -> Result<Vec<u32>> {
    let quiet = Watch { pairs: None, ..watch };
    let found = Flat::new(centres, usize::MAX / 2, quiet)?.search(rows, 0..rows.len(), k)?;
    let k = k.min(centres.len());
    if found.items.len() == rows.len() * k {
        return Ok(found.items);
    }
    let fill = |row: usize| {
        let (items, _) = found.row(row);
        items.iter().copied().chain((0..k as u32).filter(|c| !items.contains(c))).take(k)
    };
    Ok((0..rows.len()).flat_map(fill).collect())
}

/// Rows drawn evenly over all of them, one from each of `count` stretches, as directions.
fn sample(rows: &dyn Rows, count: usize, seed: u64) -> Result<Matrix> {
    let dim = rows.dim();
    let mut values = vec![0.0; count * dim];
    let read = |(pick, row): (usize, &mut [f32])| {
        let (from, to) = (pick * rows.len() / count, (pick + 1) * rows.len() / count);
        rows.read(from + draw(seed, pick, to - from), row)?;
        normalise(row);
        Ok(())
    };
    values.par_chunks_mut(dim).enumerate().try_for_each(read)?;
    Matrix::new(values, dim)
}

/// Stage number of the draws.
const STAGE: u64 = 0x6b6d_6561;

/// A number below `n` for each (seed, place).
fn draw(seed: u64, place: usize, n: usize) -> usize {
    Rng::at(seed, STAGE, place as u64).below(n.max(1) as u64) as usize
}

/// Rows by cluster.
pub(super) struct Members {
    /// Row numbers, those of a cluster together and ascending.
    pub(super) rows: Vec<u32>,
    /// `[clusters + 1]`
    pub(super) starts: Vec<usize>,
}

impl Members {
    /// From the cluster of each row.
    pub(super) fn new(nearest: &[u32], clusters: usize) -> Self {
        let mut starts = vec![0; clusters + 1];
        nearest.iter().for_each(|&c| starts[c as usize + 1] += 1);
        for c in 0..clusters {
            starts[c + 1] += starts[c];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; nearest.len()];
        for (row, &c) in nearest.iter().enumerate() {
            rows[next[c as usize]] = row as u32;
            next[c as usize] += 1;
        }
        Self { rows, starts }
    }

    fn of(&self, cluster: usize) -> &[u32] {
        &self.rows[self.starts[cluster]..self.starts[cluster + 1]]
    }

    /// Directions of the clusters' means; zeros for an empty cluster.
    fn means(&self, sample: &Matrix) -> Result<Vec<f32>> {
        let dim = sample.dim();
        let mut centres = vec![0.0; (self.starts.len() - 1) * dim];
        let work = |(c, centre): (usize, &mut [f32])| {
            let (mut sums, mut row) = (vec![0.0f64; dim], vec![0.0; dim]);
            for &member in self.of(c) {
                sample.read(member as usize, &mut row)?;
                sums.iter_mut().zip(&row).for_each(|(s, &x)| *s += f64::from(x));
            }
            centre.iter_mut().zip(&sums).for_each(|(to, &s)| *to = s as f32);
            normalise(centre);
            Ok(())
        };
        centres.par_chunks_mut(dim).enumerate().try_for_each(work)?;
        Ok(centres)
    }

    /// Moves the centres of small clusters onto members of the large ones, so that sizes stay near each other.
    fn reseed(&self, sample: &Matrix, centres: &mut [f32], seed: u64) -> Result<()> {
        let clusters = self.starts.len() - 1;
        let size = |c: usize| self.of(c).len();
        let bound = self.rows.len() / clusters / SMALL;
        let small: Vec<usize> = (0..clusters).filter(|&c| size(c) <= bound).collect();
        let mut large: Vec<usize> = (0..clusters).filter(|&c| size(c) > 2 * bound.max(1)).collect();
        large.sort_by_key(|&c| (std::cmp::Reverse(size(c)), c));
        for (&to, &from) in small.iter().zip(&large) {
            let members = self.of(from);
            let pick = members[draw(seed, to, members.len())];
            sample.read(pick as usize, &mut centres[to * sample.dim()..][..sample.dim()])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `spread` rows around each of `directions` axes.
    fn bunches(directions: usize, spread: usize, dim: usize) -> Matrix {
        let mut values = Vec::new();
        for i in 0..directions * spread {
            let mut row: Vec<f32> = (0..dim).map(|d| draw(i as u64, d, 1000) as f32 / 1e5 - 5e-3).collect();
            row[i % directions] += 1.0;
            normalise(&mut row);
            values.extend(row);
        }
        Matrix::new(values, dim).unwrap()
    }

    #[test]
    fn separate_bunches_become_clusters_and_a_seed_fixes_them() -> Result<()> {
        let rows = bunches(8, 200, 16);
        let centres = centres(&rows, 8, 3, Watch::default())?;
        assert_eq!(centres, super::centres(&rows, 8, 3, Watch::default())?);
        let nearest = nearest(&rows, &centres, 1, Watch::default())?;
        for bunch in 0..8 {
            let found = nearest[bunch];
            assert!(nearest.iter().skip(bunch).step_by(8).all(|&c| c == found), "bunch {bunch} is split");
        }
        Ok(())
    }

    #[test]
    fn copies_zeros_and_fewer_rows_than_a_sample_are_no_trouble() -> Result<()> {
        let rows = Matrix::new([[1.0, 0.0].repeat(20), [0.0, 0.0].repeat(5)].concat(), 2)?;
        let centres = centres(&rows, 4, 0, Watch::default())?;
        assert_eq!(centres.len(), 4);
        assert_eq!(nearest(&rows, &centres, 3, Watch::default())?.len(), 3 * rows.len());
        Ok(())
    }

    #[test]
    fn members_are_all_rows_in_order() {
        let members = Members::new(&[2, 0, 2, 1, 2], 4);
        assert_eq!((members.of(0), members.of(2), members.of(3)), (&[1][..], &[0, 2, 4][..], &[][..]));
    }
}
