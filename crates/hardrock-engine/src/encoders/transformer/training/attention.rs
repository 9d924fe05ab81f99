//! Attention of one head over one text, there and back.
//!
//! On the way back lanes are queries once, for the slopes of the queries, and keys once, for those of keys and values: the
//! weights are computed again instead of being turned, and have the same bits both times.

use std::ops::Range;

use crate::kernel::lanes::{self, Lanes};
use crate::kernel::slopes::{self, STEP};
use crate::kernel::{Isa, OUTPUTS, TOKENS, product};

use super::super::packed::padded;
use super::dropout::Site;

/// One head and one text.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) isa: Isa,
    /// Columns of a query, a key, a value.
    pub(super) dim: usize,
    /// Rows of a panel of queries, keys and values; those of the head come first in `qkv`.
    pub(super) stride: usize,
    /// First row of the head's context in a panel.
    pub(super) row: usize,
    /// Rows of a panel of contexts.
    pub(super) out_stride: usize,
    /// See [`super::super::attention::Sight`].
    pub(super) bias: &'a [f32],
    /// What drops weights out, keys by token of the chunk.
    pub(super) mask: Option<&'a Site>,
}

/// Space for one head.
#[derive(Debug, Default)]
pub(super) struct Space {
    by_token: [Vec<f32>; 2],
    by_column: [Vec<f32>; 2],
    scores: Vec<Lanes>,
    slopes: Vec<Lanes>,
    out: Vec<Lanes>,
    /// Per query: its greatest score, one over its sum, and Σ p·d.
    peaks: Vec<f32>,
    inverses: Vec<f32>,
    sums: Vec<f32>,
    places: Vec<u32>,
}

/// A panel's lanes that belong to a text.
struct Part {
    panel: usize,
    lanes: Range<usize>,
    /// Place in the text of lane 0, before its start where that lane is another text's.
    place: isize,
    half: bool,
}

fn parts(text: &Range<usize>) -> impl Iterator<Item = Part> {
    let (start, end) = (text.start, text.end);
    let panels = if text.is_empty() { 0..0 } else { start / TOKENS..end.div_ceil(TOKENS) };
    panels.map(move |panel| {
        let first = panel * TOKENS;
        let lanes = start.max(first) - first..end.min(first + TOKENS) - first;
        let half = lanes.end <= TOKENS / 2;
        Part { panel, lanes, place: first as isize - start as isize, half }
    })
}

/// Packs a text's rows `[panels][stride]` `[dim]` as outputs: `[tiles of tokens][dim][OUTPUTS]`.
fn by_token(out: &mut Vec<f32>, dim: usize, text: &Range<usize>, rows: &[Lanes], stride: usize) {
    out.clear();
    out.resize(padded(text.len()) * dim, 0.0);
    for (at, token) in text.clone().enumerate() {
        let (panel, lane) = (token / TOKENS, token % TOKENS);
        let tile = &mut out[at / OUTPUTS * OUTPUTS * dim..][..OUTPUTS * dim];
        for (to, row) in tile.chunks_exact_mut(OUTPUTS).zip(&rows[panel * stride..][..dim]) {
            to[at % OUTPUTS] = row[lane];
        }
    }
}

/// Packs a text's rows as features: `[tiles of dim][tokens][OUTPUTS]`.
fn by_column(out: &mut Vec<f32>, dim: usize, text: &Range<usize>, rows: &[Lanes], stride: usize) {
    let length = text.len();
    out.clear();
    out.resize(padded(dim) * length, 0.0);
    for (at, token) in text.clone().enumerate() {
        let (panel, lane) = (token / TOKENS, token % TOKENS);
        for (tile, rows) in rows[panel * stride..][..dim].chunks(OUTPUTS).enumerate() {
            let to = &mut out[(tile * length + at) * OUTPUTS..][..OUTPUTS];
            to.iter_mut().zip(rows).for_each(|(to, row)| *to = row[lane]);
        }
    }
}

