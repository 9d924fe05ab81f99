//! What training adds to [`super::lanes`]: norms and softmax that keep what their slopes need, the slopes themselves, and
//! masks that drop numbers out.
//!
//! As there: 32 tokens side by side, plain Rust compiled once per instruction set, the same bits from all.

use super::lanes::{Lanes, lanewise};
use super::product::TOKENS;
use super::{Isa, Kind};

/// Step of the counters that [`drop_out`] mixes: features or keys that follow one another must not resemble each other.
pub(crate) const STEP: u32 = 0x9E37_79B9;

lanewise! {
    /// Brings the features of each token to mean 0 and variance 1 (`eps` added to it); answers one over the deviation.
    normalise(x: &mut [Lanes], eps: f32) -> Lanes = body::normalise
}
lanewise! {
    /// `out` = `x` times `gain` plus `bias`, both `[features]`; the second half of a layer norm.
    affine(x: &[Lanes], gain: &[f32], bias: &[f32], out: &mut [Lanes]) = body::affine
}
lanewise! {
    /// Turns the slope `d` of a layer norm's output into that of its input, given the normalised `x` and what
    /// [`normalise`] answered.
    norm_slope(x: &[Lanes], gain: &[f32], inverse: &Lanes, d: &mut [Lanes]) = body::norm_slope
}
lanewise! {
    /// Adds the slopes of a layer norm's gain and bias, `[features]` each, over the tokens of a panel.
    norm_sums(x: &[Lanes], d: &[Lanes], gain: &mut [f32], bias: &mut [f32]) = body::norm_sums
}
lanewise! {
    /// Multiplies `d` by the slope of the Gaussian error linear unit at `x`.
    gelu_slope(x: &[Lanes], d: &mut [Lanes]) = body::gelu_slope
}
lanewise! {
    /// Multiplies `d` by the slope of GELU's approximation at `x`.
    gelu_tanh_slope(x: &[Lanes], d: &mut [Lanes]) = body::gelu_tanh_slope
}
lanewise! {
    /// Multiplies `d` by the slope of [`super::lanes::silu`] at `x`.
    silu_slope(x: &[Lanes], d: &mut [Lanes]) = body::silu_slope
}
lanewise! {
    /// Multiplies `d` by the slope of the positive part at `x`: 0 at 0.
    relu_slope(x: &[Lanes], d: &mut [Lanes]) = body::relu_slope
}
lanewise! {
    /// As [`super::lanes::softmax`]; writes the greatest score of each token to `peak`.
    softmax(scores: &mut [Lanes], peak: &mut Lanes) -> Lanes = body::softmax
}
lanewise! {
    /// The weights of scores whose row says what its greatest was and one over the sum: softmax with rows for lanes.
    softmax_rows(scores: &mut [Lanes], peak: &[f32], inverse: &[f32]) = body::softmax_rows
}
lanewise! {
    /// Turns the slopes `d` of a softmax's weights `p` `[keys]` into those of its scores; answers Σ p·d.
    softmax_slope(p: &[Lanes], d: &mut [Lanes]) -> Lanes = body::softmax_slope
}
lanewise! {
    /// As [`softmax_slope`] with rows for lanes, whose Σ p·d is known.
    softmax_slope_rows(p: &[Lanes], sums: &[f32], d: &mut [Lanes]) = body::softmax_slope_rows
}
lanewise! {
    /// Sets to zero every number whose hash, of its row's and its lane's key, lies below `bar`, and multiplies the others
    /// by `by`.
    drop_out(x: &mut [Lanes], rows: &[u32], lanes: &[u32; TOKENS], bar: u32, by: f32) = body::drop_out
}
lanewise! {
    /// Adds `y` to `x`.
    add(x: &mut [Lanes], y: &[Lanes]) = body::add
}

/// The functions themselves, inlined into each wrapper.
mod body {
    use super::super::lanes::body::{exp2, logistic2, map};
    use super::{Lanes, TOKENS};

    #[inline(always)]
    pub(super) fn normalise(x: &mut [Lanes], eps: f32) -> Lanes {
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
        for row in x {
            for ((x, mean), inverse) in row.iter_mut().zip(&mean).zip(&inverse) {
                *x = (*x - mean) * inverse;
            }
        }
        inverse
    }

    #[inline(always)]
    pub(super) fn affine(x: &[Lanes], gain: &[f32], bias: &[f32], out: &mut [Lanes]) {
        for ((row, out), (&gain, &bias)) in x.iter().zip(out).zip(gain.iter().zip(bias)) {
            for (x, out) in row.iter().zip(out) {
                *out = x.mul_add(gain, bias);
            }
        }
    }

