//! A linear layer in training: packed for the way there and the way back, and the slope of its weights.
//!
//! The way back is the same product with the weights turned; a weight's slope is a product whose sum runs over tokens. A
//! number of a slope is one chain over the tokens in their order, so neither threads nor the split into tasks can change it.

use rayon::prelude::*;

use crate::kernel::lanes::Lanes;
use crate::kernel::{Isa, OUTPUTS, TOKENS, product, transpose};

use super::super::packed::{Input, Packed, Panels, Shape};
use super::parameters::{Index, Parameters};

/// Tokens of a slice of a slope's sum: what it reads of both sides stays in the first cache.
const SLICE: usize = 256;

/// Tiles of outputs that a task takes.
const TILES: usize = 8;

/// Blocks of 32 features that a task takes at once, so that they stay in the second cache.
const BLOCKS: usize = 12;

/// Where an output's weights come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Which of the layer's matrices.
    pub(super) part: usize,
    pub(super) row: usize,
    /// Factor on the way there; the way back and the slopes know nothing of it.
    pub(super) scale: f32,
}

/// One or several matrices of the model, side by side.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) features: usize,
    /// Per output; `None` fills a tile up.
    rows: Vec<Option<Row>>,
    weights: Vec<Index>,
    biases: Vec<Option<Index>>,
    pub(super) forward: Packed,
    pub(super) back: Packed,
    /// `[tiles][blocks of features][OUTPUTS][TOKENS]`.
    slope: Vec<f32>,
    /// `[tiles * OUTPUTS]`.
    bias_slope: Vec<f32>,
    /// Whether anybody asks for the slope.
    pub(super) trains: bool,
}

/// Activations and slopes of a chunk for a layer's weights.
#[derive(Debug, Default)]
pub(super) struct Operands {
    /// What went into the layer, `[blocks of 32 features][tokens][32]`.
    x: Vec<f32>,
    /// The slopes of what came out, `[tiles of 12 outputs][tokens][12]`.
    d: Vec<f32>,
    tokens: usize,
}

impl Operands {
    /// Makes room for a chunk of `panels` panels.
    pub(super) fn reset(&mut self, panels: usize, features: usize, outputs: usize) {
        self.tokens = panels * TOKENS;
        self.x.resize(features.div_ceil(TOKENS) * TOKENS * self.tokens, 0.0);
        self.d.resize(outputs.div_ceil(OUTPUTS) * OUTPUTS * self.tokens, 0.0);
    }

    /// Takes the features from `first` (a multiple of 32) on: the first `count` rows of each panel.
    pub(super) fn set_x(&mut self, isa: Isa, first: usize, count: usize, x: Panels<'_>) {
        let size = TOKENS * TOKENS;
        for (panel, rows) in x.rows.chunks(x.stride).enumerate() {
            for (block, rows) in rows[..count].chunks(TOKENS).enumerate() {
                let at = (first / TOKENS + block) * self.tokens * TOKENS + panel * size;
                transpose::wide(isa, rows, &mut self.x[at..at + size]);
            }
        }
    }

    /// Takes the slopes of outputs from `first` (a multiple of 12) on: the first `count` rows of each panel.
    pub(super) fn set_d(&mut self, isa: Isa, first: usize, count: usize, d: Panels<'_>) {
        let size = TOKENS * OUTPUTS;
        for (panel, rows) in d.rows.chunks(d.stride).enumerate() {
            for (tile, rows) in rows[..count].chunks(OUTPUTS).enumerate() {
                let at = (first / OUTPUTS + tile) * self.tokens * OUTPUTS + panel * size;
                transpose::narrow(isa, rows, &mut self.d[at..at + size]);
            }
        }
    }
}

impl Linear {
    /// A layer of matrices `[.][features]`, with a bias each or none, whose outputs are `rows`.
    pub(super) fn new(
        features: usize,
        mut rows: Vec<Option<Row>>,
        weights: Vec<Index>,
        biases: Vec<Option<Index>>,
    ) -> Self {
        rows.resize(rows.len().next_multiple_of(OUTPUTS), None);
        let outputs = rows.len();
        Self {
            features,
            weights,
            biases,
            forward: Packed::empty(features, outputs),
            back: Packed::empty(outputs, features),
            slope: Vec::new(),
            bias_slope: Vec::new(),
            trains: true,
            rows,
        }
    }

    /// One whole matrix `[outputs][features]`.
    pub(super) fn whole(features: usize, outputs: usize, weight: Index, bias: Option<Index>) -> Self {
        let rows = (0..outputs).map(|row| Some(Row { part: 0, row, scale: 1.0 })).collect();
        Self::new(features, rows, vec![weight], vec![bias])
    }

    /// Outputs, the tiles' filling included.
    pub(super) fn outputs(&self) -> usize {
        self.rows.len()
    }

    /// The matrices.
    pub(super) fn weights(&self) -> &[Index] {
        &self.weights
    }

    /// Packs the weights as they are now.
    pub(super) fn refresh(&mut self, parameters: &Parameters) {
        let features = self.features;
        let parts: Vec<_> = self.weights.iter().map(|&w| parameters.effective(w)).collect();
        let mut joined = vec![0.0; self.rows.len() * features];
        let mut biases = vec![0.0; self.rows.len()];
        for (to, row) in joined.chunks_exact_mut(features).zip(&self.rows) {
            if let Some(row) = row {
                to.copy_from_slice(&parts[row.part][row.row * features..][..features]);
            }
        }
        self.back.fill_turned(features, &joined);
        for ((to, bias), row) in joined.chunks_exact_mut(features).zip(&mut biases).zip(&self.rows) {
            let Some(row) = row else { continue };
            *bias = self.biases[row.part].map_or(0.0, |b| parameters.values(b)[row.row] * row.scale);
            if row.scale != 1.0 {
                to.iter_mut().for_each(|x| *x *= row.scale);
            }
        }
        self.forward.fill(&joined, Some(&biases));
    }