/// Products of packed rows of `depth` with `x` `[depth]`, the first `count` rows of which are wanted.
fn times(isa: Isa, packed: &[f32], x: &[Lanes], half: bool, count: usize, out: &mut Vec<Lanes>) {
    out.clear();
    out.resize(padded(count), [0.0; TOKENS]);
    for (tile, rows) in packed.chunks_exact(x.len() * OUTPUTS).zip(out.chunks_exact_mut(OUTPUTS)) {
        if let Some(out) = rows.as_flattened_mut().first_chunk_mut() {
            product(isa, tile, x.as_flattened(), &[], half, out);
        }
    }
    out.truncate(count);
}

/// Adds the bias by distance of key and query; rows are keys, or queries where lanes are keys.
fn add_bias(scores: &mut [Lanes], place: isize, bias: &[f32], rows_are_keys: bool) {
    if bias.is_empty() {
        return;
    }
    let reach = (bias.len() / 2) as isize;
    for (row, scores) in scores.iter_mut().enumerate() {
        for (lane, x) in scores.iter_mut().enumerate() {
            let distance = row as isize - (place + lane as isize);
            let distance = if rows_are_keys { distance } else { -distance };
            *x += bias[(reach - distance).clamp(0, bias.len() as isize - 1) as usize];
        }
    }
}

/// Writes a text's lanes of `from` to rows of a panel.
fn store(from: &[Lanes], lanes: &Range<usize>, to: &mut [Lanes]) {
    for (to, from) in to.iter_mut().zip(from) {
        to[lanes.clone()].copy_from_slice(&from[lanes.clone()]);
    }
}

impl Place<'_> {
    fn context<'b>(&self, rows: &'b [Lanes], part: &Part) -> &'b [Lanes] {
        &rows[part.panel * self.out_stride + self.row..][..self.dim]
    }

    /// Queries, keys or values (0, 1, 2) of a panel.
    fn side<'b>(&self, qkv: &'b [Lanes], part: &Part, side: usize) -> &'b [Lanes] {
        &qkv[part.panel * self.stride + side * self.dim..][..self.dim]
    }

    /// Drops weights out, rows being keys.
    fn drop_by_key(&self, x: &mut [Lanes], places: &[u32], part: &Part) {
        if let Some(site) = self.mask {
            slopes::drop_out(self.isa, x, places, site.lanes(part.panel), site.bar, site.by);
        }
    }

    /// Drops weights out, rows being queries, whose keys are those of the text's tokens.
    fn drop_by_query(&self, x: &mut [Lanes], text: &Range<usize>, part: &Part) {
        if let Some(site) = self.mask {
            let place = |l: usize| ((part.place + l as isize) as u32).wrapping_mul(STEP);
            let lanes: [u32; TOKENS] = std::array::from_fn(place);
            slopes::drop_out(self.isa, x, site.tokens(text.clone()), &lanes, site.bar, site.by);
        }
    }
}

impl Space {
    fn number(&mut self, length: usize) {
        self.places.clear();
        self.places.extend((0..length as u32).map(|place| place.wrapping_mul(STEP)));
    }

    /// The weights of the queries of a part, divided by their sums only if `whole`; their greatest scores and one over
    /// their sums.
    fn weigh(&mut self, at: Place<'_>, length: usize, part: &Part, queries: &[Lanes]) -> (Lanes, Lanes) {
        times(at.isa, &self.by_token[0], queries, part.half, length, &mut self.scores);
        add_bias(&mut self.scores, part.place, at.bias, true);
        let mut peak = [0.0; TOKENS];
        let inverse = slopes::softmax(at.isa, &mut self.scores, &mut peak);
        (peak, inverse)
    }

    /// Writes the context of the text at `text` of the chunk to its lanes of `out`.
    pub(super) fn forward(&mut self, at: Place<'_>, text: Range<usize>, qkv: &[Lanes], out: &mut [Lanes]) {
        let (isa, dim) = (at.isa, at.dim);
        by_token(&mut self.by_token[0], dim, &text, &qkv[dim..], at.stride);
        by_column(&mut self.by_column[0], dim, &text, &qkv[2 * dim..], at.stride);
        self.number(text.len());
        for part in parts(&text) {
            let (_, inverse) = self.weigh(at, text.len(), &part, at.side(qkv, &part, 0));
            at.drop_by_key(&mut self.scores, &self.places, &part);
            times(isa, &self.by_column[0], &self.scores, part.half, dim, &mut self.out);
            lanes::scale(isa, &mut self.out, &inverse);
            let to = &mut out[part.panel * at.out_stride + at.row..][..dim];
            store(&self.out, &part.lanes, to);
        }
    }