    #[inline(always)]
    pub(super) fn norm_slope(x: &[Lanes], gain: &[f32], inverse: &Lanes, d: &mut [Lanes]) {
        let count = gain.len() as f32;
        let (mut plain, mut along) = ([0.0; TOKENS], [0.0; TOKENS]);
        for ((x, d), &gain) in x.iter().zip(&mut *d).zip(gain) {
            for (((x, d), plain), along) in x.iter().zip(d).zip(&mut plain).zip(&mut along) {
                *d *= gain;
                *plain += *d;
                *along = d.mul_add(*x, *along);
            }
        }
        let plain = map(|l| plain[l] / count);
        let along = map(|l| along[l] / count);
        for (x, d) in x.iter().zip(d) {
            for ((x, d), ((plain, along), inverse)) in
                x.iter().zip(d).zip(plain.iter().zip(&along).zip(inverse))
            {
                *d = (*d - plain - x * along) * inverse;
            }
        }
    }

    /// The sum of a row, by halves.
    #[inline(always)]
    fn total(row: &Lanes) -> f32 {
        let mut row = *row;
        let mut half = TOKENS / 2;
        while half > 0 {
            for l in 0..half {
                row[l] += row[l + half];
            }
            half /= 2;
        }
        row[0]
    }

    #[inline(always)]
    pub(super) fn norm_sums(x: &[Lanes], d: &[Lanes], gain: &mut [f32], bias: &mut [f32]) {
        for ((x, d), (gain, bias)) in x.iter().zip(d).zip(gain.iter_mut().zip(bias)) {
            *gain += total(&map(|l| x[l] * d[l]));
            *bias += total(d);
        }
    }

    #[inline(always)]
    fn each(x: &[Lanes], d: &mut [Lanes], slope: impl Fn(f32) -> f32) {
        for (x, d) in x.iter().zip(d) {
            for (x, d) in x.iter().zip(d) {
                *d *= slope(*x);
            }
        }
    }

    /// Φ(x) + x·φ(x), Φ as in [`super::super::lanes::gelu`].
    #[inline(always)]
    pub(super) fn gelu_slope(x: &[Lanes], d: &mut [Lanes]) {
        const DENSITY: f32 = 0.398_942_3;
        each(x, d, |x| {
            let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
            let t = 1.0 / 0.327_591_1_f32.mul_add(z, 1.0);
            let p = 1.061_405_4_f32
                .mul_add(t, -1.453_152_1)
                .mul_add(t, 1.421_413_8)
                .mul_add(t, -0.284_496_72)
                .mul_add(t, 0.254_829_6)
                * t;
            let e = exp2(-(z * z) * std::f32::consts::LOG2_E);
            let tail = 0.5 * p * e;
            let phi = if x > 0.0 { 1.0 - tail } else { tail };
            (x * DENSITY).mul_add(e, phi)
        });
    }

    #[inline(always)]
    pub(super) fn gelu_tanh_slope(x: &[Lanes], d: &mut [Lanes]) {
        const TWICE: f32 = 2.0 * 0.797_884_6;
        const FACTOR: f32 = TWICE * std::f32::consts::LOG2_E;
        each(x, d, |x| {
            let s = logistic2(FACTOR * (0.044_715 * x * x).mul_add(x, x));
            let inner = TWICE * (3.0 * 0.044_715 * x).mul_add(x, 1.0);
            (x * s * (1.0 - s)).mul_add(inner, s)
        });
    }

    #[inline(always)]
    pub(super) fn silu_slope(x: &[Lanes], d: &mut [Lanes]) {
        each(x, d, |x| {
            let s = logistic2(x * std::f32::consts::LOG2_E);
            (x * s).mul_add(1.0 - s, s)
        });
    }

    #[inline(always)]
    pub(super) fn relu_slope(x: &[Lanes], d: &mut [Lanes]) {
        each(x, d, |x| if x > 0.0 { 1.0 } else { 0.0 });
    }

    #[inline(always)]
    pub(super) fn softmax(scores: &mut [Lanes], peak: &mut Lanes) -> Lanes {
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
        *peak = most;
        map(|l| 1.0 / sum[l])
    }

    #[inline(always)]
    pub(super) fn softmax_rows(scores: &mut [Lanes], peak: &[f32], inverse: &[f32]) {
        for (row, (peak, inverse)) in scores.iter_mut().zip(peak.iter().zip(inverse)) {
            for x in row {
                *x = exp2((*x - peak).min(126.0)) * inverse;
            }
        }
    }

