//! The definition of a score in plain Rust: the twin of every vector kernel and the fall-back everywhere.

use super::{ANCHORS, DOCUMENTS, Tile};

/// See [`super::tile`].
pub(super) fn tile(
    anchors: &[f32],
    documents: &[f32],
    bars: &[f32; ANCHORS],
    live: u32,
    out: &mut Tile,
) -> u16 {
    let mut scores = [[0.0f32; DOCUMENTS]; ANCHORS];
    for (a, d) in anchors.chunks_exact(ANCHORS).zip(documents.chunks_exact(DOCUMENTS)) {
        for (row, &x) in scores.iter_mut().zip(a) {
            for (acc, &y) in row.iter_mut().zip(d) {
                *acc = x.mul_add(y, *acc);
            }
        }
    }
    out.scores = scores;
    let mut rows = 0;
    for (i, (row, &bar)) in scores.iter().zip(bars).enumerate() {
        let above = row.iter().enumerate().fold(0u32, |m, (j, &s)| m | u32::from(s > bar) << j) & live;
        out.above[i] = above;
        rows |= u16::from(above != 0) << i;
    }
    rows
}

/// Pairs scored at once: enough chains to hide the latency of one multiply-add behind the others.
const CHAINS: usize = 8;

/// See [`super::dots`].
#[inline(always)]
pub(super) fn dots(anchor: &[f32], documents: &[f32], out: &mut [f32]) {
    let dim = anchor.len();
    for (g, out) in out.chunks_mut(CHAINS).enumerate() {
        // The last group repeats its last row: the chains stay eight and the surplus is not written.
        let row = |j: usize| {
            let first = (g * CHAINS + j.min(out.len() - 1)) * dim;
            &documents[first..first + dim]
        };
        let rows: [&[f32]; CHAINS] = std::array::from_fn(row);
        let mut acc = [0.0f32; CHAINS];
        for (d, &x) in anchor.iter().enumerate() {
            for (acc, row) in acc.iter_mut().zip(&rows) {
                *acc = x.mul_add(row[d], *acc);
            }
        }
        for (o, acc) in out.iter_mut().zip(acc) {
            *o = acc + 0.0;
        }
    }
}

/// See [`super::fma_rounds`]; the number of operations per round and a value that keeps them alive.
pub(super) fn fma_rounds(rounds: usize) -> (usize, f32) {
    let mut acc = [1.0f32; 32];
    let (x, y) = (std::hint::black_box(0.999f32), std::hint::black_box(1e-3f32));
    for _ in 0..rounds {
        for a in &mut acc {
            *a = a.mul_add(x, y);
        }
    }
    (acc.len(), acc.iter().sum())
}
