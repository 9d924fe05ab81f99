//! The 8-bit product of the encoders on x86: VNNI where there is one, else products added in 16 bits.

use std::arch::x86_64::*;

use super::product::{OUTPUTS, Product, TOKENS};
use super::product_eight::{Codes, Scales, Weights};

/// Words between two prefetches.
const STRIDE: usize = 8;

/// `out + weight * (step * sum + low * codes)` for 16 tokens from `lane` on.
///
/// # Safety
/// AVX-512F must be present, `row` hold 32 floats, `lane` be 0 or 16.
#[target_feature(enable = "avx512f")]
unsafe fn finish_wide(sum: __m512i, scales: Scales<'_>, output: usize, lane: usize, row: *mut f32) {
    // SAFETY: all three rows hold 32 floats and `lane + 16 <= 32`.
    unsafe {
        let step = _mm512_loadu_ps(scales.step.as_ptr().add(lane));
        let low = _mm512_loadu_ps(scales.low.as_ptr().add(lane));
        let rest = _mm512_mul_ps(low, _mm512_set1_ps(scales.sum[output]));
        let sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), step, rest);
        let row = row.add(lane);
        let out = _mm512_fmadd_ps(sum, _mm512_set1_ps(scales.weight[output]), _mm512_loadu_ps(row));
        _mm512_storeu_ps(row, out);
    }
}

/// AVX-512 VNNI: 24 registers of sums.
///
/// # Safety
/// AVX-512F and AVX-512 VNNI must be present, and `tokens` hold as many words as `weights`.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn vnni(
    weights: &[Weights],
    tokens: &[Codes],
    ahead: &[Weights],
    scales: Scales<'_>,
    half: bool,
    out: &mut Product,
) {
    // SAFETY: as the caller promises.
    unsafe {
        if half {
            vnni_columns::<1>(weights, tokens, ahead, scales, out);
        } else {
            vnni_columns::<2>(weights, tokens, ahead, scales, out);
        }
    }
}

/// # Safety
/// As for [`vnni`]; `N` is 1 or 2.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vnni_columns<const N: usize>(
    weights: &[Weights],
    tokens: &[Codes],
    ahead: &[Weights],
    scales: Scales<'_>,
    out: &mut Product,
) {
    let mut sums = [[_mm512_setzero_si512(); N]; OUTPUTS];
    let mut lines = ahead.as_flattened().chunks(16);
    for (i, (weights, tokens)) in weights.iter().zip(tokens).enumerate() {
        if i % STRIDE == 0
            && let Some(line) = lines.next()
        {
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
        let mut lanes = [_mm512_setzero_si512(); N];
        for (n, lanes) in lanes.iter_mut().enumerate() {
            // SAFETY: a word of codes has 32 tokens and `N` is at most 2.
            *lanes = unsafe { _mm512_loadu_si512(tokens.as_ptr().add(16 * n).cast()) };
        }
        for (sums, weight) in sums.iter_mut().zip(weights) {
            let weight = _mm512_set1_epi32(weight.cast_signed());
            for (sum, &lanes) in sums.iter_mut().zip(&lanes) {
                *sum = _mm512_dpbusd_epi32(*sum, lanes, weight);
            }
        }
    }
    macro_rules! store {
        ($($i:literal)*) => {$(
            let row = out[$i * TOKENS..($i + 1) * TOKENS].as_mut_ptr();
            for (n, &sum) in sums[$i].iter().enumerate() {
                // SAFETY: a row holds 32 floats and `N` is at most 2.
                unsafe { finish_wide(sum, scales, $i, 16 * n, row) };
            }
        )*};
    }
    // Spelled out: the sums stay in registers only if every index is a constant.
    store!(0 1 2 3 4 5 6 7 8 9 10 11);
}

/// AVX-512 without VNNI: six outputs at a time.
///
/// # Safety
/// AVX-512F and AVX-512 BW must be present, and `tokens` hold as many words as `weights`, an even number.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn wide(
    weights: &[Weights],
    tokens: &[Codes],
    scales: Scales<'_>,
    half: bool,
    out: &mut Product,
) {
    for row in (0..OUTPUTS).step_by(6) {
        // SAFETY: as the caller promises; `row` is 0 or 6.
        unsafe {
            if half {
                wide_pass::<1>(weights, tokens, scales, row, out);
            } else {
                wide_pass::<2>(weights, tokens, scales, row, out);
            }
        }
    }
}