    #[inline(always)]
    pub(super) fn softmax_slope(p: &[Lanes], d: &mut [Lanes]) -> Lanes {
        let mut sums = [0.0; TOKENS];
        for (p, d) in p.iter().zip(&*d) {
            for ((p, d), sum) in p.iter().zip(d).zip(&mut sums) {
                *sum = p.mul_add(*d, *sum);
            }
        }
        for (p, d) in p.iter().zip(d) {
            for ((p, d), sum) in p.iter().zip(d).zip(&sums) {
                *d = p * (*d - sum);
            }
        }
        sums
    }

    #[inline(always)]
    pub(super) fn softmax_slope_rows(p: &[Lanes], sums: &[f32], d: &mut [Lanes]) {
        for ((p, d), sum) in p.iter().zip(d).zip(sums) {
            for (p, d) in p.iter().zip(d) {
                *d = p * (*d - sum);
            }
        }
    }

    /// A bijection on 32 bits whose output bits all depend on all input bits (Wellons' `lowbias32`).
    #[inline(always)]
    fn mix(mut x: u32) -> u32 {
        x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
        x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
        x ^ (x >> 16)
    }

    #[inline(always)]
    pub(super) fn drop_out(x: &mut [Lanes], rows: &[u32], lanes: &[u32; TOKENS], bar: u32, by: f32) {
        for (row, &key) in x.iter_mut().zip(rows) {
            for (x, &lane) in row.iter_mut().zip(lanes) {
                *x = if mix(key.wrapping_add(lane)) < bar { 0.0 } else { *x * by };
            }
        }
    }

