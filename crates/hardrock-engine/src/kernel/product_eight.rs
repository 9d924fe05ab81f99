//! The encoders' inner loop in 8-bit integers: [`super::product`] with a quarter of the bytes and several times the rate.
//!
//! A token's features are unsigned codes, an output's weights signed ones, four features to a word, because that is what
//! the instructions multiply. Integers do not round, and the scales are applied to whole sums in a fixed order of
//! rounded operations, so every instruction set gives the same bits.
//!
//! ## Why nothing overflows
//! Without VNNI, products are added in 16 bits before they are widened: two of a word and the two at the same place of the
//! next word, one *lane* of [`RUN`] / 2 weights. [`code`] sees to it that the positive weights of a lane add up to at most
//! 128, and so do the negative ones. With codes up to 255 no partial sum leaves −32,640 … 32,640, whatever the tokens are.
//! That costs a little of the weights' resolution and leaves the tokens all of theirs, which have the larger error.

use super::lanes::Lanes;
use super::product::{OUTPUTS, Product, TOKENS};
use super::{Isa, Kind};

/// Features that are summed in 16 bits: two words, of which the first halves make one lane and the second halves another.
pub(crate) const RUN: usize = 8;
/// Words of a run.
const WORDS: usize = RUN / 4;
/// The most that weights of one sign add up to in a lane.
const MOST: i32 = 128;

/// Codes of four features for 32 tokens, the lowest feature in the lowest byte.
pub(crate) type Codes = [u32; TOKENS];
/// Codes of four features for twelve outputs.
pub(crate) type Weights = [u32; OUTPUTS];

/// Words that so many features take: whole runs.
pub(crate) fn words(features: usize) -> usize {
    features.div_ceil(RUN) * WORDS
}

/// What turns sums of codes into numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales<'a> {
    /// What one step of a token's codes is worth.
    pub(crate) step: &'a Lanes,
    /// What a token's code 0 stands for.
    pub(crate) low: &'a Lanes,
    /// What one step of an output's weights is worth.
    pub(crate) weight: &'a [f32; OUTPUTS],
    /// The sum of an output's codes.
    pub(crate) sum: &'a [f32; OUTPUTS],
}

/// How this machine multiplies codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Multiplier(How);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Multiplier {
    /// The fastest that comes with an instruction set on this machine.
    pub(crate) fn of(isa: Isa) -> Self {
        Self(match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 if is_x86_feature_detected!("avx512vnni") => How::Vnni,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 if is_x86_feature_detected!("avx512bw") => How::Avx512,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Avx2 => How::Avx2,
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => How::Plain,
            Kind::Plain => How::Plain,
        })
    }

    /// All that this machine has.
    #[cfg(test)]
    fn available() -> Vec<Self> {
        let mut found: Vec<Self> = Isa::available().into_iter().map(Self::of).collect();
        #[cfg(target_arch = "x86_64")]
        if found[0].0 == How::Vnni && is_x86_feature_detected!("avx512bw") {
            found.push(Self(How::Avx512));
        }
        found
    }
}

