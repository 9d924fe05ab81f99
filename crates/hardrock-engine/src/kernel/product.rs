//! The inner loop of an encoder: weights times activations, twelve outputs of 32 tokens at a time.
//!
//! Activations lie feature by feature with 32 tokens side by side, weights in blocks of twelve outputs, so the tile that
//! comes out is the next product's input as it stands. Each number is one chain of fused multiply-adds over the
//! features from what stood in `out`: every instruction set gives the same bits, and a token's numbers do not depend on
//! its neighbours.

use super::{Isa, Kind};

/// Outputs in a tile.
pub(crate) const OUTPUTS: usize = 12;
/// Tokens in a tile, the vector lanes.
pub(crate) const TOKENS: usize = 32;

/// Numbers of a tile, `[OUTPUTS][TOKENS]`.
pub(crate) type Product = [f32; OUTPUTS * TOKENS];

/// Adds `weights` `[features][OUTPUTS]` times `tokens` `[features][TOKENS]` to `out`. With `half` only the first 16 tokens
/// count and the others of `out` are left as they are. `ahead` is memory worth having in the cache soon.
///
/// # Panics
/// If the two sides do not hold the same whole number of features.
pub(crate) fn product(
    isa: Isa,
    weights: &[f32],
    tokens: &[f32],
    ahead: &[f32],
    half: bool,
    out: &mut Product,
) {
    let features = tokens.len() / TOKENS;
    assert!(tokens.len() == features * TOKENS && weights.len() == features * OUTPUTS, "whole features");
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Avx512` exists only where AVX-512F was detected; the lengths are asserted above.
        Kind::Avx512 => unsafe { wide::product(weights, tokens, ahead, half, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value `Avx2` exists only where AVX2 and FMA were detected; the lengths are asserted above.
        Kind::Avx2 => unsafe { narrow::product(weights, tokens, half, out) },
        #[cfg(target_arch = "aarch64")]
        Kind::Neon => plain(weights, tokens, half, out),
        Kind::Plain => plain(weights, tokens, half, out),
    }
}

/// The portable way, which spells out what the others do.
#[inline(always)]
fn plain(weights: &[f32], tokens: &[f32], half: bool, out: &mut Product) {
    /// Lanes whose sums stay in registers.
    const LANES: usize = 8;
    let lanes = if half { TOKENS / 2 } else { TOKENS };
    for lane in (0..lanes).step_by(LANES) {
        for (output, out) in out.chunks_exact_mut(TOKENS).enumerate() {
            let mut sums: [f32; LANES] = std::array::from_fn(|l| out[lane + l]);
            for (weights, tokens) in weights.chunks_exact(OUTPUTS).zip(tokens.chunks_exact(TOKENS)) {
                for (sum, &x) in sums.iter_mut().zip(&tokens[lane..lane + LANES]) {
                    *sum = weights[output].mul_add(x, *sum);
                }
            }
            out[lane..lane + LANES].copy_from_slice(&sums);
        }
    }
}

/// AVX-512: 24 registers of sums.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use super::{OUTPUTS, Product, TOKENS};

    /// Features between two prefetches.
    const STRIDE: usize = 4;

    /// # Safety
    /// AVX-512F must be present and both sides must hold the same number of whole features.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn product(
        weights: &[f32],
        tokens: &[f32],
        ahead: &[f32],
        half: bool,
        out: &mut Product,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            if half {
                columns::<1>(weights, tokens, ahead, out);
            } else {
                columns::<2>(weights, tokens, ahead, out);
            }
        }
    }

    /// # Safety
    /// As for [`product`]; `N` is 1 or 2.
    #[target_feature(enable = "avx512f")]
    unsafe fn columns<const N: usize>(weights: &[f32], tokens: &[f32], ahead: &[f32], out: &mut Product) {
        let features = tokens.len() / TOKENS;
        let mut sums = [[_mm512_setzero_ps(); N]; OUTPUTS];
        for (sums, out) in sums.iter_mut().zip(out.chunks_exact(TOKENS)) {
            for (n, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a row holds 32 floats and `N` is at most 2.
                *sum = unsafe { _mm512_loadu_ps(out.as_ptr().add(16 * n)) };
            }
        }
        let (mut w, mut x) = (weights.as_ptr(), tokens.as_ptr());
        let mut lines = ahead.chunks(16);
        macro_rules! step {
            () => {
                // SAFETY: at most `features` steps are made in all, and both sides hold as many (the caller's promise):
                // each reads 12 and at most 32 floats and moves on by 12 and 32.
                unsafe {
                    let mut lanes = [_mm512_setzero_ps(); N];
                    for (n, lanes) in lanes.iter_mut().enumerate() {
                        *lanes = _mm512_loadu_ps(x.add(16 * n));
                    }
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let weight = _mm512_set1_ps(*w.add(i));
                        for (sum, &lanes) in sums.iter_mut().zip(&lanes) {
                            *sum = _mm512_fmadd_ps(weight, lanes, *sum);
                        }
                    }
                    w = w.add(OUTPUTS);
                    x = x.add(TOKENS);
                }
            };
        }
        for _ in 0..features / STRIDE {
            if let Some(line) = lines.next() {
                _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
            }
            step!();
            step!();
            step!();
            step!();
        }
        for _ in 0..features % STRIDE {
            step!();
        }
        macro_rules! store {
            ($($i:literal)*) => {$(
                let row = out[$i * TOKENS..($i + 1) * TOKENS].as_mut_ptr();
                for (n, &sum) in sums[$i].iter().enumerate() {
                    // SAFETY: a row holds 32 floats and `N` is at most 2.
                    unsafe { _mm512_storeu_ps(row.add(16 * n), sum) };
                }
            )*};
        }
        // Spelled out: the sums stay in registers only if every index is a constant.
        store!(0 1 2 3 4 5 6 7 8 9 10 11);
    }
}

/// AVX2 + FMA: sixteen registers hold 6 outputs of 16 tokens, so a tile takes four passes.
#[cfg(target_arch = "x86_64")]
mod narrow {
    use std::arch::x86_64::*;

    use super::{OUTPUTS, Product, TOKENS};

    /// Outputs and tokens of one pass.
    const HEIGHT: usize = 6;
    const WIDTH: usize = 16;

    /// # Safety
    /// AVX2 and FMA must be present and both sides must hold the same number of whole features.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn product(weights: &[f32], tokens: &[f32], half: bool, out: &mut Product) {
        let columns = if half { WIDTH } else { TOKENS };
        for column in (0..columns).step_by(WIDTH) {
            for row in (0..OUTPUTS).step_by(HEIGHT) {
                // SAFETY: features and lengths as promised by the caller; `row` and `column` are inside the tile.
                unsafe { pass(weights, tokens, row, column, out) };
            }
        }
    }

    /// # Safety
    /// As for [`product`]; `row` is 0 or 6, `column` 0 or 16.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn pass(weights: &[f32], tokens: &[f32], row: usize, column: usize, out: &mut Product) {
        let place = |i: usize| (row + i) * TOKENS + column;
        let mut sums = [[_mm256_setzero_ps(); 2]; HEIGHT];
        for (i, sums) in sums.iter_mut().enumerate() {
            let from = out[place(i)..place(i) + WIDTH].as_ptr();
            // SAFETY: the slice holds 16 floats.
            *sums = unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] };
        }
        for (w, x) in weights.chunks_exact(OUTPUTS).zip(tokens.chunks_exact(TOKENS)) {
            // SAFETY: `w` holds 12 floats and `row + 6 <= 12`; `x` holds 32 and `column + 16 <= 32`.
            unsafe {
                let (w, x) = (w.as_ptr().add(row), x.as_ptr().add(column));
                let (x0, x1) = (_mm256_loadu_ps(x), _mm256_loadu_ps(x.add(8)));
                for (i, sums) in sums.iter_mut().enumerate() {
                    let weight = _mm256_broadcast_ss(&*w.add(i));
                    sums[0] = _mm256_fmadd_ps(weight, x0, sums[0]);
                    sums[1] = _mm256_fmadd_ps(weight, x1, sums[1]);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let to = out[place(i)..place(i) + WIDTH].as_mut_ptr();
            // SAFETY: the slice holds 16 floats.
            unsafe {
                _mm256_storeu_ps(to, sums[0]);
                _mm256_storeu_ps(to.add(8), sums[1]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_bits_of_the_plain_loop(
            features in 0usize..40,
            half: bool,
            seed in prop::collection::vec(-2.0f32..2.0, 97),
        ) {
            let number = |i: usize| seed[i % seed.len()] * (1.0 + (i / seed.len()) as f32 * 1e-3);
            let weights: Vec<f32> = (0..features * OUTPUTS).map(number).collect();
            let tokens: Vec<f32> = (0..features * TOKENS).map(|i| number(i + 31)).collect();
            let start: Product = std::array::from_fn(|i| number(i + 7));
            let mut want = start;
            for (place, want) in want.iter_mut().enumerate() {
                let (output, lane) = (place / TOKENS, place % TOKENS);
                if !half || lane < TOKENS / 2 {
                    for k in 0..features {
                        *want = weights[k * OUTPUTS + output].mul_add(tokens[k * TOKENS + lane], *want);
                    }
                }
            }
            for isa in Isa::available() {
                let mut out = start;
                product(isa, &weights, &tokens, &weights, half, &mut out);
                prop_assert_eq!(out.map(f32::to_bits), want.map(f32::to_bits), "{}", isa.name());
            }
        }
    }
}
