//! Exponentials and sums over rows of cells, written so that compilers turn them into vector code.
//!
//! No fused multiply-add and a fixed order of additions: the same bits on every machine.

/// Cells that one f32 lane may add up before its sum moves to f64: 16 lanes x 32 cells.
const STRETCH: usize = 512;
const LANES: usize = 16;

/// e^x within 2e-7 of its value for x <= 88; exactly 0 below -87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding and subtracting 1.5 * 2^23 rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts (Cody and Waite), so that n * `LN2_HIGH` is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.0, 88.0);
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 720.0;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    // The rounded sum holds n in its lowest bits: no conversion, which would not become vector code.
    let power = f32::from_bits(rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { p * power }
}

/// Largest value; -inf where there is none.
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// Replaces every z by e^(z - shift) and returns their sum. A z of -inf becomes exactly 0.
pub(crate) fn exp_all(z: &mut [f32], shift: f32) -> f64 {
    let mut total = 0.0;
    for stretch in z.chunks_mut(STRETCH) {
        let mut lanes = [0.0_f32; LANES];
        let (chunks, rest) = stretch.as_chunks_mut::<LANES>();
        for chunk in chunks {
            for (lane, v) in lanes.iter_mut().zip(chunk) {
                *v = exp(*v - shift);
                *lane += *v;
            }
        }
        for (lane, v) in lanes.iter_mut().zip(rest) {
            *v = exp(*v - shift);
            *lane += *v;
        }
        total += lanes.iter().map(|&l| f64::from(l)).sum::<f64>();
    }
    total
}

/// Replaces every x by sigmoid(x) and returns the sum of ln(1 + e^x). An x of -inf becomes exactly 0 and adds 0.
pub(crate) fn softplus_all(x: &mut [f32]) -> f64 {
    let mut total = 0.0;
    for stretch in x.chunks_mut(STRETCH) {
        let mut lanes = [0.0_f32; LANES];
        let (chunks, rest) = stretch.as_chunks_mut::<LANES>();
        for chunk in chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                let (value, slope) = softplus_lane(*x);
                *lane += value;
                *x = slope;
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            let (value, slope) = softplus_lane(*x);
            *lane += value;
            *x = slope;
        }
        total += lanes.iter().map(|&l| f64::from(l)).sum::<f64>();
    }
    total
}

/// ln(1 + e^x) and its slope. With e = e^-|x| and u = e / (2 + e): ln(1 + e) = 2 (u + u^3 / 3 + u^5 / 5 ...), u <= 1/3.
#[inline(always)]
fn softplus_lane(x: f32) -> (f32, f32) {
    let e = exp(-x.abs());
    let u = e / (2.0 + e);
    let square = u * u;
    let mut p = 1.0 / 11.0;
    for c in [1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0] {
        p = p * square + c;
    }
    let above = if x > 0.0 { x } else { 0.0 };
    let share = 1.0 / (1.0 + e);
    (above + 2.0 * u * p, if x >= 0.0 { share } else { e * share })
}

/// The sum of values, f32 within short stretches, f64 beyond.
pub(crate) fn sum(values: &[f32]) -> f64 {
    let mut total = 0.0;
    for stretch in values.chunks(STRETCH) {
        let mut lanes = [0.0_f32; LANES];
        let (chunks, rest) = stretch.as_chunks::<LANES>();
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, v)| *lane += v);
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, v)| *lane += v);
        total += lanes.iter().map(|&l| f64::from(l)).sum::<f64>();
    }
    total
}

/// The sum of products, f32 within short stretches, f64 beyond.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut total = 0.0;
    for (a, b) in a.chunks(STRETCH).zip(b.chunks(STRETCH)) {
        let mut lanes = [0.0_f32; LANES];
        let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (x, y) in whole_a.iter().zip(whole_b) {
            for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
                *lane += x * y;
            }
        }
        for ((lane, x), y) in lanes.iter_mut().zip(rest_a).zip(rest_b) {
            *lane += x * y;
        }
        total += lanes.iter().map(|&l| f64::from(l)).sum::<f64>();
    }
    total
}

/// ln(1 + e^x), for any finite x.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// 1 / (1 + e^-x), for any finite x.
pub(crate) fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere_and_zero_far_below() {
        for at in -870_000..=880_000 {
            let x = at as f32 / 1e4;
            let want = f64::from(x).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 3e-7, "{x}");
        }
        assert_eq!([exp(f32::NEG_INFINITY), exp(-87.5), exp(0.0)], [0.0, 0.0, 1.0]);
    }

    #[test]
    fn what_is_left_out_adds_nothing() {
        let mut x = [f32::NEG_INFINITY, 0.0, -1e30, 1e30];
        assert!((softplus_all(&mut x) - f64::from(1e30_f32)).abs() < 1e24);
        assert_eq!(x, [0.0, 0.5, 0.0, 1.0]);
    }

    #[test]
    fn sums_cover_every_length() {
        for n in [0, 1, 15, 16, 17, 511, 512, 513, 1300] {
            let mut z: Vec<f32> = (0..n).map(|i| (i % 37) as f32 * 0.1 - 2.0).collect();
            let want: f64 = z.iter().map(|&v| (f64::from(v) - 1.0).exp()).sum();
            let square: f64 = z.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            assert!((dot(&z, &z) - square).abs() <= square * 1e-6);
            assert_eq!(max(&z), z.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let total: f64 = z.iter().map(|&v| f64::from(v)).sum();
            assert!((sum(&z) - total).abs() <= 1e-6 * square);
            let mut x: Vec<f32> = z.iter().map(|v| v * 40.0).collect();
            let soft: f64 = x.iter().map(|&x| softplus(f64::from(x))).sum();
            let sigmoids: Vec<f64> = x.iter().map(|&x| sigmoid(f64::from(x))).collect();
            assert!((softplus_all(&mut x) - soft).abs() <= soft * 1e-6);
            assert!(x.iter().zip(sigmoids).all(|(x, want)| (f64::from(*x) - want).abs() < 3e-7));
            assert!((exp_all(&mut z, 1.0) - want).abs() <= want * 1e-6);
        }
    }
}
