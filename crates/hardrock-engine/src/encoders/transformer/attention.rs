//! Attention of one head over the texts of a chunk.
//!
//! Keys and values of a text are packed like weights, so the two products of attention run in the same kernel as the
//! layers: keys are outputs for the scores, the head's columns are outputs for the values. Lanes are queries; those of
//! other texts in the same panel are computed and not stored.

use std::ops::Range;

use crate::kernel::lanes::{self, Lanes};
use crate::kernel::{Isa, OUTPUTS, TOKENS, product};

use super::packed::padded;

/// Which keys a query sees and what is added to its scores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    /// Keys at most this far away; none = all of the text.
    pub(super) window: Option<usize>,
    /// What is added to a score (a power of two) by the key's place minus the query's, reversed: `[2 * reach + 1]`,
    /// from `reach` down to `-reach`. Empty for none.
    pub(super) bias: &'a [f32],
}

/// Space for one head.
#[derive(Debug, Default)]
pub(super) struct Space {
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<Lanes>,
    context: Vec<Lanes>,
}

/// One head: columns, and where its rows lie in a panel of the head's queries, keys and values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// Columns of a query, a key, a value.
    pub(super) dim: usize,
    /// Rows of a panel of queries, keys and values.
    pub(super) stride: usize,
    /// First row of the head's context in a panel of `out`.
    pub(super) row: usize,
    /// Rows of a panel of `out`.
    pub(super) out_stride: usize,
}

impl Space {
    /// Attends within the text at `tokens` of the chunk: `qkv` `[panels][stride]` holds queries (scaled, for powers of
    /// two), keys and values below one another; the context goes to the text's lanes of `out`.
    pub(super) fn attend(
        &mut self,
        isa: Isa,
        head: Head,
        tokens: Range<usize>,
        qkv: &[Lanes],
        sight: Sight<'_>,
        out: &mut [Lanes],
    ) {
        self.pack(head, tokens.clone(), qkv);
        let length = tokens.len();
        for panel in tokens.start / TOKENS..tokens.end.div_ceil(TOKENS) {
            let first = panel * TOKENS;
            let lanes = tokens.start.max(first) - first..tokens.end.min(first + TOKENS) - first;
            // Places in the text of the panel's queries, before its start for lanes that are not its own.
            let place = first as isize - tokens.start as isize;
            let seen = match sight.window {
                None => 0..length,
                Some(window) => {
                    let from = (place + lanes.start as isize - window as isize).max(0) as usize;
                    let to = (place + lanes.end as isize + window as isize).max(0) as usize;
                    // Whole tiles: a key that nobody sees adds nothing, not even a rounding.
                    from / OUTPUTS * OUTPUTS..to.min(length)
                }
            };
            let queries = &qkv[panel * head.stride..][..head.dim];
            let half = lanes.end <= TOKENS / 2;
            self.score(isa, head.dim, queries, seen.clone(), half);
            let scores = &mut self.scores[..seen.len()];
            if !sight.bias.is_empty() {
                add_bias(scores, seen.start as isize - place, sight.bias);
            }
            if let Some(window) = sight.window {
                mask(scores, seen.start as isize - place, window as isize);
            }
            let inverse = lanes::softmax(isa, scores);
            self.mix(isa, head.dim, length, seen, half);
            let context = &mut self.context[..head.dim];
            lanes::scale(isa, context, &inverse);
            let to = &mut out[panel * head.out_stride + head.row..][..head.dim];
            for (to, from) in to.iter_mut().zip(&*context) {
                to[lanes.clone()].copy_from_slice(&from[lanes.clone()]);
            }
        }
    }

    /// Packs keys `[tiles][dim][OUTPUTS]` and values `[tiles of dim][length][OUTPUTS]`.
    fn pack(&mut self, head: Head, tokens: Range<usize>, qkv: &[Lanes]) {
        let (dim, length) = (head.dim, tokens.len());
        self.keys.clear();
        self.keys.resize(padded(length) * dim, 0.0);
        self.values.clear();
        self.values.resize(padded(dim) * length, 0.0);
        for (key, token) in tokens.enumerate() {
            let (panel, lane) = (token / TOKENS, token % TOKENS);
            let rows = &qkv[panel * head.stride..][..3 * dim];
            let tile = &mut self.keys[key / OUTPUTS * OUTPUTS * dim..][..OUTPUTS * dim];
            for (place, row) in tile.chunks_exact_mut(OUTPUTS).zip(&rows[dim..2 * dim]) {
                place[key % OUTPUTS] = row[lane];
            }
            for (tile, rows) in rows[2 * dim..].chunks(OUTPUTS).enumerate() {
                let to = &mut self.values[(tile * length + key) * OUTPUTS..][..OUTPUTS];
                to.iter_mut().zip(rows).for_each(|(to, row)| *to = row[lane]);
            }
        }
    }

    /// Scores of some keys `[keys][queries]`.
    fn score(&mut self, isa: Isa, dim: usize, queries: &[Lanes], keys: Range<usize>, half: bool) {
        self.scores.clear();
        self.scores.resize(padded(keys.len()), [0.0; TOKENS]);
        let weights = &self.keys[keys.start * dim..];
        let tiles = weights.chunks_exact(OUTPUTS * dim);
        for (tile, rows) in tiles.zip(self.scores.chunks_exact_mut(OUTPUTS)) {
            if let Some(out) = rows.as_flattened_mut().first_chunk_mut() {
                product(isa, tile, queries.as_flattened(), &[], half, out);
            }
        }
    }

    /// The values under the weights in `scores`, not yet divided by the weights' sum.
    fn mix(&mut self, isa: Isa, dim: usize, length: usize, keys: Range<usize>, half: bool) {
        self.context.clear();
        self.context.resize(padded(dim), [0.0; TOKENS]);
        let weights = &self.scores[..keys.len()];
        let tiles = self.values.chunks_exact(length * OUTPUTS);
        for (tile, rows) in tiles.zip(self.context.chunks_exact_mut(OUTPUTS)) {
            let values = &tile[keys.start * OUTPUTS..keys.end * OUTPUTS];
            if let Some(out) = rows.as_flattened_mut().first_chunk_mut() {
                product(isa, values, weights.as_flattened(), &[], half, out);
            }
        }
    }
}

/// Adds the bias by distance; `off` is the first key's place minus that of lane 0.
fn add_bias(scores: &mut [Lanes], off: isize, bias: &[f32]) {
    let reach = (bias.len() / 2) as isize;
    for (key, row) in scores.iter_mut().enumerate() {
        let start = reach - (off + key as isize);
        for (lane, x) in row.iter_mut().enumerate() {
            // Lanes of other texts may lie beyond every distance; they are not stored.
            let at = (start + lane as isize).clamp(0, bias.len() as isize - 1);
            *x += bias[at as usize];
        }
    }
}

/// Hides the keys farther away than `window`.
fn mask(scores: &mut [Lanes], off: isize, window: isize) {
    for (key, row) in scores.iter_mut().enumerate() {
        let distance = off + key as isize;
        for (lane, x) in row.iter_mut().enumerate() {
            if (distance - lane as isize).abs() > window {
                *x = f32::NEG_INFINITY;
            }
        }
    }
}