/// # Safety
/// As for [`wide`]; `N` is 1 or 2, `row` is 0 or 6.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn wide_pass<const N: usize>(
    weights: &[Weights],
    tokens: &[Codes],
    scales: Scales<'_>,
    row: usize,
    out: &mut Product,
) {
    let ones = _mm512_set1_epi16(1);
    let mut sums = [[_mm512_setzero_si512(); N]; 6];
    for (weights, tokens) in weights.as_chunks::<2>().0.iter().zip(tokens.as_chunks::<2>().0) {
        let mut lanes = [[_mm512_setzero_si512(); N]; 2];
        for (lanes, tokens) in lanes.iter_mut().zip(tokens) {
            for (n, lanes) in lanes.iter_mut().enumerate() {
                // SAFETY: a word of codes has 32 tokens and `N` is at most 2.
                *lanes = unsafe { _mm512_loadu_si512(tokens.as_ptr().add(16 * n).cast()) };
            }
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            let [first, second] =
                [0, 1].map(|word: usize| _mm512_set1_epi32(weights[word][row + i].cast_signed()));
            for (n, sum) in sums.iter_mut().enumerate() {
                let four = _mm512_add_epi16(
                    _mm512_maddubs_epi16(lanes[0][n], first),
                    _mm512_maddubs_epi16(lanes[1][n], second),
                );
                *sum = _mm512_add_epi32(*sum, _mm512_madd_epi16(four, ones));
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let to = out[(row + i) * TOKENS..][..TOKENS].as_mut_ptr();
        for (n, &sum) in sums.iter().enumerate() {
            // SAFETY: a row holds 32 floats and `N` is at most 2.
            unsafe { finish_wide(sum, scales, row + i, 16 * n, to) };
        }
    }
}

/// Outputs of one pass with AVX2, and its tokens.
const HEIGHT: usize = 4;
const WIDTH: usize = 16;

/// AVX2: sixteen registers hold the sums of 4 outputs and 16 tokens with what goes into them, so a tile takes six passes.
///
/// # Safety
/// AVX2 and FMA must be present, and `tokens` hold as many words as `weights`, an even number.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn narrow(
    weights: &[Weights],
    tokens: &[Codes],
    scales: Scales<'_>,
    half: bool,
    out: &mut Product,
) {
    let columns = if half { WIDTH } else { TOKENS };
    for column in (0..columns).step_by(WIDTH) {
        for row in (0..OUTPUTS).step_by(HEIGHT) {
            // SAFETY: as the caller promises; `row` and `column` are inside the tile.
            unsafe { narrow_pass(weights, tokens, scales, row, column, out) };
        }
    }
}

/// # Safety
/// As for [`narrow`]; `row` is 0, 4 or 8, `column` 0 or 16.
#[target_feature(enable = "avx2,fma")]
unsafe fn narrow_pass(
    weights: &[Weights],
    tokens: &[Codes],
    scales: Scales<'_>,
    row: usize,
    column: usize,
    out: &mut Product,
) {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); 2]; HEIGHT];
    for (weights, tokens) in weights.as_chunks::<2>().0.iter().zip(tokens.as_chunks::<2>().0) {
        let mut lanes = [[_mm256_setzero_si256(); 2]; 2];
        for (lanes, tokens) in lanes.iter_mut().zip(tokens) {
            for (n, lanes) in lanes.iter_mut().enumerate() {
                // SAFETY: a word of codes has 32 tokens and `column + 16 <= 32`.
                *lanes = unsafe { _mm256_loadu_si256(tokens.as_ptr().add(column + 8 * n).cast()) };
            }
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `row + i` is below 12, the outputs of a word of weights.
            let [first, second] = unsafe {
                [0, 1]
                    .map(|word: usize| _mm256_set1_epi32(weights[word].get_unchecked(row + i).cast_signed()))
            };
            for (n, sum) in sums.iter_mut().enumerate() {
                let four = _mm256_add_epi16(
                    _mm256_maddubs_epi16(lanes[0][n], first),
                    _mm256_maddubs_epi16(lanes[1][n], second),
                );
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(four, ones));
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let rest = _mm256_set1_ps(scales.sum[row + i]);
        let weight = _mm256_set1_ps(scales.weight[row + i]);
        for (n, &sum) in sums.iter().enumerate() {
            let lane = column + 8 * n;
            let to = out[(row + i) * TOKENS + lane..][..8].as_mut_ptr();
            // SAFETY: the slice holds 8 floats, and `lane + 8 <= 32`, the floats of a row.
            unsafe {
                let step = _mm256_loadu_ps(scales.step.as_ptr().add(lane));
                let rest = _mm256_mul_ps(_mm256_loadu_ps(scales.low.as_ptr().add(lane)), rest);
                let sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), step, rest);
                _mm256_storeu_ps(to, _mm256_fmadd_ps(sum, weight, _mm256_loadu_ps(to)));
            }
        }
    }
}
