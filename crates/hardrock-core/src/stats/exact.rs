//! Exact binomial tails: what a few verdicts prove about many pairs.

use super::distributions::incomplete_beta;

/// P(X <= hits) for X ~ Bin(n, share). `n = 0` gives 1.
pub fn binomial_at_most(hits: u64, n: u64, share: f64) -> f64 {
    if hits >= n {
        return 1.0;
    }
    if share <= 0.0 {
        return 1.0;
    }
    if share >= 1.0 {
        return 0.0;
    }
    // P(X <= s) = I_{1 - p}(n - s, s + 1).
    incomplete_beta(1.0 - share, (n - hits) as f64, (hits + 1) as f64)
}

/// The Clopper-Pearson upper bound: the largest share at which `hits` or fewer of `n` are not rarer than `level`.
pub fn upper_bound(hits: u64, n: u64, level: f64) -> f64 {
    if hits >= n {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if binomial_at_most(hits, n, middle) > level { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_hand(hits: u64, n: u64, p: f64) -> f64 {
        let mut choose = 1.0;
        let mut sum = 0.0;
        for i in 0..=hits {
            sum += choose * p.powi(i as i32) * (1.0 - p).powi((n - i) as i32);
            choose *= (n - i) as f64 / (i + 1) as f64;
        }
        sum
    }

    #[test]
    fn tails_are_those_of_the_sum() {
        for (hits, n, p) in [(0, 10, 0.1), (3, 20, 0.2), (5, 100, 0.05), (19, 20, 0.9)] {
            assert!((binomial_at_most(hits, n, p) - by_hand(hits, n, p)).abs() < 1e-10, "{hits} {n} {p}");
        }
        assert_eq!(binomial_at_most(5, 5, 0.3), 1.0);
        assert_eq!(binomial_at_most(0, 0, 0.3), 1.0);
    }

    #[test]
    fn nothing_seen_in_45_bounds_five_percent_at_ninety() {
        assert!(binomial_at_most(0, 45, 0.05) <= 0.1 && binomial_at_most(0, 44, 0.05) > 0.1);
        assert!((upper_bound(0, 45, 0.1) - (1.0 - 0.1f64.powf(1.0 / 45.0))).abs() < 1e-9);
    }
}
