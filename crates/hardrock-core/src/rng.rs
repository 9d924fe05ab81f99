//! Counter-based random numbers: a draw depends on where it is made, never on when.
//!
//! Every stage that draws asks for the generator of *its* row, so the outcome is the same for any
//! number of threads, any chunking and any order of rows.

/// Step of the Weyl sequence (2^64 divided by the golden ratio, made odd), as in `SplitMix64`.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A generator whose k-th output is a pure function of (seed, stage, row, k).
///
/// Not for cryptography. Two keyed rounds of the `SplitMix64` finaliser per output: one round alone
/// would lay all rows on one cycle, where the streams of two rows could run over each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng {
    first: u64,
    second: u64,
    counter: u64,
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014; Stafford's mix 13): a bijection on 64 bits.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    /// The generator of one row in one stage. `stage` keeps the draws of different uses of one seed
    /// apart; `row` is the dense index of what is drawn for (an anchor, a bootstrap resample).
    #[must_use]
    pub fn at(seed: u64, stage: u64, row: u64) -> Self {
        // Each word passes the finaliser before the next is mixed in: (1, 0) and (0, 1) must differ.
        let place = mix(mix(seed.wrapping_add(STEP)).wrapping_add(stage).wrapping_add(STEP));
        let first = mix(place.wrapping_add(row).wrapping_add(STEP));
        let second = mix(first.wrapping_add(place.rotate_left(32)).wrapping_add(STEP));
        Self { first, second, counter: 0 }
    }

    /// The next 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        mix(mix(self.counter.wrapping_mul(STEP).wrapping_add(self.first)) ^ self.second)
    }

    /// A uniform integer in `[0, n)`, without modulo bias (Lemire 2019). `n = 0` gives 0.
    pub fn below(&mut self, n: u64) -> u64 {
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            let low = wide as u64;
            // The division for the exact threshold is paid only in the rare case that needs it.
            if low >= n || low >= n.wrapping_neg() % n {
                return (wide >> 64) as u64;
            }
        }
    }

    /// A uniform number in `[0, 1)`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;
    use proptest::prelude::{prop_assert, proptest};

    fn first_three(mut rng: Rng) -> [u64; 3] {
        [rng.next_u64(), rng.next_u64(), rng.next_u64()]
    }

    #[test]
    fn the_stream_never_changes_between_versions() {
        // Golden values: files written with a seed must be reproducible by every later version.
        let zero = first_three(Rng::at(0, 0, 0));
        let some = first_three(Rng::at(7, 3, 9001));
        assert_eq!(zero, [0x3C4C_9A82_DD53_3C31, 0xE344_1D80_9B80_5E08, 0x7F1C_CA26_9BA6_8FBD]);
        assert_eq!(some, [0x4551_8F29_D5DE_717E, 0xB933_49CC_818E_D990, 0x12BA_F412_3448_460F]);
    }

    #[test]
    fn seed_stage_and_row_are_not_interchangeable() {
        let mut seen: Vec<u64> = Vec::new();
        for seed in 0..12 {
            for stage in 0..12 {
                seen.extend((0..12).map(|row| Rng::at(seed, stage, row).next_u64()));
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 12 * 12 * 12);
    }

    #[test]
    fn below_is_uniform() {
        // Chi-square over 10 cells, 9 degrees of freedom: 27.9 is the 0.1 % point.
        for rows in [1_u64, 20_000] {
            let mut counts = [0_u32; 10];
            for row in 0..rows {
                let mut rng = Rng::at(1, 2, row);
                for _ in 0..20_000 / rows {
                    counts[rng.below(10) as usize] += 1;
                }
            }
            let chi: f64 = counts.iter().map(|&c| (f64::from(c) - 2000.0).powi(2) / 2000.0).sum();
            assert!(chi < 27.9, "{rows} rows: chi-square {chi}, {counts:?}");
        }
    }

    #[test]
    fn below_is_not_biased_for_ranges_near_the_word_size() {
        // With n = 3/4 of 2^64 a plain multiply-shift hits each third value twice as often.
        let n = 3_u64 << 62;
        let mut rng = Rng::at(5, 0, 0);
        let third = (0..30_000).filter(|_| rng.below(n).is_multiple_of(3)).count();
        assert!((9_700..10_300).contains(&third), "{third}");
    }

    #[test]
    fn unit_has_mean_half_and_the_variance_of_a_uniform() {
        let draws: Vec<f64> = (0..50_000).map(|row| Rng::at(3, 1, row).unit()).collect();
        let mean = draws.iter().sum::<f64>() / 50_000.0;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 50_000.0;
        assert!((mean - 0.5).abs() < 0.006, "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.002, "{variance}");
    }

    #[test]
    fn every_bit_is_set_half_the_time() {
        let mut ones = [0_u32; 64];
        for row in 0..10_000 {
            let word = Rng::at(0, 0, row).next_u64();
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += (word >> bit & 1) as u32;
            }
        }
        assert!(ones.iter().all(|c| (4_750..5_250).contains(c)), "{ones:?}");
    }

    #[test]
    fn below_zero_and_one_are_zero() {
        assert_eq!(Rng::at(1, 1, 1).below(0), 0);
        assert_eq!(Rng::at(1, 1, 1).below(1), 0);
    }

    proptest! {
        #[test]
        fn draws_stay_in_range(seed: u64, stage: u64, row: u64, n in 1_u64..) {
            let mut rng = Rng::at(seed, stage, row);
            for _ in 0..8 {
                prop_assert!(rng.below(n) < n);
                let u = rng.unit();
                prop_assert!((0.0..1.0).contains(&u));
            }
        }
    }
}
