//! AVX2 + FMA kernel: sixteen registers hold 6 anchors x 16 documents, so a tile takes four passes.

use std::arch::x86_64::*;

use super::{ANCHORS, DOCUMENTS, Tile, plain};

/// Anchors and documents of one pass.
const HEIGHT: usize = 6;
const WIDTH: usize = 16;

/// See [`super::tile`].
///
/// # Safety
/// AVX2 and FMA must be present and `anchors` / `documents` must hold the same number of whole steps.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn tile(
    anchors: &[f32],
    documents: &[f32],
    bars: &[f32; ANCHORS],
    live: u32,
    out: &mut Tile,
) -> u16 {
    out.above = [0; ANCHORS];
    for column in (0..DOCUMENTS).step_by(WIDTH) {
        for row in (0..ANCHORS).step_by(HEIGHT) {
            // SAFETY: features and lengths as promised by the caller; `row` and `column` are inside the tile.
            unsafe { pass(anchors, documents, bars, row, column, out) };
        }
    }
    let mut rows = 0;
    for (i, above) in out.above.iter_mut().enumerate() {
        *above &= live;
        rows |= u16::from(*above != 0) << i;
    }
    rows
}

/// One pass over the depth for the rows `row..row + 6` and the columns `column..column + 16`.
///
/// # Safety
/// As for [`tile`]; `row` is 0 or 6, `column` 0 or 16.
#[target_feature(enable = "avx2,fma")]
unsafe fn pass(
    anchors: &[f32],
    documents: &[f32],
    bars: &[f32; ANCHORS],
    row: usize,
    column: usize,
    out: &mut Tile,
) {
    let mut acc = [[_mm256_setzero_ps(); 2]; HEIGHT];
    for (a, d) in anchors.chunks_exact(ANCHORS).zip(documents.chunks_exact(DOCUMENTS)) {
        // SAFETY: `a` holds 12 floats and `row + 6 <= 12`; `d` holds 32 and `column + 16 <= 32`.
        unsafe {
            let (a, d) = (a.as_ptr().add(row), d.as_ptr().add(column));
            let (d0, d1) = (_mm256_loadu_ps(d), _mm256_loadu_ps(d.add(8)));
            for (i, acc) in acc.iter_mut().enumerate() {
                let x = _mm256_broadcast_ss(&*a.add(i));
                acc[0] = _mm256_fmadd_ps(x, d0, acc[0]);
                acc[1] = _mm256_fmadd_ps(x, d1, acc[1]);
            }
        }
    }
    for (i, acc) in acc.iter().enumerate() {
        let bar = _mm256_set1_ps(bars[row + i]);
        for (half, &scores) in acc.iter().enumerate() {
            let first = column + half * 8;
            let above = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(scores, bar));
            out.above[row + i] |= above.cast_unsigned() << first;
            // SAFETY: `first + 8 <= 32`, the length of a row.
            unsafe { _mm256_storeu_ps(out.scores[row + i].as_mut_ptr().add(first), scores) };
        }
    }
}

/// See [`super::dots`]: the plain loop, compiled so that `mul_add` is one instruction.
///
/// # Safety
/// FMA must be present.
#[target_feature(enable = "fma")]
pub(super) unsafe fn dots(anchor: &[f32], documents: &[f32], out: &mut [f32]) {
    plain::dots(anchor, documents, out);
}

/// See [`super::fma_rounds`].
///
/// # Safety
/// AVX2 and FMA must be present.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn fma_rounds(rounds: usize) -> (usize, f32) {
    let mut acc = [_mm256_set1_ps(1.0); 12];
    let x = _mm256_set1_ps(std::hint::black_box(0.999));
    let y = _mm256_set1_ps(std::hint::black_box(1e-3));
    for _ in 0..rounds {
        for a in &mut acc {
            *a = _mm256_fmadd_ps(*a, x, y);
        }
    }
    let mut lanes = [0.0f32; 8];
    let mut sum = 0.0;
    for a in acc {
        // SAFETY: `lanes` holds 8 floats.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), a) };
        sum += lanes.iter().sum::<f32>();
    }
    (12 * 8, sum)
}
