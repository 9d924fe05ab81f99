//! Activations and weights in 8 bits, slice by slice of the features that [`super::packed`] has.
//!
//! Each token has a scale of its own per slice, each output one per slice: outliers of one text, or of the hidden features of
//! another slice, do not take resolution from the rest, and a token's codes do not depend on its neighbours.

use crate::kernel::lanes::{self, Lanes};
use crate::kernel::{Codes, Isa, Multiplier, OUTPUTS, Scales, TOKENS, Weights, code, product_eight, words};

use super::packed::{DEPTH, Panels, Shape};

/// The codes of a chunk's activations.
#[derive(Debug, Default)]
pub(super) struct Coded {
    /// `[slices][panels][words of the slice]`.
    words: Vec<Codes>,
    /// `[slices][panels]`: steps and lows.
    scales: Vec<[Lanes; 2]>,
}

impl Coded {
    /// No codes: what a layer of floats reads.
    pub(super) const NONE: &'static Self = &Self { words: Vec::new(), scales: Vec::new() };

    /// Codes the first `features` rows of each panel.
    pub(super) fn read(&mut self, isa: Isa, shape: Shape, features: usize, x: Panels<'_>) {
        self.words.clear();
        self.scales.clear();
        for start in (0..features).step_by(DEPTH) {
            let depth = DEPTH.min(features - start);
            for panel in 0..shape.panels {
                let first = self.words.len();
                self.words.resize(first + words(depth), [0; TOKENS]);
                let rows = &x.rows[panel * x.stride + start..][..depth];
                self.scales.push(lanes::codes(isa, rows, &mut self.words[first..]));
            }
        }
    }
}

/// A layer's weights in 8 bits.
#[derive(Debug)]
pub(super) struct Eight {
    /// `[slices][tiles][words of the slice]`.
    words: Vec<Weights>,
    /// `[slices][tiles]`: what a step is worth, and the sum of the codes.
    scales: Vec<[[f32; OUTPUTS]; 2]>,
}

impl Eight {
    /// Codes weights `[slices][tiles][features of the slice][OUTPUTS]`.
    pub(super) fn new(features: usize, tiles: usize, weights: &[f32]) -> Self {
        let (mut packed, mut scales) = (Vec::new(), Vec::new());
        for start in (0..features).step_by(DEPTH) {
            let depth = DEPTH.min(features - start);
            let slice = &weights[start * tiles * OUTPUTS..][..depth * tiles * OUTPUTS];
            for tile in slice.chunks_exact(depth * OUTPUTS) {
                let first = packed.len();
                packed.resize(first + words(depth), [0; OUTPUTS]);
                let mut scale = [[0.0; OUTPUTS]; 2];
                for output in 0..OUTPUTS {
                    let column: Vec<f32> = tile.iter().skip(output).step_by(OUTPUTS).copied().collect();
                    let (codes, step) = code(&column);
                    scale[0][output] = step;
                    // Below 2^24: exact in any order.
                    scale[1][output] = codes.iter().map(|&code| f32::from(code)).sum();
                    for (word, four) in packed[first..].iter_mut().zip(codes.as_chunks().0) {
                        word[output] = u32::from_le_bytes(four.map(i8::cast_unsigned));
                    }
                }
                scales.push(scale);
            }
        }
        Self { words: packed, scales }
    }

    /// Adds the products of the slice `slice` of the layer, `depth` features, with the slice `of_x` of `x`, for some of the
    /// layer's `all` tiles, to `out` `[panels][tiles * OUTPUTS]`.
    #[allow(clippy::too_many_arguments, reason = "the numbers that name a block")]
    pub(super) fn add(
        &self,
        isa: Isa,
        shape: Shape,
        [slice, of_x]: [usize; 2],
        depth: usize,
        all: usize,
        tiles: std::ops::Range<usize>,
        x: &Coded,
        out: &mut [Lanes],
    ) {
        let how = Multiplier::of(isa);
        let (block, stride) = (words(depth), tiles.len() * OUTPUTS);
        let weights = &self.words[slice * words(DEPTH) * all..][..all * block];
        let tokens = &x.words[of_x * words(DEPTH) * shape.panels..][..shape.panels * block];
        let scales = &x.scales[of_x * shape.panels..][..shape.panels];
        for (to, tile) in tiles.enumerate() {
            let now = &weights[tile * block..][..block];
            let next = weights.get((tile + 1) * block..(tile + 2) * block).unwrap_or_default();
            // Each panel fetches its part of the next block.
            let part = next.len().div_ceil(shape.panels.max(1));
            let [weight, sum] = &self.scales[slice * all + tile];
            for (panel, (tokens, [step, low])) in tokens.chunks_exact(block).zip(scales).enumerate() {
                let ahead = next.get(panel * part..).unwrap_or_default();
                let rows = &mut out[panel * stride + to * OUTPUTS..][..OUTPUTS];
                let scales = Scales { step, low, weight, sum };
                if let Some(tile) = rows.as_flattened_mut().first_chunk_mut() {
                    product_eight(how, now, tokens, ahead, scales, shape.is_half(panel), tile);
                }
            }
        }
    }
}