    /// Turns the slopes `d` of the context into those of queries, keys and values, in the text's lanes of `out` (laid out
    /// as `qkv`), and adds those of the bias to `bias` (laid out as [`Place::bias`], empty for none).
    pub(super) fn backward(
        &mut self,
        at: Place<'_>,
        text: Range<usize>,
        qkv: &[Lanes],
        d: &[Lanes],
        out: &mut [Lanes],
        bias: &mut [f32],
    ) {
        let (isa, dim, length) = (at.isa, at.dim, text.len());
        let share = (1.0 / (dim as f64).sqrt()) as f32;
        for per_query in [&mut self.peaks, &mut self.inverses, &mut self.sums] {
            per_query.clear();
        }
        self.number(length);
        by_token(&mut self.by_token[0], dim, &text, &qkv[dim..], at.stride);
        by_token(&mut self.by_token[1], dim, &text, &qkv[2 * dim..], at.stride);
        by_column(&mut self.by_column[0], dim, &text, &qkv[dim..], at.stride);
        for part in parts(&text) {
            let (peak, inverse) = self.weigh(at, length, &part, at.side(qkv, &part, 0));
            lanes::scale(isa, &mut self.scores, &inverse);
            times(isa, &self.by_token[1], at.context(d, &part), part.half, length, &mut self.slopes);
            at.drop_by_key(&mut self.slopes, &self.places, &part);
            let sums = slopes::softmax_slope(isa, &self.scores, &mut self.slopes);
            self.peaks.extend(&peak[part.lanes.clone()]);
            self.inverses.extend(&inverse[part.lanes.clone()]);
            self.sums.extend(&sums[part.lanes.clone()]);
            bias_slope(&self.slopes, &part, bias);
            times(isa, &self.by_column[0], &self.slopes, part.half, dim, &mut self.out);
            lanes::scale(isa, &mut self.out, &[share; TOKENS]);
            store(&self.out, &part.lanes, &mut out[part.panel * at.stride..][..dim]);
        }
        by_token(&mut self.by_token[0], dim, &text, qkv, at.stride);
        by_column(&mut self.by_column[0], dim, &text, qkv, at.stride);
        by_token(&mut self.by_token[1], dim, &text, &d[at.row..], at.out_stride);
        by_column(&mut self.by_column[1], dim, &text, &d[at.row..], at.out_stride);
        for part in parts(&text) {
            times(isa, &self.by_token[0], at.side(qkv, &part, 1), part.half, length, &mut self.scores);
            add_bias(&mut self.scores, part.place, at.bias, false);
            slopes::softmax_rows(isa, &mut self.scores, &self.peaks, &self.inverses);
            times(isa, &self.by_token[1], at.side(qkv, &part, 2), part.half, length, &mut self.slopes);
            at.drop_by_query(&mut self.slopes, &text, &part);
            slopes::softmax_slope_rows(isa, &self.scores, &self.sums, &mut self.slopes);
            times(isa, &self.by_column[0], &self.slopes, part.half, dim, &mut self.out);
            // The queries are scaled for powers of two.
            lanes::scale(isa, &mut self.out, &[std::f32::consts::LN_2; TOKENS]);
            let to = part.panel * at.stride;
            store(&self.out, &part.lanes, &mut out[to + dim..][..dim]);
            at.drop_by_query(&mut self.scores, &text, &part);
            times(isa, &self.by_column[1], &self.scores, part.half, dim, &mut self.out);
            store(&self.out, &part.lanes, &mut out[to + 2 * dim..][..dim]);
        }
    }
}

/// Adds the slopes of scores to those of the bias by distance.
fn bias_slope(d: &[Lanes], part: &Part, bias: &mut [f32]) {
    if bias.is_empty() {
        return;
    }
    let reach = (bias.len() / 2) as isize;
    for (key, d) in d.iter().enumerate() {
        for lane in part.lanes.clone() {
            let distance = key as isize - (part.place + lane as isize);
            bias[(reach - distance) as usize] += d[lane];
        }
    }
}
