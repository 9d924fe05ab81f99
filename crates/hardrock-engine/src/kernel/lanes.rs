//! What an encoder does between its products: 32 tokens side by side, so that no sum runs across lanes.
//!
//! Each function is plain Rust over `[f32; 32]`, compiled once per instruction set; without calls into a mathematics
//! library and with every rounding spelled out, all give the same bits.

use super::product::TOKENS;
use super::product_eight::Codes;
use super::{Isa, Kind};

/// One number per token.
pub(crate) type Lanes = [f32; TOKENS];

/// Defines a function that runs `$body` compiled for the instruction set at hand.
macro_rules! lanewise {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) $(-> $ret:ty)? = $body:path) => {
        $(#[$doc])*
        pub(crate) fn $name(isa: Isa, $($arg: $kind),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn wide($($arg: $kind),*) $(-> $ret)? {
                $body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn narrow($($arg: $kind),*) $(-> $ret)? {
                $body($($arg),*)
            }
            match isa.0 {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the value `Avx512` exists only where AVX-512F was detected.
                Kind::Avx512 => unsafe { wide($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the value `Avx2` exists only where AVX2 and FMA were detected.
                Kind::Avx2 => unsafe { narrow($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                Kind::Neon => $body($($arg),*),
                Kind::Plain => $body($($arg),*),
            }
        }
    };
}

pub(super) use lanewise;

lanewise! {
    /// Brings the features of each token to mean 0 and variance 1 (`eps` added to it), times `gain` plus `bias` (empty =
    /// none), both `[features]`.
    layer_norm(x: &mut [Lanes], gain: &[f32], bias: &[f32], eps: f32) = body::layer_norm
}
lanewise! {
    /// `x`·Φ(x), the Gaussian error linear unit; absolute error below 5e-7.
    gelu(x: &mut [Lanes]) = body::gelu
}
lanewise! {
    /// GELU in its approximation by a hyperbolic tangent.
    gelu_tanh(x: &mut [Lanes]) = body::gelu_tanh
}
lanewise! {
    /// `x` times its logistic.
    silu(x: &mut [Lanes]) = body::silu
}
lanewise! {
    /// The positive part.
    relu(x: &mut [Lanes]) = body::relu
}
lanewise! {
    /// `x` times `gate`.
    multiply(x: &mut [Lanes], gate: &[Lanes]) = body::multiply
}
lanewise! {
    /// Turns scores `[keys]`, given in powers of two, into weights that are not yet divided by their sum; answers one over
    /// the sum. A score of −∞ has the weight 0.
    softmax(scores: &mut [Lanes]) -> Lanes = body::softmax
}
lanewise! {
    /// Turns pairs of features (the first half with the second) by an angle per token.
    rotate(first: &mut [Lanes], second: &mut [Lanes], cos: &[Lanes], sin: &[Lanes]) = body::rotate
}
lanewise! {
    /// Multiplies every number of a token by the token's own.
    scale(x: &mut [Lanes], by: &Lanes) = body::scale
}
lanewise! {
    /// Codes of 0 to 255 for the features `[features]` of each token, four to a word, into `out` `[words]`, whose rest is set to
    /// 0; answers what one step is worth and what 0 stands for. A token whose features are all equal has codes of 0; one
    /// with a number that is not finite has steps that are not.
    codes(x: &[Lanes], out: &mut [Codes]) -> [Lanes; 2] = body::codes
}

/// The functions themselves, inlined into each wrapper.
pub(super) mod body {
    use super::{Codes, Lanes, TOKENS};

    #[inline(always)]
    pub(in crate::kernel) fn map(f: impl Fn(usize) -> f32) -> Lanes {
        let mut out = [0.0; TOKENS];
        for (lane, out) in out.iter_mut().enumerate() {
            *out = f(lane);
        }
        out
    }

    #[inline(always)]
    pub(super) fn layer_norm(x: &mut [Lanes], gain: &[f32], bias: &[f32], eps: f32) {
        let count = x.len() as f32;
        let mut sum = [0.0; TOKENS];
        for row in &*x {
            for (sum, x) in sum.iter_mut().zip(row) {
                *sum += x;
            }
        }
        let mean = map(|l| sum[l] / count);
        let mut squares = [0.0; TOKENS];
        for row in &*x {
            for ((square, x), mean) in squares.iter_mut().zip(row).zip(&mean) {
                let off = x - mean;
                *square = off.mul_add(off, *square);
            }
        }
        let inverse = map(|l| 1.0 / (squares[l] / count + eps).sqrt());
        for (i, (row, &gain)) in x.iter_mut().zip(gain).enumerate() {
            let bias = bias.get(i).copied().unwrap_or(0.0);
            for ((x, mean), inverse) in row.iter_mut().zip(&mean).zip(&inverse) {
                *x = ((*x - mean) * inverse).mul_add(gain, bias);
            }
        }
    }

    /// 1.5·2²³: adding it rounds to a whole number, which then stands in the low bits.
    const MAGIC: f32 = 12_582_912.0;

    /// 2^x for x ≤ 126, 0 below −126; relative error 1e-7 (Chebyshev's polynomial of degree 5 on [−½, ½]).
    #[inline(always)]
    pub(in crate::kernel) fn exp2(x: f32) -> f32 {
        let x = x.max(-127.0);
        let shifted = x + MAGIC;
        let f = x - (shifted - MAGIC);
        let p = 0.001_339_086_3_f32
            .mul_add(f, 0.009_676_032)
            .mul_add(f, 0.055_503_57)
            .mul_add(f, 0.240_221_07)
            .mul_add(f, std::f32::consts::LN_2)
            .mul_add(f, 1.0);
        p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
    }

    /// 1 / (1 + 2^−x).
    #[inline(always)]
    pub(in crate::kernel) fn logistic2(x: f32) -> f32 {
        1.0 / (1.0 + exp2((-x).min(126.0)))
    }

    /// Φ(x) by 1 − ½ erfc(x/√2), erfc by Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
    #[inline(always)]
    fn gelu_one(x: f32) -> f32 {
        let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / 0.327_591_1_f32.mul_add(z, 1.0);
        let p = 1.061_405_4_f32
            .mul_add(t, -1.453_152_1)
            .mul_add(t, 1.421_413_8)
            .mul_add(t, -0.284_496_72)
            .mul_add(t, 0.254_829_6)
            * t;
        let tail = 0.5 * p * exp2(-(z * z) * std::f32::consts::LOG2_E);
        // x·Φ(x) = max(x, 0) − |x|·(1 − Φ(|x|))
        (-x.abs()).mul_add(tail, x.max(0.0))
    }

    #[inline(always)]
    fn each(x: &mut [Lanes], f: impl Fn(f32) -> f32) {
        for row in x {
            for x in row {
                *x = f(*x);
            }
        }
    }

    #[inline(always)]
    pub(super) fn gelu(x: &mut [Lanes]) {
        each(x, gelu_one);
    }

    #[inline(always)]
    pub(super) fn gelu_tanh(x: &mut [Lanes]) {
        // ½(1 + tanh u) is the logistic of 2u; √(2/π) and log₂ e go into one factor.
        const FACTOR: f32 = 2.0 * 0.797_884_6 * std::f32::consts::LOG2_E;
        each(x, |x| x * logistic2(FACTOR * (0.044_715 * x * x).mul_add(x, x)));
    }

    #[inline(always)]
    pub(super) fn silu(x: &mut [Lanes]) {
        each(x, |x| x * logistic2(x * std::f32::consts::LOG2_E));
    }

    #[inline(always)]
    pub(super) fn relu(x: &mut [Lanes]) {
        each(x, |x| x.max(0.0));
    }

    #[inline(always)]
    pub(super) fn multiply(x: &mut [Lanes], gate: &[Lanes]) {
        for (x, gate) in x.iter_mut().zip(gate) {
            for (x, gate) in x.iter_mut().zip(gate) {
                *x *= gate;
            }
        }
    }

    #[inline(always)]
    pub(super) fn scale(x: &mut [Lanes], by: &Lanes) {
        for x in x {
            for (x, by) in x.iter_mut().zip(by) {
                *x *= by;
            }
        }
    }

    #[inline(always)]
    pub(super) fn softmax(scores: &mut [Lanes]) -> Lanes {
        let mut most = [f32::MIN; TOKENS];
        for row in &*scores {
            for (most, &x) in most.iter_mut().zip(row) {
                *most = most.max(x);
            }
        }
        let mut sum = [0.0; TOKENS];
        for row in scores {
            for ((x, most), sum) in row.iter_mut().zip(&most).zip(&mut sum) {
                *x = exp2(*x - most);
                *sum += *x;
            }
        }
        map(|l| 1.0 / sum[l])
    }

    #[inline(always)]
    pub(super) fn codes(x: &[Lanes], out: &mut [Codes]) -> [Lanes; 2] {
        let (mut low, mut high, mut broken) = ([f32::MAX; TOKENS], [f32::MIN; TOKENS], [0.0; TOKENS]);
        for row in x {
            for (((low, high), broken), &x) in low.iter_mut().zip(&mut high).zip(&mut broken).zip(row) {
                *low = low.min(x);
                *high = high.max(x);
                // Comparisons pass NaN over; this does not.
                *broken = x.mul_add(0.0, *broken);
            }
        }
        let range = map(|l| high[l] - low[l]);
        let inverse = map(|l| if range[l] > 0.0 { 255.0 / range[l] } else { 0.0 });
        let code = |x: f32, lane: usize| ((x - low[lane]).mul_add(inverse[lane], MAGIC)).to_bits() & 0xff;
        let (fours, rest) = x.as_chunks::<4>();
        let mut out = out.iter_mut();
        for ([a, b, c, d], out) in fours.iter().zip(&mut out) {
            for (lane, out) in out.iter_mut().enumerate() {
                *out = code(a[lane], lane)
                    | code(b[lane], lane) << 8
                    | code(c[lane], lane) << 16
                    | code(d[lane], lane) << 24;
            }
        }
        for (word, out) in out.enumerate() {
            let rows = if word == 0 { rest } else { &[] };
            *out = [0; TOKENS];
            for (i, row) in rows.iter().enumerate() {
                for (lane, out) in out.iter_mut().enumerate() {
                    *out |= code(row[lane], lane) << (8 * i);
                }
            }
        }
        [map(|l| range[l] / 255.0 + broken[l]), low]
    }

    #[inline(always)]
    pub(super) fn rotate(first: &mut [Lanes], second: &mut [Lanes], cos: &[Lanes], sin: &[Lanes]) {
        for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
            for ((a, b), (cos, sin)) in a.iter_mut().zip(b).zip(cos.iter().zip(sin)) {
                let (x, y) = (*a, *b);
                *a = x.mul_add(*cos, -(y * sin));
                *b = y.mul_add(*cos, x * sin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `f` on the numbers of every instruction set and asks for the same bits.
    fn same(numbers: &[f32], f: impl Fn(Isa, &mut [Lanes])) -> Vec<f32> {
        let rows: Vec<Lanes> = numbers
            .chunks(TOKENS)
            .map(|c| std::array::from_fn(|i| c.get(i).copied().unwrap_or(0.0)))
            .collect();
        let mut first: Option<Vec<f32>> = None;
        for isa in Isa::available() {
            let mut rows = rows.clone();
            f(isa, &mut rows);
            let out = rows.as_flattened()[..numbers.len()].to_vec();
            let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            if let Some(first) = &first {
                assert_eq!(bits(first), bits(&out), "{}", isa.name());
            }
            first.get_or_insert(out);
        }
        first.unwrap_or_default()
    }

    fn line(from: f32, to: f32, count: usize) -> Vec<f32> {
        (0..count).map(|i| from + (to - from) * i as f32 / (count - 1) as f32).collect()
    }

    /// Greatest distance between what `f` gives and what `want` does in f64.
    fn error(numbers: &[f32], f: impl Fn(Isa, &mut [Lanes]), want: impl Fn(f64) -> f64) -> f64 {
        let got = same(numbers, f);
        let off = got.iter().zip(numbers).map(|(&got, &x)| (f64::from(got) - want(f64::from(x))).abs());
        off.fold(0.0, f64::max)
    }

    /// Φ by a series (small x) or a continued fraction (large x), in f64.
    fn phi(x: f64) -> f64 {
        let a = x.abs();
        let density = (-a * a / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let upper = if a < 3.0 {
            let (mut term, mut sum) = (a, a);
            for i in 1..200 {
                term *= a * a / (2.0 * f64::from(i) + 1.0);
                sum += term;
            }
            0.5 - density * sum
        } else {
            density / (1..200).rev().fold(a, |below, i| a + f64::from(i) / below)
        };
        if x > 0.0 { 1.0 - upper } else { upper }
    }

    #[test]
    fn activations_are_near_their_definitions() {
        let x = line(-12.0, 12.0, 20_001);
        assert!(error(&x, gelu, |x| x * phi(x)) < 1.5e-6);
        let tanh = |x: f64| 0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044_715 * x * x * x)).tanh());
        assert!(error(&x, gelu_tanh, tanh) < 2e-6);
        assert!(error(&x, silu, |x| x / (1.0 + (-x).exp())) < 2e-6);
        assert_eq!(error(&x, relu, |x| x.max(0.0)), 0.0);
        let near = line(-3.0, 3.0, 20_001);
        assert!(error(&near, gelu, |x| x * phi(x)) < 5e-7);
    }

    #[test]
    fn softmax_is_one_over_all_keys_and_nothing_where_masked() {
        let scores: Vec<Lanes> = (0..50)
            .map(|key| {
                std::array::from_fn(|l| {
                    if key % 7 == l % 7 { f32::NEG_INFINITY } else { (key * l) as f32 / 40.0 - 9.0 }
                })
            })
            .collect();
        for isa in Isa::available() {
            let mut weights = scores.clone();
            let inverse = softmax(isa, &mut weights);
            scale(isa, &mut weights, &inverse);
            for lane in 0..TOKENS {
                let most = scores.iter().map(|r| r[lane]).fold(f32::MIN, f32::max);
                let all: f64 = scores.iter().map(|r| f64::from(r[lane] - most).exp2()).sum();
                for (row, scores) in weights.iter().zip(&scores) {
                    let want = f64::from(scores[lane] - most).exp2() / all;
                    assert!((f64::from(row[lane]) - want).abs() < 1e-6 * want.max(1e-3));
                    assert!(scores[lane] > f32::MIN || row[lane] == 0.0);
                }
            }
        }
    }

    #[test]
    fn a_norm_has_mean_zero_and_variance_one() {
        let numbers = line(-3.0, 40.0, 24 * TOKENS);
        let (gain, bias) = (line(0.5, 2.0, 24), line(-1.0, 1.0, 24));
        let got = same(&numbers, |isa, x| layer_norm(isa, x, &gain, &bias, 1e-5));
        for lane in 0..TOKENS {
            let column =
                |v: &[f32]| v.iter().skip(lane).step_by(TOKENS).map(|&x| f64::from(x)).collect::<Vec<_>>();
            let x = column(&numbers);
            let mean = x.iter().sum::<f64>() / 24.0;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 24.0;
            for (i, y) in column(&got).into_iter().enumerate() {
                let want = (x[i] - mean) / (variance + 1e-5).sqrt() * f64::from(gain[i]) + f64::from(bias[i]);
                assert!((y - want).abs() < 1e-5, "{y} {want}");
            }
        }
        let bare = same(&numbers, |isa, x| layer_norm(isa, x, &[1.0; 24], &[], 1e-5));
        let zero = same(&numbers, |isa, x| layer_norm(isa, x, &[1.0; 24], &[0.0; 24], 1e-5));
        assert_eq!(bare, zero);
    }

    #[test]
    fn codes_are_within_half_a_step_of_the_numbers() {
        let mut x: Vec<Lanes> = (0..10)
            .map(|k| std::array::from_fn(|l| ((k * 31 + l * 7) % 23) as f32 * (l as f32 - 4.0) - 2.0))
            .collect();
        x.iter_mut().for_each(|row| row[9] = 0.25);
        let first = codes(Isa::available()[0], &x, &mut [[9; TOKENS]; 4]);
        for isa in Isa::available() {
            let mut out = [[u32::MAX; TOKENS]; 4];
            let [step, low] = codes(isa, &x, &mut out);
            assert_eq!([step, low], first, "{}", isa.name());
            for (k, row) in x.iter().enumerate() {
                for lane in 0..TOKENS {
                    let code = out[k / 4][lane].to_le_bytes()[k % 4];
                    let off = f32::from(code).mul_add(step[lane], low[lane]) - row[lane];
                    assert!(off.abs() <= 0.501 * step[lane], "{off} {}", step[lane]);
                }
            }
            assert!(out[2].iter().all(|word| word >> 16 == 0) && out[3] == [0; TOKENS]);
            assert_eq!((out[0][9], step[9], low[9]), (0, 0.0, 0.25));
        }
        x[3][5] = f32::NAN;
        x[7][6] = f32::INFINITY;
        for isa in Isa::available() {
            let [step, _] = codes(isa, &x, &mut [[0; TOKENS]; 4]);
            assert!(!step[5].is_finite() && !step[6].is_finite() && step[7].is_finite());
        }
    }

    #[test]
    fn a_turn_keeps_lengths_and_undoes_itself() {
        let numbers = line(-1.0, 1.0, 4 * TOKENS);
        let cos: Vec<Lanes> =
            (0..2).map(|i| std::array::from_fn(|l| ((i + 1) as f32 * l as f32).cos())).collect();
        let sin: Vec<Lanes> =
            (0..2).map(|i| std::array::from_fn(|l| ((i + 1) as f32 * l as f32).sin())).collect();
        let back: Vec<Lanes> = sin.iter().map(|row| row.map(|x| -x)).collect();
        let got = same(&numbers, |isa, x| {
            let (a, b) = x.split_at_mut(2);
            rotate(isa, a, b, &cos, &sin);
            rotate(isa, a, b, &cos, &back);
        });
        assert!(got.iter().zip(&numbers).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
