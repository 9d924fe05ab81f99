//! Is a difference between two systems more than chance? Paired tests and intervals over per-query differences.
//!
//! All functions take the differences `b - a`, one per query, in a fixed order; random draws are keyed by (seed, place
//! of use, resample), so results do not depend on threads.

mod calibration;
mod distributions;
mod exact;
mod logistic;

use crate::Rng;
pub use calibration::{Bin, EDGES, Isotonic, Reliability, auc, bin, edges, reliability};
use distributions::{normal_cdf, normal_quantile, student_two_sided};
pub use exact::{binomial_at_most, upper_bound};
pub use logistic::{Logistic, Rows, log_odds, probability};

/// Stage keys of the draws made here: one seed serves both without sharing draws.
const FLIPS: u64 = 0x666C_6970;
const RESAMPLES: u64 = 0x626F_6F74;

/// Up to this many non-zero differences all sign patterns are enumerated (2^20 of them).
const EXACT: usize = 20;

/// The mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation with n - 1; `None` below two values.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let center = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|x| (x - center).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The outcome of a paired t test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedT {
    /// Mean difference in standard errors.
    pub t: f64,
    /// Degrees of freedom, n - 1.
    pub freedom: usize,
    /// Two-sided p in `[0, 1]`.
    pub p: f64,
}

/// Student's paired t test, two-sided (`scipy.stats.ttest_rel`). `None` below two differences and where they do not
/// vary: the statistic is 0/0 or infinite there.
pub fn paired_t(differences: &[f64]) -> Option<PairedT> {
    let spread = deviation(differences).filter(|s| *s > 0.0)?;
    let t = mean(differences)? / (spread / (differences.len() as f64).sqrt());
    let freedom = differences.len() - 1;
    Some(PairedT { t, freedom, p: student_two_sided(t, freedom as f64) })
}

/// Two-sided p of the paired randomisation test on the mean (Fisher): how often flipping signs at random gives a mean at
/// least as far from 0. Up to 20 non-zero differences exactly, over all sign patterns; beyond by `rounds` draws as
/// (b + 1) / (rounds + 1), which is never 0. Without differences 1.
pub fn randomisation_p(differences: &[f64], seed: u64, rounds: u32) -> f64 {
    // Zeros add the same to every pattern.
    let live: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let observed: f64 = live.iter().sum();
    // Sums that are equal on paper differ by rounding in another order of signs.
    let limit = observed.abs() - 1e-12 * live.iter().map(|d| d.abs()).sum::<f64>();
    if live.len() <= EXACT {
        let all = 1_u64 << live.len();
        return extreme_patterns(&live, 0.0, limit) as f64 / all as f64;
    }
    let extreme = (0..rounds).filter(|&round| {
        let mut rng = Rng::at(seed, FLIPS, u64::from(round));
        let mut sum = 0.0;
        for part in live.chunks(64) {
            let signs = rng.next_u64();
            for (bit, d) in part.iter().enumerate() {
                sum += if signs >> bit & 1 == 1 { *d } else { -*d };
            }
        }
        sum.abs() >= limit
    });
    (extreme.count() + 1) as f64 / (f64::from(rounds) + 1.0)
}

/// Sign patterns of `rest` whose sum with `partial` reaches `limit` in absolute value.
fn extreme_patterns(rest: &[f64], partial: f64, limit: f64) -> u64 {
    match rest {
        [] => u64::from(partial.abs() >= limit),
        [d, rest @ ..] => {
            extreme_patterns(rest, partial + d, limit) + extreme_patterns(rest, partial - d, limit)
        }
    }
}

/// A confidence interval of the mean difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Means of bootstrap resamples, sorted: the base of both kinds of interval.
#[derive(Debug, Clone)]
pub struct Bootstrap<'a> {
    differences: &'a [f64],
    center: f64,
    means: Vec<f64>,
}

impl<'a> Bootstrap<'a> {
    /// Draws `rounds` resamples with replacement. `None` without differences or rounds.
    pub fn new(differences: &'a [f64], seed: u64, rounds: u32) -> Option<Self> {
        let center = mean(differences).filter(|_| rounds > 0)?;
        let n = differences.len() as u64;
        let mut means: Vec<f64> = (0..rounds)
            .map(|round| {
                let mut rng = Rng::at(seed, RESAMPLES, u64::from(round));
                let drawn = |_| differences.get(rng.below(n) as usize).copied().unwrap_or_default();
                (0..n).map(drawn).sum::<f64>() / n as f64
            })
            .collect();
        means.sort_unstable_by(f64::total_cmp);
        Some(Self { differences, center, means })
    }

    /// The percentile interval; `confidence` in (0, 1), such as 0.95.
    pub fn percentile(&self, confidence: f64) -> Interval {
        let tail = (1.0 - confidence) / 2.0;
        Interval { low: self.quantile(tail), high: self.quantile(1.0 - tail) }
    }