/// Codes of the weights of one output `[features]` (at most 384), `[words * 4]`, and what one step of them is worth; 0 for
/// an output of zeros, NaN for one with a weight that is not finite.
pub(crate) fn code(weights: &[f32]) -> (Vec<i8>, f32) {
    let mut codes = vec![0; words(weights.len()) * 4];
    let mut most = 0.0f32;
    for run in weights.chunks(RUN) {
        let mut lanes = [[0.0f32; 2]; 2];
        for (i, &w) in run.iter().enumerate() {
            lanes[i / 2 % 2][usize::from(w < 0.0)] += w.abs();
            most = most.max(w.abs() * (MOST as f32 / 127.0));
        }
        most = lanes.as_flattened().iter().fold(most, |most, &sum| most.max(sum));
    }
    if weights.iter().any(|w| !w.is_finite()) || most.is_infinite() {
        return (codes, f32::NAN);
    }
    // Rounding may lift four weights by a half each: with room for that the last try always fits.
    for room in 0..=2 {
        let step = most / (MOST - room) as f32;
        if !(1.0 / step).is_finite() {
            // All zero, or too small to tell from zero.
            return (vec![0; codes.len()], 0.0);
        }
        let inverse = 1.0 / step;
        for (code, &w) in codes.iter_mut().zip(weights) {
            *code = (w * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
        }
        if room == 2 || codes.chunks(RUN).all(fits) {
            return (codes, step);
        }
    }
    (codes, f32::NAN)
}

/// Whether no lane of a run can overflow.
fn fits(run: &[i8]) -> bool {
    let mut lanes = [[0; 2]; 2];
    for (i, &code) in run.iter().enumerate() {
        lanes[i / 2 % 2][usize::from(code < 0)] += i32::from(code).abs();
    }
    lanes.as_flattened().iter().all(|&sum| sum <= MOST)
}

/// Adds `weights` times `tokens`, both `[words]`, to `out`: `out + weight * (step * sum of products + low * sum of codes)`.
/// With `half` only the first 16 tokens count and the others of `out` are left as they are. `ahead` is memory worth having in
/// the cache soon. The weights are those of [`code`]; with others the sums may wrap around.
///
/// # Panics
/// If the two sides do not hold the same whole number of runs.
pub(crate) fn product_eight(
    how: Multiplier,
    weights: &[Weights],
    tokens: &[Codes],
    ahead: &[Weights],
    scales: Scales<'_>,
    half: bool,
    out: &mut Product,
) {
    assert!(tokens.len() == weights.len() && tokens.len().is_multiple_of(WORDS), "whole runs");
    let _ = ahead; // Only VNNI is fast enough to wait for memory.
    match how.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Vnni` exists only where AVX-512F and AVX-512 VNNI were detected; the lengths are asserted above.
        How::Vnni => unsafe { super::product_eight_x86::vnni(weights, tokens, ahead, scales, half, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Avx512` exists only where AVX-512F and AVX-512 BW were detected; the lengths are asserted above.
        How::Avx512 => unsafe { super::product_eight_x86::wide(weights, tokens, scales, half, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Avx2` exists only where AVX2 and FMA were detected; the lengths are asserted above.
        How::Avx2 => unsafe { super::product_eight_x86::narrow(weights, tokens, scales, half, out) },
        How::Plain => plain(weights, tokens, scales, half, out),
    }
}

/// The portable way, which spells out what the others do.
fn plain(weights: &[Weights], tokens: &[Codes], scales: Scales<'_>, half: bool, out: &mut Product) {
    let lanes = if half { TOKENS / 2 } else { TOKENS };
    for (output, out) in out.chunks_exact_mut(TOKENS).enumerate() {
        let mut sums = [0i32; TOKENS];
        for (weights, tokens) in weights.iter().zip(tokens) {
            let [a, b, c, d] = weights[output].to_le_bytes().map(|w| i32::from(w.cast_signed()));
            for (sum, &x) in sums.iter_mut().zip(tokens) {
                let byte = |shift: u32| (x >> shift & 0xff).cast_signed();
                *sum += a * byte(0) + b * byte(8) + c * byte(16) + d * byte(24);
            }
        }
        for (lane, out) in out[..lanes].iter_mut().enumerate() {
            let sum = (sums[lane] as f32).mul_add(scales.step[lane], scales.low[lane] * scales.sum[output]);
            *out = sum.mul_add(scales.weight[output], *out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::lanes::codes as code_tokens;

    /// Twelve outputs, coded; `[words]`, steps and sums.
    fn coded(rows: &[Vec<f32>]) -> (Vec<Weights>, [f32; OUTPUTS], [f32; OUTPUTS]) {
        let mut packed = vec![[0; OUTPUTS]; words(rows[0].len())];
        let (mut steps, mut sums) = ([0.0; OUTPUTS], [0.0; OUTPUTS]);
        for (output, row) in rows.iter().enumerate() {
            let (codes, step) = code(row);
            assert!(codes.chunks(RUN).all(fits));
            sums[output] = codes.iter().map(|&c| f32::from(c)).sum();
            steps[output] = step;
            for (word, four) in packed.iter_mut().zip(codes.as_chunks().0) {
                word[output] = u32::from_le_bytes(four.map(i8::cast_unsigned));
            }
        }
        (packed, steps, sums)
    }

    fn weight() -> impl Strategy<Value = f32> {
        prop_oneof![6 => -2.0f32..2.0, 2 => Just(2.0), 2 => Just(-2.0), 1 => Just(0.0), 1 => Just(1e-30), 1 => Just(900.0)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn every_multiplier_gives_the_bits_of_the_plain_loop(
            rows in (1usize..60).prop_flat_map(|features| {
                prop::collection::vec(prop::collection::vec(weight(), features), OUTPUTS)
            }),
            tokens in prop::collection::vec(prop_oneof![4 => any::<u32>(), 1 => Just(u32::MAX), 1 => Just(0)], 101),
            half: bool,
            scale in -2.0f32..2.0,
        ) {
            let (weights, weight, sum) = coded(&rows);
            let tokens: Vec<Codes> = (0..weights.len())
                .map(|i| std::array::from_fn(|l| tokens[(i * 37 + l * 5) % tokens.len()]))
                .collect();
            let step: Lanes = std::array::from_fn(|l| scale * (1.0 + l as f32));
            let low: Lanes = std::array::from_fn(|l| l as f32 - 3.0);
            let scales = Scales { step: &step, low: &low, weight: &weight, sum: &sum };
            let start: Product = std::array::from_fn(|i| i as f32 * 0.1);
            let mut want = start;
            for (place, want) in want.iter_mut().enumerate() {
                let (output, lane) = (place / TOKENS, place % TOKENS);
                let mut total = 0i64;
                for (w, x) in weights.iter().zip(&tokens) {
                    let pairs = w[output].to_le_bytes().into_iter().zip(x[lane].to_le_bytes());
                    total += pairs.map(|(w, x)| i64::from(w.cast_signed()) * i64::from(x)).sum::<i64>();
                }
                if !half || lane < TOKENS / 2 {
                    let inner = (total as f32).mul_add(step[lane], low[lane] * sum[output]);
                    *want = inner.mul_add(weight[output], *want);
                }
            }
            for how in Multiplier::available() {
                let mut out = start;
                product_eight(how, &weights, &tokens, &weights, scales, half, &mut out);
                prop_assert_eq!(out.map(f32::to_bits), want.map(f32::to_bits), "{:?}", how);
            }
        }

        #[test]
        fn codes_are_near_the_weights_and_never_overflow(row in prop::collection::vec(weight(), 1..80)) {
            let (codes, step) = code(&row);
            prop_assert!(codes.chunks(RUN).all(fits));
            for (&w, &code) in row.iter().zip(&codes) {
                prop_assert!((w - f32::from(code) * step).abs() <= step * 0.501, "{w} {code} {step}");
            }
        }
    }

    #[test]
    fn the_greatest_sums_do_not_saturate() {
        // All weights at the bound and all codes at 255: a lane reaches 32,640.
        let rows: Vec<Vec<f32>> = (0..OUTPUTS)
            .map(|o| (0..384).map(|i| if o % 2 == 0 { 1.0 } else { -1.0 } * f32::from(i % 2 == 0)).collect())
            .collect();
        let (weights, weight, sum) = coded(&rows);
        assert_eq!(sum[0], 96.0 * 128.0);
        let tokens = vec![[u32::MAX; TOKENS]; weights.len()];
        let (step, low) = ([1.0; TOKENS], [0.0; TOKENS]);
        let scales = Scales { step: &step, low: &low, weight: &weight, sum: &sum };
        for how in Multiplier::available() {
            let mut out = [0.0; OUTPUTS * TOKENS];
            product_eight(how, &weights, &tokens, &[], scales, false, &mut out);
            for (place, x) in out.iter().enumerate() {
                let sign = if (place / TOKENS).is_multiple_of(2) { 1.0 } else { -1.0 };
                assert_eq!(*x, sign * 255.0 * 192.0, "{how:?}");
            }
        }
    }

    #[test]
    fn a_product_of_codes_is_near_the_product_of_numbers() {
        let number = |i: usize| {
            ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * if i.is_multiple_of(31) { 3.0 } else { 1.0 }
        };
        let features = 84;
        let rows: Vec<Vec<f32>> =
            (0..OUTPUTS).map(|o| (0..features).map(|k| number(o * 101 + k)).collect()).collect();
        let (weights, weight, sum) = coded(&rows);
        let x: Vec<Lanes> =
            (0..features).map(|k| std::array::from_fn(|l| number(k * 53 + l * 17 + 5))).collect();
        for isa in Isa::available() {
            let mut tokens = vec![[0; TOKENS]; weights.len()];
            let [step, low] = code_tokens(isa, &x, &mut tokens);
            let scales = Scales { step: &step, low: &low, weight: &weight, sum: &sum };
            let mut out = [0.5; OUTPUTS * TOKENS];
            product_eight(Multiplier::of(isa), &weights, &tokens, &[], scales, false, &mut out);
            for (place, &got) in out.iter().enumerate() {
                let (output, lane) = (place / TOKENS, place % TOKENS);
                let want: f32 = (0..features).map(|k| rows[output][k] * x[k][lane]).sum();
                assert!((got - 0.5 - want).abs() < 0.35, "{got} {want}");
            }
        }
    }

    #[test]
    fn weights_that_are_not_finite_show_and_zeros_are_zero() {
        assert!(code(&[1.0, f32::NAN]).1.is_nan());
        assert!(code(&[f32::INFINITY]).1.is_nan());
        assert_eq!(code(&[0.0; 9]), (vec![0; 16], 0.0));
        assert_eq!(code(&[1e-45; 3]), (vec![0; 8], 0.0));
    }
}
