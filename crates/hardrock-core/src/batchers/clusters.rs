//! Batches of whole clusters of examples that lie close together: the batch itself is the miner.
//!
//! ## Rule
//! Balanced hierarchical 2-means: the examples are split in two halves of equal size by how much nearer they lie to one of
//! two centres than to the other, and the halves again, until no part is larger than the epoch's cluster size. Clusters in
//! random order fill the batches. The cluster size starts at `start` and doubles every `every` epochs up to `most`.
//!
//! ## Seen in
//! NGAME (doubling), Parabel (balanced 2-means)

use serde::{Deserialize, Serialize};

use super::{Batcher, Draw, Examples, SIZE, at_least, cut, shuffle};
use crate::{Error, Result, Rng};

/// Parameters as written in TOML: `{ clusters = { size = 256, start = 8, every = 2, most = 128 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clusters {
    /// Examples of a batch, at least 2.
    pub size: u32,
    /// Examples of a cluster in the first epoch, at least 1 (1 = random batches).
    pub start: u32,
    /// Epochs after which it doubles; 0 = never.
    pub every: u32,
    /// Largest cluster, at least `start`.
    pub most: u32,
}

impl Default for Clusters {
    fn default() -> Self {
        Self { size: SIZE, start: 8, every: 1, most: 64 }
    }
}

/// Rounds of 2-means per split: the halves hardly change after a few.
const ROUNDS: usize = 6;

impl Clusters {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        at_least(2, "clusters", "size", self.size)?;
        at_least(1, "clusters", "start", self.start)?;
        if self.most < self.start {
            let (stage, field, must) = ("clusters", "most", "at least start");
            return Err(Error::Parameter { stage, field, must, got: self.most.to_string() });
        }
        Ok(self)
    }

    /// Examples of a cluster in this epoch.
    pub fn cluster_size(&self, epoch: u64) -> u32 {
        let doublings = epoch.checked_div(u64::from(self.every)).unwrap_or(0).min(31);
        (u64::from(self.start) << doublings).min(u64::from(self.most)) as u32
    }
}

impl Batcher for Clusters {
    fn epoch(&self, examples: &Examples<'_>, draw: Draw) -> Result<Vec<Vec<u32>>> {
        let vectors =
            examples.vectors.ok_or(Error::Missing { stage: "clusters", what: "a vector of each example" })?;
        if examples.is_empty() {
            return Ok(Vec::new());
        }
        let dim = vectors.len() / examples.len();
        crate::losses::fits("numbers of the examples' vectors", examples.len() * dim, vectors.len())?;
        let size = self.cluster_size(draw.epoch) as usize;
        let mut clusters = Vec::new();
        let mut parts = vec![examples.shuffled(draw)];
        let mut rng = draw.rng(1);
        while let Some(mut part) = parts.pop() {
            if part.len() <= size {
                clusters.push(part);
                continue;
            }
            let half = halve(&mut part, vectors, dim, &mut rng);
            parts.push(part.split_off(half));
            parts.push(part);
        }
        shuffle(&mut clusters, &mut draw.rng(2));
        Ok(cut(&clusters.concat(), self.size))
    }
}

/// Orders `part` so that its first half lies nearer to one centre; returns the length of that half.
fn halve(part: &mut [u32], vectors: &[f32], dim: usize, rng: &mut Rng) -> usize {
    let half = part.len() / 2;
    let vector = |i: u32| &vectors[i as usize * dim..(i as usize + 1) * dim];
    let first = rng.below(part.len() as u64) as usize;
    let second = (first + 1 + rng.below(part.len() as u64 - 1) as usize) % part.len();
    let mut direction: Vec<f32> =
        vector(part[first]).iter().zip(vector(part[second])).map(|(a, b)| a - b).collect();
    for _ in 0..ROUNDS {
        let nearer = |i: u32| -> f32 { vector(i).iter().zip(&direction).map(|(a, b)| a * b).sum() };
        let mut keyed: Vec<(f32, u32)> = part.iter().map(|&i| (nearer(i), i)).collect();
        keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let changed = keyed[..half].iter().zip(part.iter()).any(|((_, a), b)| a != b);
        part.iter_mut().zip(&keyed).for_each(|(p, (_, i))| *p = *i);
        if !changed {
            break;
        }
        let mean = |of: &[u32]| {
            let mut sum = vec![0.0_f32; dim];
            for &i in of {
                sum.iter_mut().zip(vector(i)).for_each(|(s, v)| *s += v);
            }
            sum.iter_mut().for_each(|s| *s /= of.len() as f32);
            sum
        };
        let (a, b) = (mean(&part[..half]), mean(&part[half..]));
        direction = a.iter().zip(&b).map(|(a, b)| a - b).collect();
    }
    half
}
