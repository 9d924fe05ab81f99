//! AVX-512 kernel: 12 anchors x 32 documents in 24 registers over the whole depth.

use std::arch::x86_64::*;

use super::{ANCHORS, DOCUMENTS, Tile};

/// Depth steps between two prefetches: more often costs more than it saves.
const STRIDE: usize = 8;

/// See [`super::tile`].
///
/// # Safety
/// AVX-512F must be present and `anchors` / `documents` must hold the same number of whole steps.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn tile(
    anchors: &[f32],
    documents: &[f32],
    ahead: [&[f32]; 2],
    bars: &[f32; ANCHORS],
    live: u32,
    out: &mut Tile,
) -> u16 {
    let dim = documents.len() / DOCUMENTS;
    let mut acc = [[_mm512_setzero_ps(); 2]; ANCHORS];
    let (mut a, mut d) = (anchors.as_ptr(), documents.as_ptr());
    let mut lines = ahead[0].chunks(16).chain(ahead[1].chunks(16));

    macro_rules! step {
        () => {
            // SAFETY: at most `dim` steps are made in all, and both panels hold `dim` (the caller's promise):
            // each reads 12 and 32 floats and moves on by as many.
            unsafe {
                let (d0, d1) = (_mm512_loadu_ps(d), _mm512_loadu_ps(d.add(16)));
                for (i, acc) in acc.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*a.add(i));
                    acc[0] = _mm512_fmadd_ps(x, d0, acc[0]);
                    acc[1] = _mm512_fmadd_ps(x, d1, acc[1]);
                }
                a = a.add(ANCHORS);
                d = d.add(DOCUMENTS);
            }
        };
    }
    for _ in 0..dim / STRIDE {
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
    for _ in 0..dim % STRIDE {
        step!();
    }

    let mut rows = 0;
    macro_rules! row {
        ($($i:literal)*) => {$(
            let bar = _mm512_set1_ps(bars[$i]);
            let low = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(acc[$i][0], bar);
            let high = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(acc[$i][1], bar);
            let above = (u32::from(low) | u32::from(high) << 16) & live;
            out.above[$i] = above;
            rows |= u16::from(above != 0) << $i;
            let row = out.scores[$i].as_mut_ptr();
            // SAFETY: a row holds 32 floats: two stores of 16.
            unsafe {
                _mm512_storeu_ps(row, acc[$i][0]);
                _mm512_storeu_ps(row.add(16), acc[$i][1]);
            }
        )*};
    }
    // Spelled out, not a loop: the sums stay in registers only if every index is a constant. Without branches:
    // a guess that fails costs more than the stores.
    row!(0 1 2 3 4 5 6 7 8 9 10 11);
    rows
}

/// See [`super::fma_rounds`].
///
/// # Safety
/// AVX-512F must be present.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn fma_rounds(rounds: usize) -> (usize, f32) {
    let mut acc = [_mm512_set1_ps(1.0); 16];
    let x = _mm512_set1_ps(std::hint::black_box(0.999));
    let y = _mm512_set1_ps(std::hint::black_box(1e-3));
    for _ in 0..rounds {
        for a in &mut acc {
            *a = _mm512_fmadd_ps(*a, x, y);
        }
    }
    let mut sum = acc[0];
    for a in &acc[1..] {
        sum = _mm512_add_ps(sum, *a);
    }
    (16 * 16, _mm512_reduce_add_ps(sum))
}
