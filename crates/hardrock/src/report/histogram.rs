//! A histogram of numbers whose range is not known beforehand, in bounded memory and one pass.
//!
//! Bins are `[k, k + 1) x 2^exponent`. When the values spread over too many bins, neighbours are joined and the exponent
//! grows: the result depends on the values alone, not on their order.

use serde::{Serialize, Serializer};

/// Bins held at most.
const BINS: usize = 4096;
/// Bins written to JSON at most.
const BARS: usize = 64;
/// The finest width: 2^-20, about 1e-6.
const FINEST: i32 = -20;
/// Keys stay below this, so that they are exact.
const LARGEST: f64 = (1_u64 << 40) as f64;

/// Counts of finite values; see the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    exponent: i32,
    first: i64,
    counts: Vec<u64>,
    n: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            exponent: FINEST,
            first: 0,
            counts: Vec::new(),
            n: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

/// Evenly wide bars over a range, as drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// Where the first bar begins.
    pub low: f64,
    /// Width of a bar.
    pub width: f64,
    /// Values per bar; the first and last also hold what lies beyond them.
    pub counts: Vec<u64>,
}

impl Bars {
    /// Where the last bar ends.
    pub fn high(&self) -> f64 {
        self.low + self.width * self.counts.len() as f64
    }
}

impl Histogram {
    /// Counts a value; infinities and NaN are passed over.
    pub fn add(&mut self, value: f32) {
        let value = f64::from(value);
        if !value.is_finite() {
            return;
        }
        self.n += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        while value.abs() / self.width() >= LARGEST {
            self.coarsen();
        }
        loop {
            let key = (value / self.width()).floor() as i64;
            if self.counts.is_empty() {
                self.first = key;
                self.counts.push(1);
                return;
            }
            let last = self.first + self.counts.len() as i64 - 1;
            let span = last.max(key) - self.first.min(key) + 1;
            if span > BINS as i64 {
                self.coarsen();
                continue;
            }
            if key < self.first {
                let missing = (self.first - key) as usize;
                self.counts.splice(0..0, std::iter::repeat_n(0, missing));
                self.first = key;
            }
            let index = (key - self.first) as usize;
            if index >= self.counts.len() {
                self.counts.resize(index + 1, 0);
            }
            self.counts[index] += 1;
            return;
        }
    }

    /// Number of values.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Mean; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }

    /// Smallest and largest value; `None` without values.
    pub fn range(&self) -> Option<(f64, f64)> {
        (self.n > 0).then_some((self.min, self.max))
    }

    /// The value below which a share `q` in `[0, 1]` of the values lies, as exact as a bin is wide.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let mut left = q * self.n as f64;
        for (i, &count) in self.counts.iter().enumerate() {
            if count > 0 && left <= count as f64 {
                let within = left.max(0.0) / count as f64;
                let value = ((self.first + i as i64) as f64 + within) * self.width();
                return Some(value.clamp(self.min, self.max));
            }
            left -= count as f64;
        }
        (self.n > 0).then_some(self.max)
    }

    /// The same values in at most `bars` bars from below `low` to above `high`; both must be finite.
    pub fn bars(&self, low: f64, high: f64, bars: usize) -> Bars {
        let mut exponent = self.exponent;
        let edges = |exponent: i32| {
            let width = 2_f64.powi(exponent);
            ((low / width).floor() as i64, (high / width).floor() as i64)
        };
        while {
            let (a, b) = edges(exponent);
            b - a + 1 > bars.max(1) as i64
        } {
            exponent += 1;
        }
        let (first, last) = edges(exponent);
        let mut counts = vec![0; (last - first + 1).max(1) as usize];
        let shift = (exponent - self.exponent).clamp(0, 62);
        for (i, &count) in self.counts.iter().enumerate() {
            let key = ((self.first + i as i64) >> shift).clamp(first, last.max(first));
            counts[(key - first) as usize] += count;
        }
        let width = 2_f64.powi(exponent);
        Bars { low: first as f64 * width, width, counts }
    }

    /// The exponent of the bins' width: the coarsest of several is one that all can be shown at.
    pub fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Joins bins until they are 2^exponent wide.
    pub fn coarsen_to(&mut self, exponent: i32) {
        while self.exponent < exponent {
            self.coarsen();
        }
    }

    fn width(&self) -> f64 {
        2_f64.powi(self.exponent)
    }

    fn coarsen(&mut self) {
        let mut joined: Vec<u64> = Vec::with_capacity(self.counts.len() / 2 + 1);
        let first = self.first >> 1;
        for (i, &count) in self.counts.iter().enumerate() {
            let index = (((self.first + i as i64) >> 1) - first) as usize;
            if index >= joined.len() {
                joined.resize(index + 1, 0);
            }
            joined[index] += count;
        }
        (self.first, self.counts) = (first, joined);
        self.exponent += 1;
    }
}

