//! The definition of the 8-bit tile in plain Rust: what the vector kernel is held to.

use super::eight::Codes;
use super::{ANCHORS, DOCUMENTS, Tile};

/// See [`super::eight::tile`].
pub(super) fn tile(
    anchors: &[Codes],
    documents: &[Codes],
    starts: &[i32; ANCHORS],
    scales: &[f32; DOCUMENTS],
    bars: &[f32; ANCHORS],
    live: u32,
    out: &mut Tile,
) -> u16 {
    let mut rows = 0;
    for (i, (&start, &bar)) in starts.iter().zip(bars).enumerate() {
        out.above[i] = 0;
        for (j, &scale) in scales.iter().enumerate() {
            let mut sum = start;
            for (a, d) in anchors.chunks_exact(ANCHORS).zip(documents.chunks_exact(DOCUMENTS)) {
                let pairs = a[i].to_le_bytes().into_iter().zip(d[j].to_le_bytes());
                sum += pairs.map(|(a, d)| i32::from(a.cast_signed()) * i32::from(d)).sum::<i32>();
            }
            let score = sum as f32 * scale;
            out.scores[i][j] = score;
            out.above[i] |= u32::from(score > bar) << j & live;
        }
        rows |= u16::from(out.above[i] != 0) << i;
    }
    rows
}