    /// The layer's outputs for `x`, into `out` `[panels][outputs]`.
    pub(super) fn apply(&self, isa: Isa, shape: Shape, x: Panels<'_>, out: &mut Vec<Lanes>) {
        out.resize(shape.panels * self.forward.stride(), [0.0; TOKENS]);
        self.forward.start(out);
        self.forward.add(isa, shape, Input::floats(x), out);
    }

    /// The slopes of the layer's inputs for those of its outputs `d`, into `out` `[panels][padded(features)]`.
    pub(super) fn back_apply(&self, isa: Isa, shape: Shape, d: Panels<'_>, out: &mut Vec<Lanes>) {
        out.resize(shape.panels * self.back.stride(), [0.0; TOKENS]);
        self.back.start(out);
        self.back.add(isa, shape, Input::floats(d), out);
    }

    /// The tasks of adding the slopes of some chunks, in their order.
    pub(super) fn tasks<'a>(&'a mut self, chunks: &'a [&'a Operands]) -> Vec<Task<'a>> {
        if !self.trains {
            return Vec::new();
        }
        let blocks = self.features.div_ceil(TOKENS);
        let tiles = self.rows.len() / OUTPUTS;
        self.slope.resize(tiles * blocks * OUTPUTS * TOKENS, 0.0);
        self.bias_slope.resize(self.rows.len(), 0.0);
        let slopes = self.slope.chunks_mut(TILES * blocks * OUTPUTS * TOKENS);
        let biases = self.bias_slope.chunks_mut(TILES * OUTPUTS);
        let task = |(number, (slope, bias))| Task { first: number * TILES, blocks, slope, bias, chunks };
        slopes.zip(biases).enumerate().map(task).collect()
    }

    /// Moves the slopes to the parameters they are of.
    pub(super) fn collect(&mut self, parameters: &mut Parameters) {
        if self.slope.is_empty() {
            return;
        }
        let features = self.features;
        let blocks = features.div_ceil(TOKENS);
        let at = |row: usize| row / OUTPUTS * blocks * OUTPUTS * TOKENS + row % OUTPUTS * TOKENS;
        for (part, &weight) in self.weights.iter().enumerate() {
            let Some(to) = parameters.slope_mut(weight) else { continue };
            let rows: Vec<(usize, usize)> = self
                .rows
                .iter()
                .enumerate()
                .filter_map(|(place, row)| row.filter(|row| row.part == part).map(|row| (place, row.row)))
                .collect();
            for (place, row) in rows {
                let to = &mut to[row * features..][..features];
                for (block, to) in to.chunks_mut(TOKENS).enumerate() {
                    let from = &self.slope[at(place) + block * OUTPUTS * TOKENS..][..to.len()];
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                }
            }
        }
        for (part, bias) in self.biases.iter().enumerate() {
            let Some(to) = bias.and_then(|b| parameters.slope_mut(b)) else { continue };
            for (row, slope) in self.rows.iter().zip(&self.bias_slope) {
                if let Some(row) = row.filter(|row| row.part == part) {
                    to[row.row] += slope;
                }
            }
        }
        self.slope.fill(0.0);
        self.bias_slope.fill(0.0);
    }
}

/// Some tiles of a slope.
pub(super) struct Task<'a> {
    /// The first of its tiles in the layer.
    first: usize,
    blocks: usize,
    slope: &'a mut [f32],
    bias: &'a mut [f32],
    chunks: &'a [&'a Operands],
}

impl Task<'_> {
    /// Adds all chunks.
    pub(super) fn run(self, isa: Isa) {
        let Self { first: start_tile, blocks, slope, bias, chunks } = self;
        let size = OUTPUTS * TOKENS;
        for first in (0..blocks).step_by(BLOCKS) {
            let some = first..(first + BLOCKS).min(blocks);
            for operands in chunks {
                for start in (0..operands.tokens).step_by(SLICE) {
                    let tokens = SLICE.min(operands.tokens - start);
                    for (tile, slope) in slope.chunks_exact_mut(blocks * size).enumerate() {
                        let at = (start_tile + tile) * operands.tokens + start;
                        let d = &operands.d[at * OUTPUTS..][..tokens * OUTPUTS];
                        for block in some.clone() {
                            let at = block * operands.tokens + start;
                            let x = &operands.x[at * TOKENS..][..tokens * TOKENS];
                            if let Some(out) = slope[block * size..].first_chunk_mut() {
                                product(isa, d, x, &[], false, out);
                            }
                        }
                    }
                }
            }
        }
        for operands in chunks {
            for (tile, bias) in bias.chunks_exact_mut(OUTPUTS).enumerate() {
                let d = &operands.d[(start_tile + tile) * operands.tokens * OUTPUTS..];
                for row in d[..operands.tokens * OUTPUTS].chunks_exact(OUTPUTS) {
                    bias.iter_mut().zip(row).for_each(|(bias, d)| *bias += d);
                }
            }
        }
    }
}

/// Packs layers again after a step.
pub(super) fn refresh(layers: Vec<&mut Linear>, parameters: &Parameters) {
    layers.into_par_iter().with_max_len(1).for_each(|layer| layer.refresh(parameters));
}