    #[inline(always)]
    pub(super) fn add(x: &mut [Lanes], y: &[Lanes]) {
        for (x, y) in x.iter_mut().zip(y) {
            for (x, y) in x.iter_mut().zip(y) {
                *x += y;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes;
    use super::*;

    /// Rows of numbers between −`reach` and `reach` that look random.
    fn rows(count: usize, reach: f32, salt: usize) -> Vec<Lanes> {
        let number = |i: usize| ((i * 7919 + salt * 104_729) % 2003) as f32 / 1001.0 - 1.0;
        (0..count).map(|r| std::array::from_fn(|l| number(r * TOKENS + l) * reach)).collect()
    }

    /// Central differences of `f`, summed with the weights `c`, against the slopes that `slope` makes of `c`.
    fn check(
        x: &[Lanes],
        c: &[Lanes],
        f: impl Fn(Isa, &mut [Lanes]),
        slope: impl Fn(Isa, &mut Vec<Lanes>),
        near: f64,
    ) {
        let mut first: Option<Vec<Lanes>> = None;
        for isa in Isa::available() {
            let mut d = c.to_vec();
            slope(isa, &mut d);
            if let Some(first) = &first {
                assert_eq!(first.as_flattened(), d.as_flattened(), "{}", isa.name());
                continue;
            }
            let at = |row: usize, lane: usize, off: f32| {
                let mut x = x.to_vec();
                x[row][lane] += off;
                f(isa, &mut x);
                let column = x.iter().zip(c).map(|(x, c)| f64::from(x[lane]) * f64::from(c[lane]));
                column.sum::<f64>()
            };
            for (row, slopes) in d.iter().enumerate() {
                for lane in [0, 5, 31] {
                    let want = (at(row, lane, 5e-3) - at(row, lane, -5e-3)) / 1e-2;
                    let got = f64::from(slopes[lane]);
                    assert!((got - want).abs() < near, "row {row} lane {lane}: {got} {want}");
                }
            }
            first = Some(d);
        }
    }

    #[test]
    fn activations_have_the_slopes_of_their_differences() {
        let (x, c) = (rows(40, 4.0, 1), rows(40, 1.0, 2));
        check(&x, &c, lanes::gelu, |isa, d| gelu_slope(isa, &x, d), 2e-4);
        check(&x, &c, lanes::gelu_tanh, |isa, d| gelu_tanh_slope(isa, &x, d), 2e-4);
        check(&x, &c, lanes::silu, |isa, d| silu_slope(isa, &x, d), 2e-4);
        let away: Vec<Lanes> =
            x.iter().map(|row| row.map(|x| if x.abs() < 0.01 { 1.0 } else { x })).collect();
        check(&away, &c, lanes::relu, |isa, d| relu_slope(isa, &away, d), 1e-4);
    }

    #[test]
    fn a_norm_has_the_slope_of_its_differences_and_the_bits_of_the_fused_one() {
        let (x, c) = (rows(21, 2.0, 3), rows(21, 1.0, 4));
        let gain: Vec<f32> = (0..21).map(|i| 0.5 + i as f32 / 20.0).collect();
        let bias: Vec<f32> = (0..21).map(|i| i as f32 / 30.0 - 0.3).collect();
        let split = |isa, x: &mut [Lanes]| {
            normalise(isa, x, 1e-5);
            let normed = x.to_vec();
            affine(isa, &normed, &gain, &bias, x);
        };
        let slope = |isa, d: &mut Vec<Lanes>| {
            let mut normed = x.clone();
            let inverse = normalise(isa, &mut normed, 1e-5);
            norm_slope(isa, &normed, &gain, &inverse, d);
        };
        check(&x, &c, split, slope, 2e-4);
        for isa in Isa::available() {
            let (mut one, mut two) = (x.clone(), x.clone());
            split(isa, &mut one);
            lanes::layer_norm(isa, &mut two, &gain, &bias, 1e-5);
            assert_eq!(one.as_flattened(), two.as_flattened());
            let (mut gains, mut biases) = (vec![0.5; 21], vec![0.0; 21]);
            norm_sums(isa, &x, &c, &mut gains, &mut biases);
            for k in 0..21 {
                let want: f64 = (0..TOKENS).map(|l| f64::from(x[k][l]) * f64::from(c[k][l])).sum();
                assert!((f64::from(gains[k]) - 0.5 - want).abs() < 1e-4);
                assert!((biases[k] - c[k].iter().sum::<f32>()).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn softmax_has_the_slope_of_its_differences_by_lanes_and_by_rows() {
        let (x, c) = (rows(19, 3.0, 5), rows(19, 1.0, 6));
        let weights = |isa, x: &mut [Lanes]| {
            let mut peak = [0.0; TOKENS];
            let inverse = softmax(isa, x, &mut peak);
            lanes::scale(isa, x, &inverse);
            (peak, inverse)
        };
        // Scores are in powers of two; slopes are those of natural logarithms.
        let slope = |isa, d: &mut Vec<Lanes>| {
            let mut p = x.clone();
            weights(isa, &mut p);
            softmax_slope(isa, &p, d);
            d.as_flattened_mut().iter_mut().for_each(|d| *d *= std::f32::consts::LN_2);
        };
        check(
            &x,
            &c,
            |isa, x| {
                weights(isa, x);
            },
            slope,
            2e-4,
        );
        let turn = |rows: &[Lanes]| -> Vec<Lanes> {
            (0..TOKENS).map(|l| std::array::from_fn(|r| rows.get(r).map_or(0.0, |row| row[l]))).collect()
        };
        for isa in Isa::available() {
            let (mut p, mut d) = (x.clone(), c.clone());
            let (peak, inverse) = weights(isa, &mut p);
            let sums = softmax_slope(isa, &p, &mut d);
            let (mut turned, mut slopes) = (turn(&x), turn(&c));
            softmax_rows(isa, &mut turned, &peak, &inverse);
            softmax_slope_rows(isa, &turned, &sums, &mut slopes);
            assert_eq!(turn(&turned)[..19].as_flattened(), p.as_flattened());
            assert_eq!(turn(&slopes)[..19].as_flattened(), d.as_flattened());
        }
    }

    #[test]
    fn dropping_out_keeps_the_mean_and_is_the_same_with_rows_and_lanes_exchanged() {
        let keys: Vec<u32> = (0..TOKENS as u32).map(|i| i.wrapping_mul(STEP)).collect();
        let lanes: [u32; TOKENS] = std::array::from_fn(|l| 77 + (l * l) as u32 * 40_503);
        let bar = (0.25 * 4_294_967_296.0) as u32;
        for isa in Isa::available() {
            let mut x = vec![[1.0; TOKENS]; TOKENS];
            drop_out(isa, &mut x, &keys, &lanes, bar, 4.0 / 3.0);
            let mut turned = vec![[1.0; TOKENS]; TOKENS];
            let across: [u32; TOKENS] = std::array::from_fn(|l| keys[l]);
            drop_out(isa, &mut turned, &lanes, &across, bar, 4.0 / 3.0);
            for r in 0..TOKENS {
                for l in 0..TOKENS {
                    assert_eq!(x[r][l], turned[l][r]);
                }
            }
            let mean = x.as_flattened().iter().sum::<f32>() / (TOKENS * TOKENS) as f32;
            assert!((mean - 1.0).abs() < 0.06, "{mean}");
            assert!(x.as_flattened().iter().all(|&x| x == 0.0 || x == 4.0 / 3.0));
        }
    }
}
