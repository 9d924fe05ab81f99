//! How good are probabilities? Area under the curve, reliability, and a monotone correction.

use serde::{Deserialize, Serialize};

/// Edges of the reliability bins. Probabilities of false negatives are mostly small, so the bins are narrow there.
pub const EDGES: [f64; 13] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower edge.
    pub from: f64,
    /// Upper edge.
    pub to: f64,
    /// Predictions in the bin.
    pub n: u64,
    /// Mean prediction.
    pub predicted: f64,
    /// Share that came true.
    pub observed: f64,
}

/// Reliability of predictions, and the expected calibration error: the mean of |predicted - observed| over the bins,
/// weighted by their size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Bins that hold something, by rising probability.
    pub bins: Vec<Bin>,
    /// Expected calibration error, in `[0, 1]`.
    pub error: f64,
}

/// Bin of a probability: 0 ..= [`EDGES`]`.len()`.
pub fn bin(p: f64) -> usize {
    EDGES.partition_point(|e| *e <= p)
}

/// Edges of a bin.
pub fn edges(bin: usize) -> (f64, f64) {
    let from = if bin == 0 { 0.0 } else { EDGES.get(bin - 1).copied().unwrap_or(1.0) };
    (from, EDGES.get(bin).copied().unwrap_or(1.0))
}

/// The reliability of (prediction, came true).
pub fn reliability(pairs: impl IntoIterator<Item = (f64, bool)>) -> Reliability {
    let mut sums = vec![(0u64, 0.0, 0u64); EDGES.len() + 1];
    let mut all = 0u64;
    for (p, came_true) in pairs {
        let slot = &mut sums[bin(p)];
        slot.0 += 1;
        slot.1 += p;
        slot.2 += u64::from(came_true);
        all += 1;
    }
    let mut out = Reliability::default();
    for (i, &(n, predicted, observed)) in sums.iter().enumerate().filter(|(_, s)| s.0 > 0) {
        let (from, to) = edges(i);
        let (predicted, observed) = (predicted / n as f64, observed as f64 / n as f64);
        out.error += (predicted - observed).abs() * n as f64 / all as f64;
        out.bins.push(Bin { from, to, n, predicted, observed });
    }
    out
}

/// Chance that a true case gets the higher value than a false one, ties half. `None` where one side is empty.
pub fn auc(pairs: &[(f64, bool)]) -> Option<f64> {
    let mut sorted: Vec<(f64, bool)> = pairs.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0.0, 0.0);
    for run in sorted.chunk_by(|a, b| a.0 == b.0) {
        let yes = run.iter().filter(|r| r.1).count() as f64;
        let no = run.len() as f64 - yes;
        wins += yes * (below + 0.5 * no);
        below += no;
    }
    let yes = sorted.iter().filter(|r| r.1).count() as f64;
    (yes > 0.0 && below > 0.0).then(|| wins / (yes * below))
}

/// A monotone step-wise correction, linear between its points (pool adjacent violators).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isotonic {
    /// (value, corrected value), both rising; not empty.
    pub points: Vec<(f64, f64)>,
}

impl Isotonic {
    /// Fits weighted labels by value. `None` without rows.
    pub fn fit(rows: &[(f64, bool, f64)]) -> Option<Self> {
        let mut sorted = rows.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        // (weight, Σ weight · value, Σ weight · label) of each pool.
        let mut pools: Vec<(f64, f64, f64)> = Vec::new();
        for (x, label, weight) in sorted {
            pools.push((weight, weight * x, weight * f64::from(u8::from(label))));
            while let [.., a, b] = pools.as_slice()
                && a.2 * b.0 >= b.2 * a.0
            {
                let joined = (a.0 + b.0, a.1 + b.1, a.2 + b.2);
                pools.truncate(pools.len() - 2);
                pools.push(joined);
            }
        }
        let points: Vec<(f64, f64)> = pools.iter().map(|p| (p.1 / p.0, p.2 / p.0)).collect();
        (!points.is_empty()).then_some(Self { points })
    }

    /// The corrected value; beyond the ends that of the end.
    pub fn apply(&self, x: f64) -> f64 {
        let at = self.points.partition_point(|p| p.0 <= x);
        match (at.checked_sub(1).and_then(|i| self.points.get(i)), self.points.get(at)) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0),
            (Some(end), None) | (None, Some(end)) => end.1,
            (None, None) => x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_counts_pairs_in_order_and_ties_half() {
        let pairs = [(0.1, false), (0.4, true), (0.4, false), (0.9, true)];
        assert_eq!(auc(&pairs), Some(3.5 / 4.0));
        assert_eq!(auc(&[(0.5, true)]), None);
    }

    #[test]
    fn perfect_probabilities_have_no_error_and_wrong_ones_their_distance() {
        let half = reliability([(0.5, true), (0.5, false)]);
        assert_eq!((half.error, half.bins.len()), (0.0, 1));
        let sure = reliability([(0.95, false), (0.95, false), (0.0, false), (0.0, false)]);
        assert!((sure.error - 0.475).abs() < 1e-12);
        assert_eq!((sure.bins[0].n, sure.bins[1].from, sure.bins[1].to), (2, 0.9, 1.0));
    }

    #[test]
    fn the_correction_never_falls() {
        let rows: Vec<(f64, bool, f64)> =
            (0..100).map(|i| (f64::from(i) / 100.0, (i * 37) % 100 < i, 1.0)).collect();
        let fitted = Isotonic::fit(&rows).unwrap();
        let values: Vec<f64> = (0..=100).map(|i| fitted.apply(f64::from(i) / 100.0)).collect();
        assert!(values.is_sorted() && values[0] >= 0.0 && values[100] <= 1.0);
        assert_eq!(Isotonic::fit(&[(0.0, true, 1.0), (1.0, false, 1.0)]).unwrap().points, [(0.5, 0.5)]);
    }
}
