//! NEON kernel: 12 anchors x 8 documents in 24 of 32 registers, so a tile takes four passes.

use std::arch::aarch64::*;

use super::{ANCHORS, DOCUMENTS, Tile};

/// Documents of one pass.
const WIDTH: usize = 8;

/// See [`super::tile`].
///
/// # Safety
/// NEON must be present and `anchors` / `documents` must hold the same number of whole steps.
#[target_feature(enable = "neon")]
pub(super) unsafe fn tile(
    anchors: &[f32],
    documents: &[f32],
    bars: &[f32; ANCHORS],
    live: u32,
    out: &mut Tile,
) -> u16 {
    for column in (0..DOCUMENTS).step_by(WIDTH) {
        let mut acc = [[vdupq_n_f32(0.0); 2]; ANCHORS];
        for (a, d) in anchors.chunks_exact(ANCHORS).zip(documents.chunks_exact(DOCUMENTS)) {
            // SAFETY: `d` holds 32 floats and `column + 8 <= 32`; `a` holds 12: three loads of four.
            unsafe {
                let d = d.as_ptr().add(column);
                let (d0, d1) = (vld1q_f32(d), vld1q_f32(d.add(4)));
                for quarter in 0..ANCHORS / 4 {
                    let x = vld1q_f32(a.as_ptr().add(quarter * 4));
                    let acc = &mut acc[quarter * 4..quarter * 4 + 4];
                    acc[0][0] = vfmaq_laneq_f32::<0>(acc[0][0], d0, x);
                    acc[0][1] = vfmaq_laneq_f32::<0>(acc[0][1], d1, x);
                    acc[1][0] = vfmaq_laneq_f32::<1>(acc[1][0], d0, x);
                    acc[1][1] = vfmaq_laneq_f32::<1>(acc[1][1], d1, x);
                    acc[2][0] = vfmaq_laneq_f32::<2>(acc[2][0], d0, x);
                    acc[2][1] = vfmaq_laneq_f32::<2>(acc[2][1], d1, x);
                    acc[3][0] = vfmaq_laneq_f32::<3>(acc[3][0], d0, x);
                    acc[3][1] = vfmaq_laneq_f32::<3>(acc[3][1], d1, x);
                }
            }
        }
        for (row, acc) in out.scores.iter_mut().zip(&acc) {
            // SAFETY: `column + 8 <= 32`, the length of a row.
            unsafe {
                vst1q_f32(row.as_mut_ptr().add(column), acc[0]);
                vst1q_f32(row.as_mut_ptr().add(column + 4), acc[1]);
            }
        }
    }
    let mut rows = 0;
    for (i, (row, &bar)) in out.scores.iter().zip(bars).enumerate() {
        let above = row.iter().enumerate().fold(0u32, |m, (j, &s)| m | u32::from(s > bar) << j) & live;
        out.above[i] = above;
        rows |= u16::from(above != 0) << i;
    }
    rows
}
