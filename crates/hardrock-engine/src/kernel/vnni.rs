//! The 8-bit tile with AVX-512 VNNI: 12 anchors x 32 documents in 24 registers, four dimensions a step.

use std::arch::x86_64::*;

use super::eight::Codes;
use super::{ANCHORS, DOCUMENTS, Tile};

/// Steps between two prefetches.
const STRIDE: usize = 8;

/// See [`super::eight::tile`].
///
/// # Safety
/// AVX-512F and AVX-512 VNNI must be present and `anchors` / `documents` must hold the same number of whole steps.
#[target_feature(enable = "avx512f,avx512vnni")]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn tile(
    anchors: &[Codes],
    documents: &[Codes],
    ahead: [&[Codes]; 2],
    starts: &[i32; ANCHORS],
    scales: &[f32; DOCUMENTS],
    bars: &[f32; ANCHORS],
    live: u32,
    out: &mut Tile,
) -> u16 {
    let steps = documents.len() / DOCUMENTS;
    let mut acc = [[_mm512_setzero_si512(); 2]; ANCHORS];
    for (acc, &start) in acc.iter_mut().zip(starts) {
        *acc = [_mm512_set1_epi32(start); 2];
    }
    let (mut a, mut d) = (anchors.as_ptr(), documents.as_ptr());
    let mut lines = ahead[0].chunks(16).chain(ahead[1].chunks(16));

    macro_rules! step {
        () => {
            // SAFETY: at most `steps` steps are made in all, and both panels hold `steps` (the caller's promise):
            // each reads 12 and 32 words and moves on by as many.
            unsafe {
                let d0 = _mm512_loadu_si512(d.cast());
                let d1 = _mm512_loadu_si512(d.add(16).cast());
                for (i, acc) in acc.iter_mut().enumerate() {
                    let x = _mm512_set1_epi32((*a.add(i)).cast_signed());
                    acc[0] = _mm512_dpbusd_epi32(acc[0], d0, x);
                    acc[1] = _mm512_dpbusd_epi32(acc[1], d1, x);
                }
                a = a.add(ANCHORS);
                d = d.add(DOCUMENTS);
            }
        };
    }
    for _ in 0..steps / STRIDE {
        if let Some(line) = lines.next() {
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
        step!();
        step!();
        step!();
        step!();
        step!();
        step!();
        step!();
        step!();
    }
    for _ in 0..steps % STRIDE {
        step!();
    }

    // SAFETY: `scales` holds 32 floats: two loads of 16.
    let (low_scale, high_scale) =
        unsafe { (_mm512_loadu_ps(scales.as_ptr()), _mm512_loadu_ps(scales.as_ptr().add(16))) };
    let mut rows = 0;
    macro_rules! row {
        ($($i:literal)*) => {$(
            let bar = _mm512_set1_ps(bars[$i]);
            let low_scores = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[$i][0]), low_scale);
            let high_scores = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[$i][1]), high_scale);
            let low = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(low_scores, bar);
            let high = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(high_scores, bar);
            let above = (u32::from(low) | u32::from(high) << 16) & live;
            out.above[$i] = above;
            rows |= u16::from(above != 0) << $i;
            let row = out.scores[$i].as_mut_ptr();
            // SAFETY: a row holds 32 floats: two stores of 16.
            unsafe {
                _mm512_storeu_ps(row, low_scores);
                _mm512_storeu_ps(row.add(16), high_scores);
            }
        )*};
    }
    // Spelled out for the reason given in the f32 tile: constant indexes keep the sums in registers.
    row!(0 1 2 3 4 5 6 7 8 9 10 11);
    rows
}
