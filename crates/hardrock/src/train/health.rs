//! Whether a model learns or falls together: numbers after each epoch, and words where one of them is wrong.

use hardrock_engine::training::{View, add_product};
use serde::{Deserialize, Serialize};

/// The state of the vectors, measured on held-out anchors (else on training anchors) and their positives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Mean squared distance of an anchor and its positive, in [0, 4]; lower is closer (Wang and Isola 2020).
    pub alignment: f64,
    /// Logarithm of the mean of exp(-2 d²) over pairs of documents, at most 0; lower is more spread (same).
    pub uniformity: f64,
    /// Directions that the documents use: (sum of the covariance's eigenvalues)² / sum of their squares, from 1 to the columns.
    pub effective_rank: f64,
    /// Mean cosine of an anchor and its closest positive.
    pub positive: f64,
    /// Mean cosine of an anchor and its closest document that is no known positive.
    pub hardest: f64,
}

/// How far the mean positive may lie behind the mean hardest document [cosine]: a little is usual on hard data.
const BEHIND: f64 = 0.1;

/// Rows that pairs are made of: the number of pairs grows with its square.
pub(crate) const SAMPLE: usize = 1024;

/// Spread and rank of unit vectors `[rows][dim]`.
pub(crate) fn spread(rows: &[f32], dim: usize) -> (f64, f64) {
    let count = rows.len() / dim;
    if count < 2 {
        return (0.0, 1.0);
    }
    let view = View::new(rows, count, dim);
    let mut cosines = vec![0.0; count * count];
    add_product(view, view.t(), &mut cosines);
    let mut sum = 0.0;
    for (i, row) in cosines.chunks(count).enumerate() {
        // The squared distance of unit vectors is 2 - 2 cos.
        sum += row[..i].iter().map(|&c| (-4.0 * (1.0 - f64::from(c))).exp()).sum::<f64>();
    }
    let pairs = (count * (count - 1) / 2) as f64;
    let mut centred = rows.to_vec();
    for column in 0..dim {
        let mean = rows.iter().skip(column).step_by(dim).map(|&x| f64::from(x)).sum::<f64>() / count as f64;
        centred.iter_mut().skip(column).step_by(dim).for_each(|x| *x -= mean as f32);
    }
    let mut covariance = vec![0.0; dim * dim];
    let view = View::new(&centred, count, dim);
    add_product(view.t(), view, &mut covariance);
    let trace: f64 = covariance.iter().step_by(dim + 1).map(|&x| f64::from(x)).sum();
    let squares: f64 = covariance.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let rank = if squares > 0.0 { trace * trace / squares } else { 1.0 };
    ((sum / pairs).ln(), rank)
}

impl Health {
    /// What is wrong, and what to try.
    pub fn warnings(&self, dim: usize, masked_share: f64, empty_share: f64) -> Vec<String> {
        let mut out = Vec::new();
        if self.effective_rank < 1.0 + 0.02 * dim as f64 && self.uniformity > -1.0 {
            out.push(format!(
                "the vectors fall together (effective rank {:.1} of {dim}, uniformity {:.2}): lower optimiser.rate, raise \
                 batch.size, or raise loss.temperature",
                self.effective_rank, self.uniformity
            ));
        }
        if self.hardest > self.positive + BEHIND {
            out.push(format!(
                "on average some document is closer to the anchor than its positive (cosine {:.3} against {:.3}): labels may \
                 miss positives, or the model needs more epochs; `hardrock mine` with --relative-margin shows which",
                self.hardest, self.positive
            ));
        }
        if masked_share > 0.2 {
            out.push(format!(
                "{:.0} % of the cells are masked as known positives: anchors share their documents, so larger batches bring \
                 little; lower batch.size",
                100.0 * masked_share
            ));
        }
        if empty_share > 0.01 {
            out.push(format!(
                "{:.1} % of the rows have no negative and teach nothing: raise batch.size or mine negatives",
                100.0 * empty_share
            ));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapse_is_seen_and_said() {
        let same = [1.0, 0.0, 0.0, 0.0].repeat(8);
        let (uniformity, rank) = spread(&same, 4);
        assert!(uniformity.abs() < 1e-9 && rank <= 1.0);
        let apart: Vec<f32> = (0..4).flat_map(|i| (0..4).map(move |j| f32::from(u8::from(i == j)))).collect();
        let (uniformity, rank) = spread(&apart, 4);
        assert!((uniformity + 4.0).abs() < 1e-6, "{uniformity}");
        assert!((rank - 3.0).abs() < 1e-5, "{rank}");
        let sick = Health {
            uniformity: -0.1,
            effective_rank: 1.0,
            positive: 0.5,
            hardest: 0.9,
            ..Health::default()
        };
        let words = sick.warnings(64, 0.5, 0.5);
        assert_eq!(words.len(), 4, "{words:?}");
        assert!(words[0].contains("fall together"));
        let well = Health {
            uniformity: -3.0,
            effective_rank: 40.0,
            positive: 0.8,
            hardest: 0.5,
            ..Health::default()
        };
        assert!(well.warnings(64, 0.0, 0.0).is_empty());
    }
}