/// What JSON holds of a histogram.
#[derive(Serialize)]
struct Shape {
    n: u64,
    mean: Option<f64>,
    min: Option<f64>,
    p05: Option<f64>,
    p25: Option<f64>,
    p50: Option<f64>,
    p75: Option<f64>,
    p95: Option<f64>,
    max: Option<f64>,
    low: f64,
    width: f64,
    counts: Vec<u64>,
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (min, max) = self.range().unzip();
        let bars = match (min, max) {
            (Some(min), Some(max)) => self.bars(min, max, BARS),
            _ => Bars { low: 0.0, width: 0.0, counts: Vec::new() },
        };
        Shape {
            n: self.n,
            mean: self.mean(),
            min,
            p05: self.quantile(0.05),
            p25: self.quantile(0.25),
            p50: self.quantile(0.5),
            p75: self.quantile(0.75),
            p95: self.quantile(0.95),
            max,
            low: bars.low,
            width: bars.width,
            counts: bars.counts,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f32]) -> Histogram {
        let mut h = Histogram::default();
        values.iter().for_each(|&v| h.add(v));
        h
    }

    #[test]
    fn bars_hold_what_lies_beyond_them_at_their_ends() {
        let h = of(&[-3.0, 0.1, 0.6, 0.9, 1.0, 40.0]);
        let bars = h.bars(0.0, 1.0, 4);
        assert_eq!((bars.low, bars.width), (0.0, 0.5));
        assert_eq!(bars.counts, [2, 2, 2]);
    }

    #[test]
    fn an_empty_histogram_has_no_figures() {
        let h = of(&[f32::NAN, f32::INFINITY]);
        assert_eq!((h.n(), h.mean(), h.quantile(0.5), h.range()), (0, None, None, None));
        assert_eq!(h.bars(0.0, 1.0, 10).counts.iter().sum::<u64>(), 0);
        assert_eq!(serde_json::to_value(&h).unwrap()["n"], 0);
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_nothing_is_lost(
            mut values in prop::collection::vec(prop_oneof![-1f32..1.0, -300f32..300.0, -1e30f32..1e30], 1..200),
            q in 0f64..1.0,
        ) {
            let forward = of(&values);
            values.reverse();
            let backward = of(&values);
            prop_assert_eq!((forward.exponent, forward.first, &forward.counts),
                (backward.exponent, backward.first, &backward.counts));
            prop_assert_eq!(forward.counts.iter().sum::<u64>(), values.len() as u64);
            let (low, high) = forward.range().unwrap();
            let bars = forward.bars(low, high, 40);
            prop_assert!(bars.counts.len() <= 40);
            prop_assert_eq!(bars.counts.iter().sum::<u64>(), values.len() as u64);

            values.sort_by(f32::total_cmp);
            let below = (q * values.len() as f64).ceil().max(1.0) as usize - 1;
            let truth = f64::from(values[below]);
            prop_assert!((forward.quantile(q).unwrap() - truth).abs() <= forward.width() * 1.001);
        }
    }
}