    /// The bias-corrected and accelerated interval (Efron 1987), acceleration by the jackknife as in
    /// `scipy.stats.bootstrap`; `confidence` in (0, 1). Differences that are all equal give that point.
    pub fn bca(&self, confidence: f64) -> Interval {
        let rounds = self.means.len() as f64;
        let below = self.means.partition_point(|m| *m < self.center) as f64;
        let not_above = self.means.partition_point(|m| *m <= self.center) as f64;
        // Half a resample away from 0 and 1, where the quantile is infinite.
        let share = ((below + not_above) / (2.0 * rounds)).clamp(0.5 / rounds, 1.0 - 0.5 / rounds);
        let bias = normal_quantile(share);
        let acceleration = self.acceleration();
        let adjusted = |tail: f64| {
            let z = bias + normal_quantile(tail);
            self.quantile(normal_cdf(bias + z / (1.0 - acceleration * z)))
        };
        let tail = (1.0 - confidence) / 2.0;
        Interval { low: adjusted(tail), high: adjusted(1.0 - tail) }
    }

    /// For a mean, leaving out value i moves the estimate by (x_i - mean) / (n - 1): a sixth of the skewness, over √n.
    fn acceleration(&self) -> f64 {
        let (mut squares, mut cubes) = (0.0, 0.0);
        for d in self.differences {
            let u = d - self.center;
            squares += u * u;
            cubes += u * u * u;
        }
        if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 }
    }

    /// Linear interpolation between order statistics, as `numpy.quantile`.
    fn quantile(&self, share: f64) -> f64 {
        let place = share.clamp(0.0, 1.0) * (self.means.len() - 1) as f64;
        let at = |i: f64| self.means.get(i as usize).copied().unwrap_or(self.center);
        let (low, high) = (at(place.floor()), at(place.ceil()));
        low + (high - low) * place.fract()
    }
}

/// Holm's step-down correction: adjusted p values in the order given, in `[0, 1]`; rejecting those at most α keeps the
/// chance of any false rejection at most α.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = p.iter().copied().zip(0..).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut adjusted = vec![0.0; p.len()];
    let mut so_far = 0.0_f64;
    for (step, (value, place)) in order.into_iter().enumerate() {
        so_far = so_far.max(value * (p.len() - step) as f64).min(1.0);
        adjusted[place] = so_far;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_differences_are_enumerated() {
        // +++ and --- of eight patterns.
        assert_eq!(randomisation_p(&[0.1, 0.2, 0.3], 0, 10_000), 0.25);
        // 1 - 2 + 3 = 2: of eight patterns only 1 + 2 - 3 and its mirror stay below.
        assert_eq!(randomisation_p(&[1.0, -2.0, 3.0], 0, 10_000), 0.75);
    }

    #[test]
    fn equal_systems_have_p_of_one() {
        assert_eq!(randomisation_p(&[0.0; 50], 0, 10_000), 1.0);
        assert_eq!(randomisation_p(&[], 0, 10_000), 1.0);
    }

    #[test]
    fn sums_equal_on_paper_count_as_equal() {
        // In binary 0.1 + 0.2 - 0.3 is not 0: every pattern reaches |0|.
        assert_eq!(randomisation_p(&[0.1, 0.2, -0.3], 0, 10_000), 1.0);
    }

    #[test]
    fn many_differences_are_sampled_and_p_is_never_zero() {
        assert_eq!(randomisation_p(&[1.0; 40], 0, 999), 1.0 / 1000.0);
    }

    #[test]
    fn sampling_agrees_with_enumeration() {
        let few: Vec<f64> = (0..20).map(|i| f64::from((i * 7) % 11) - 3.5).collect();
        let exact = randomisation_p(&few, 0, 0);
        // One more difference, too small to matter, goes past the exact limit.
        let mut many = few.clone();
        many.push(1e-9);
        let sampled = randomisation_p(&many, 1, 20_000);
        let error = (exact * (1.0 - exact) / 20_000.0).sqrt();
        assert!((sampled - exact).abs() < 4.0 * error, "{sampled} {exact}");
    }

    #[test]
    fn differences_without_spread_have_no_t_and_a_point_for_interval() {
        assert_eq!(paired_t(&[0.5]), None);
        assert_eq!(paired_t(&[0.25; 4]), None);
        let same = [0.25; 4];
        let bootstrap = Bootstrap::new(&same, 0, 200).unwrap();
        assert_eq!(bootstrap.bca(0.95), Interval { low: 0.25, high: 0.25 });
        assert_eq!(bootstrap.percentile(0.95), Interval { low: 0.25, high: 0.25 });
        assert!(Bootstrap::new(&[], 0, 200).is_none());
    }

    #[test]
    fn holm_multiplies_by_the_number_left_and_never_decreases() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(adjusted.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-15), "{adjusted:?}");
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
