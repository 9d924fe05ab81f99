//! A promise about the share of false negatives among the selected, and what verdicts prove of it.
//!
//! A threshold on p_fn is chosen so that the selected negatives hold at most a share α of false negatives. Without verdicts
//! the threshold is an estimate ([`plug_in`]). With verdicts it is proved:
//!
//! 1. [`grid`]: thresholds around the plug-in, strict to loose, fixed before any verdict.
//! 2. One random slot `j` of `0..k` per anchor ([`slot`]); [`chain`] says which candidate holds it at each threshold.
//! 3. A slot's holders are judged. Over random anchors a filled slot is a uniform draw from the selected pairs, so the hits
//!    among the filled slots are binomial.
//! 4. [`certify`] walks from strict to loose and stops at the first threshold that the exact binomial test does not pass
//!    (Learn-then-Test with fixed sequence: the chance that the chosen threshold breaks α is at most 1 - confidence). The
//!    losses are made monotone by their running maximum from the strict side.

mod certify;

pub use certify::{Certificate, Kind, Loss, Refusal, certify, floor, more_needed};

use crate::Rng;

/// Stage number of the draw of slots.
const SLOT: u64 = 0x736c_6f74;
/// Stage number of the order in which anchors are judged.
const ORDER: u64 = 0x6f72_6472;
/// Thresholds in a grid, at most.
pub const GRID: usize = 15;
/// Thresholds of which the grid is chosen.
const TRIED: usize = 60;
/// Fewest thresholds that make a grid.
const FEWEST: usize = 6;
/// Stands for "no threshold": every probability passes.
pub const OPEN: f32 = 1.0;

/// Chooses the slot of an anchor, in `0..k`. `key` identifies the anchor.
pub fn slot(seed: u64, key: u64, k: usize) -> usize {
    Rng::at(seed, SLOT, key).below(k as u64) as usize
}

/// Sort key of the order in which anchors are judged: a random permutation.
pub fn order(seed: u64, key: u64) -> u64 {
    Rng::at(seed, ORDER, key).next_u64()
}

/// Whether a candidate of this probability passes a threshold; an unknown one (NaN) passes, for nothing speaks against it.
fn passes(p: f32, threshold: f32) -> bool {
    p.is_nan() || p <= threshold
}

/// The first `k` positions that pass, hardest first. `row` holds the p_fn of the candidates that no other filter dropped.
pub fn selected(row: &[f32], k: usize, threshold: f32) -> impl Iterator<Item = usize> {
    row.iter().enumerate().filter(move |(_, p)| passes(**p, threshold)).map(|(i, _)| i).take(k)
}

/// For each threshold of the grid, the position that holds slot `j`; `None` where too few pass.
pub fn chain(row: &[f32], j: usize, grid: &[f32]) -> Vec<Option<usize>> {
    grid.iter().map(|&t| selected(row, j + 1, t).nth(j)).collect()
}

/// Mean p_fn over all selected at a threshold; 0 where nothing is selected.
pub fn mean_selected<R: AsRef<[f32]>>(rows: &[R], k: usize, threshold: f32) -> f64 {
    let (mut sum, mut n) = (0.0, 0u64);
    for row in rows {
        let row = row.as_ref();
        for i in selected(row, k, threshold) {
            sum += f64::from(row[i].max(0.0));
            n += 1;
        }
    }
    if n == 0 { 0.0 } else { sum / n as f64 }
}

/// Thresholds to try, rising: quantiles of the probabilities among the first `2k` of each row, and [`OPEN`]. They are dense
/// where probabilities are high, because few selected candidates decide the share.
fn thresholds<R: AsRef<[f32]>>(rows: &[R], k: usize) -> Vec<f32> {
    let top = |r: &R| r.as_ref().iter().take(2 * k).copied().filter(|p| !p.is_nan()).collect::<Vec<_>>();
    let mut all: Vec<f32> = rows.iter().flat_map(top).collect();
    all.sort_unstable_by(f32::total_cmp);
    let mut tried: Vec<f32> = (1..TRIED)
        .filter_map(|i| {
            // Share of candidates above the threshold falls geometrically from one half to one in ten thousand.
            let above = 0.5 * 0.0002f64.powf(i as f64 / TRIED as f64);
            let at = (all.len() as f64 * (1.0 - above)) as usize;
            all.get(at.min(all.len().saturating_sub(1))).copied()
        })
        .collect();
    tried.push(OPEN);
    tried.dedup();
    tried
}

/// A threshold chosen by p_fn alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlugIn {
    /// Highest p_fn that stays.
    pub threshold: f32,
    /// Mean p_fn over the selected: the share that is estimated.
    pub estimate: f64,
}

/// The loosest threshold at which the mean p_fn over the selected is at most `alpha`. `None` where even the strictest tried
/// is above it.
pub fn plug_in<R: AsRef<[f32]>>(rows: &[R], k: usize, alpha: f64) -> Option<PlugIn> {
    let tried = thresholds(rows, k);
    let at = |&threshold: &f32| PlugIn { threshold, estimate: mean_selected(rows, k, threshold) };
    tried.iter().rev().map(at).find(|p| p.estimate <= alpha)
}

/// The grid, strict to loose: thresholds at which the mean p_fn over the selected lies in `[alpha / below, 3 alpha]`, at
/// most [`GRID`]. `below` is 8 where the level of p_fn can be trusted within a factor of 2, 30 where it cannot.
pub fn grid<R: AsRef<[f32]>>(rows: &[R], k: usize, alpha: f64, below: f64) -> Vec<f32> {
    let tried: Vec<(f32, f64)> =
        thresholds(rows, k).into_iter().map(|t| (t, mean_selected(rows, k, t))).collect();
    let inside = |m: f64| m >= alpha / below && m <= 3.0 * alpha;
    let mut chosen: Vec<f32> = tried.iter().filter(|(_, m)| inside(*m)).map(|(t, _)| *t).collect();
    if chosen.len() < 4 {
        let far = |m: f64| (m.max(1e-9) / alpha).ln().abs();
        let mut near = tried.clone();
        near.sort_by(|a, b| far(a.1).total_cmp(&far(b.1)));
        near.truncate(FEWEST);
        chosen = near.into_iter().map(|(t, _)| t).collect();
        chosen.sort_unstable_by(f32::total_cmp);
    }
    if chosen.len() > GRID {
        let last = chosen.len() - 1;
        chosen = (0..GRID).map(|i| chosen[i * last / (GRID - 1)]).collect();
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stricter_threshold_moves_the_next_candidate_into_the_slot() {
        let row = [0.9, 0.1, 0.5, 0.2];
        assert_eq!(chain(&row, 0, &[0.15, 0.6, 1.0]), [Some(1), Some(1), Some(0)]);
        assert_eq!(chain(&row, 1, &[0.15, 0.6, 1.0]), [None, Some(2), Some(1)]);
    }

    #[test]
    fn a_candidate_of_unknown_probability_passes() {
        assert_eq!(selected(&[f32::NAN, 0.9], 5, 0.5).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn the_plug_in_is_the_loosest_threshold_within_alpha() {
        // Every tenth candidate is certainly false, the others certainly true.
        let rows: Vec<Vec<f32>> =
            (0..200).map(|a| (0..20).map(|c| if (a + c) % 10 == 0 { 0.9 } else { 0.01 }).collect()).collect();
        let p = plug_in(&rows, 5, 0.05).unwrap();
        assert!(p.threshold < 0.9 && (p.estimate - 0.01).abs() < 1e-6, "{p:?}");
        let open = plug_in(&rows, 5, 0.2).unwrap();
        assert_eq!(open.threshold, OPEN);
        assert!(plug_in(&rows, 5, 0.001).is_none());
    }

    #[test]
    fn the_grid_rises_and_is_small() {
        let rows: Vec<Vec<f32>> = (0..300u64)
            .map(|a| (0..20).map(|c| (Rng::at(1, a, c).unit() as f32).powi(8)).collect())
            .collect();
        let grid = grid(&rows, 5, 0.05, 8.0);
        assert!(grid.len() >= 4 && grid.len() <= GRID, "{grid:?}");
        assert!(grid.windows(2).all(|w| w[0] < w[1]));
        let means: Vec<f64> = grid.iter().map(|&t| mean_selected(&rows, 5, t)).collect();
        assert!(means[0] >= 0.05 / 8.0 && means[means.len() - 1] <= 0.15, "{means:?}");
    }

    #[test]
    fn slots_are_uniform() {
        let mut counts = [0; 5];
        (0..5000).for_each(|key| counts[slot(3, key, 5)] += 1);
        assert!(counts.iter().all(|c| (900..1100).contains(c)), "{counts:?}");
    }
}
