//! A layer's weights, packed once for the product kernel.
//!
//! Blocks of twelve outputs stand one after another for a slice of at most [`DEPTH`] features, so that a block and the
//! activations that it meets stay in the first caches; a sum goes on from slice to slice in one chain.

use crate::encoders::Result;
use crate::kernel::lanes::Lanes;
use crate::kernel::{Isa, OUTPUTS, TOKENS, product};

use super::coded::{Coded, Eight};
use super::load::Loader;

/// Features of a slice; a multiple of [`OUTPUTS`].
pub(super) const DEPTH: usize = 384;

/// `rows` rounded up to whole tiles.
pub(super) fn padded(rows: usize) -> usize {
    rows.next_multiple_of(OUTPUTS)
}

/// Activations of a chunk, `[panels][stride]` rows of 32 tokens.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) rows: &'a [Lanes],
    /// Rows of a panel, of which a layer reads the first.
    pub(super) stride: usize,
}

/// How many panels a chunk has, and whether the last holds at most half of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) panels: usize,
    pub(super) half: bool,
}

impl Shape {
    pub(super) fn of(tokens: usize) -> Self {
        let rest = tokens % TOKENS;
        Self { panels: tokens.div_ceil(TOKENS), half: (1..=TOKENS / 2).contains(&rest) }
    }

    /// Whether only the first half of the panel counts.
    pub(super) fn is_half(self, panel: usize) -> bool {
        self.half && panel + 1 == self.panels
    }
}

/// Activations as a layer has read them, see [`Packed::read`].
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    x: Panels<'a>,
    coded: &'a Coded,
}

impl<'a> Input<'a> {
    /// Activations for layers of floats, which those that learn are.
    pub(super) fn floats(x: Panels<'a>) -> Self {
        Self { x, coded: Coded::NONE }
    }
}

#[derive(Debug)]
enum Weights {
    /// `[slices][tiles][features of the slice][OUTPUTS]`.
    Floats(Vec<f32>),
    Codes(Eight),
}

/// A linear layer.
#[derive(Debug)]
pub(super) struct Packed {
    features: usize,
    /// Tiles of outputs.
    tiles: usize,
    weights: Weights,
    /// `[tiles * OUTPUTS]`.
    bias: Vec<f32>,
}

impl Packed {
    /// Packs the rows `weight` `[outputs][features]`, in the order given, with `bias` `[outputs]` or none.
    pub(super) fn new(features: usize, weight: &[f32], bias: Option<&[f32]>) -> Self {
        let outputs = weight.len().checked_div(features).unwrap_or(0);
        let mut packed = Self::empty(features, outputs);
        packed.fill(weight, bias);
        packed
    }

    /// A layer of zeros.
    pub(super) fn empty(features: usize, outputs: usize) -> Self {
        let tiles = outputs.div_ceil(OUTPUTS);
        let (weights, bias) = (vec![0.0; tiles * OUTPUTS * features], vec![0.0; tiles * OUTPUTS]);
        Self { features, tiles, weights: Weights::Floats(weights), bias }
    }

    /// Takes other rows `weight` `[outputs][features]`, and other biases unless there are none. A layer of codes stays as it is.
    pub(super) fn fill(&mut self, weight: &[f32], bias: Option<&[f32]>) {
        let (features, tiles) = (self.features, self.tiles);
        let Weights::Floats(weights) = &mut self.weights else { return };
        for start in (0..features).step_by(DEPTH) {
            let depth = DEPTH.min(features - start);
            let slice = &mut weights[start * tiles * OUTPUTS..][..depth * tiles * OUTPUTS];
            for (output, row) in weight.chunks_exact(features).enumerate() {
                let tile = &mut slice[output / OUTPUTS * depth * OUTPUTS..][..depth * OUTPUTS];
                for (place, &x) in tile.chunks_exact_mut(OUTPUTS).zip(&row[start..start + depth]) {
                    place[output % OUTPUTS] = x;
                }
            }
        }
        self.bias.iter_mut().zip(bias.unwrap_or_default()).for_each(|(to, &x)| *to = x);
    }

    /// Takes the columns of `weight` `[features][outputs]` for its rows: the way back through a layer.
    pub(super) fn fill_turned(&mut self, outputs: usize, weight: &[f32]) {
        let (features, tiles) = (self.features, self.tiles);
        let Weights::Floats(weights) = &mut self.weights else { return };
        for (feature, row) in weight.chunks_exact(outputs).enumerate() {
            let start = feature / DEPTH * DEPTH;
            let depth = DEPTH.min(features - start);
            let slice = &mut weights[start * tiles * OUTPUTS..][..depth * tiles * OUTPUTS];
            for (tile, from) in slice.chunks_exact_mut(depth * OUTPUTS).zip(row.chunks(OUTPUTS)) {
                tile[(feature - start) * OUTPUTS..][..from.len()].copy_from_slice(from);
            }
        }
    }

    /// Rounds the weights to 8 bits; activations are rounded where they are read from then on.
    pub(super) fn round(&mut self) {
        if let Weights::Floats(weights) = &self.weights {
            self.weights = Weights::Codes(Eight::new(self.features, self.tiles, weights));
        }
    }

    /// Makes `x` ready for this layer, in `coded` where the layer needs that; other layers of as many features and the same
    /// precision may take the answer too.
    pub(super) fn read<'a>(&self, isa: Isa, shape: Shape, x: Panels<'a>, coded: &'a mut Coded) -> Input<'a> {
        self.read_rows(isa, shape, self.features, x, coded)
    }

    /// Like [`Packed::read`] for one slice of features, with which `x` begins.
    pub(super) fn read_slice<'a>(
        &self,
        isa: Isa,
        shape: Shape,
        slice: usize,
        x: Panels<'a>,
        coded: &'a mut Coded,
    ) -> Input<'a> {
        self.read_rows(isa, shape, self.depth(slice), x, coded)
    }

    fn read_rows<'a>(
        &self,
        isa: Isa,
        shape: Shape,
        features: usize,
        x: Panels<'a>,
        coded: &'a mut Coded,
    ) -> Input<'a> {
        if matches!(self.weights, Weights::Codes(_)) {
            coded.read(isa, shape, features, x);
        }
        Input { x, coded }
    }

    /// Features of a slice.
    fn depth(&self, slice: usize) -> usize {
        DEPTH.min(self.features - slice * DEPTH)
    }

    /// Reads the layer `name`, from `features` to `outputs`; its bias where it has one.
    ///
    /// # Errors
    /// See [`Loader::matrix`].
    pub(super) fn load(loader: &Loader<'_>, name: &str, outputs: usize, features: usize) -> Result<Self> {
        let weight = loader.matrix(&format!("{name}.weight"), outputs, features)?;
        let bias = loader.optional(&format!("{name}.bias"), outputs)?;
        Ok(Self::new(features, &weight, bias.as_deref()))
    }

    /// Reads two layers of `outputs` each that lie below one another in the layer `name`.
    ///
    /// # Errors
    /// See [`Loader::matrix`].
    pub(super) fn load_halves(
        loader: &Loader<'_>,
        name: &str,
        outputs: usize,
        features: usize,
    ) -> Result<(Self, Self)> {
        let weight = loader.matrix(&format!("{name}.weight"), 2 * outputs, features)?;
        let bias = loader.optional(&format!("{name}.bias"), 2 * outputs)?;
        let (first, second) = weight.split_at(outputs * features);
        let biases = bias.as_ref().map(|b| b.split_at(outputs));
        Ok((
            Self::new(features, first, biases.map(|b| b.0)),
            Self::new(features, second, biases.map(|b| b.1)),
        ))
    }

    /// Rows that a panel of outputs takes.
    pub(super) fn stride(&self) -> usize {
        self.tiles * OUTPUTS
    }

    /// Slices of features.
    pub(super) fn slices(&self) -> usize {
        self.features.div_ceil(DEPTH)
    }

    /// Sets every row of `out` `[panels][stride]` to its bias.
    pub(super) fn start(&self, out: &mut [Lanes]) {
        self.start_rows(0..self.tiles, out);
    }

    /// Adds the bias to every row of `out` `[panels][stride]`.
    pub(super) fn add_bias(&self, out: &mut [Lanes]) {
        for panel in out.chunks_exact_mut(self.stride()) {
            for (row, &bias) in panel.iter_mut().zip(&self.bias) {
                row.iter_mut().for_each(|x| *x += bias);
            }
        }
    }

    fn start_rows(&self, tiles: std::ops::Range<usize>, out: &mut [Lanes]) {
        let bias = &self.bias[tiles.start * OUTPUTS..tiles.end * OUTPUTS];
        for panel in out.chunks_exact_mut(bias.len().max(1)) {
            panel.iter_mut().zip(bias).for_each(|(row, &bias)| *row = [bias; TOKENS]);
        }
    }

    /// Adds the layer's products with `x` to `out` `[panels][stride]`.
    pub(super) fn add(&self, isa: Isa, shape: Shape, x: Input<'_>, out: &mut [Lanes]) {
        for slice in 0..self.slices() {
            self.add_tiles(isa, shape, [slice; 2], 0..self.tiles, x, out);
        }
    }

    /// Adds the products of one slice of features, as [`Packed::read_slice`] has read it.
    pub(super) fn add_slice(&self, isa: Isa, shape: Shape, slice: usize, x: Input<'_>, out: &mut [Lanes]) {
        self.add_tiles(isa, shape, [slice, 0], 0..self.tiles, x, out);
    }

    /// Sets `out` `[panels][rows of the tiles]` to some tiles of outputs, bias included.
    pub(super) fn tiles_of(
        &self,
        isa: Isa,
        shape: Shape,
        tiles: std::ops::Range<usize>,
        x: Input<'_>,
        out: &mut [Lanes],
    ) {
        self.start_rows(tiles.clone(), out);
        for slice in 0..self.slices() {
            self.add_tiles(isa, shape, [slice; 2], tiles.clone(), x, out);
        }
    }

    /// Adds the products of the layer's slice with one of `x`.
    fn add_tiles(
        &self,
        isa: Isa,
        shape: Shape,
        [slice, of_x]: [usize; 2],
        tiles: std::ops::Range<usize>,
        x: Input<'_>,
        out: &mut [Lanes],
    ) {
        let depth = self.depth(slice);
        let weights = match &self.weights {
            Weights::Floats(weights) => weights,
            Weights::Codes(eight) => {
                return eight.add(isa, shape, [slice, of_x], depth, self.tiles, tiles, x.coded, out);
            }
        };
        let (block, x) = (depth * OUTPUTS, x.x);
        let rows = x.rows.get(of_x * DEPTH..).unwrap_or_default();
        let weights = &weights[slice * DEPTH * self.stride()..][..self.tiles * block];
        let stride = tiles.len() * OUTPUTS;
        for (to, tile) in tiles.enumerate() {
            let now = &weights[tile * block..][..block];
            let next = weights.get((tile + 1) * block..(tile + 2) * block).unwrap_or_default();
            // Each panel fetches its part of the next block.
            let part = next.len().div_ceil(shape.panels.max(1));
            for panel in 0..shape.panels {
                let tokens = &rows[panel * x.stride..][..depth];
                let ahead = next.get(panel * part..).unwrap_or_default();
                let rows = &mut out[panel * stride + to * OUTPUTS..][..OUTPUTS];
                if let Some(tile) = rows.as_flattened_mut().first_chunk_mut() {
                    product(isa, now, tokens.as_flattened(), ahead, shape.is_half(panel), tile);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_its_matrix_over_slices_and_uneven_tiles() {
        let (features, outputs, tokens) = (DEPTH + 5, 29, 45);
        let number = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 50.0;
        let weight: Vec<f32> = (0..features * outputs).map(number).collect();
        let bias: Vec<f32> = (0..outputs).map(|i| number(i + 3)).collect();
        let layer = Packed::new(features, &weight, Some(&bias));
        let shape = Shape::of(tokens);
        assert_eq!(shape, Shape { panels: 2, half: true });
        let stride = features + 7;
        let rows: Vec<Lanes> =
            (0..2 * stride).map(|i| std::array::from_fn(|l| number(i * 5 + l * 3))).collect();
        let x = Panels { rows: &rows, stride };
        let mut coded = Coded::default();
        let x = layer.read(Isa::best(), shape, x, &mut coded);
        for isa in Isa::available() {
            let mut out = vec![[9.0; TOKENS]; 2 * layer.stride()];
            layer.start(&mut out);
            layer.add(isa, shape, x, &mut out);
            let mut some = vec![[9.0; TOKENS]; 2 * OUTPUTS];
            layer.tiles_of(isa, shape, 1..2, x, &mut some);
            for token in 0..tokens {
                let (panel, lane) = (token / TOKENS, token % TOKENS);
                for output in 0..outputs {
                    let mut want = bias[output];
                    for k in 0..features {
                        want = weight[output * features + k].mul_add(rows[panel * stride + k][lane], want);
                    }
                    assert_eq!(out[panel * layer.stride() + output][lane], want);
                    if (OUTPUTS..2 * OUTPUTS).contains(&output) {
                        assert_eq!(some[panel * OUTPUTS + output - OUTPUTS][lane], want);
                    }
                }
                for row in outputs..layer.stride() {
                    assert_eq!(out[panel * layer.stride() + row][lane], 0.0);
                }
            }
        }
    }

    #[test]
    fn a_rounded_layer_is_near_its_matrix_and_the_same_on_every_instruction_set() {
        let (features, outputs, tokens) = (DEPTH + 5, 29, 45);
        let number = |i: usize| ((i * 7919 % 1009) as f32 - 504.0) / 504.0;
        let weight: Vec<f32> = (0..features * outputs).map(number).collect();
        let bias: Vec<f32> = (0..outputs).map(|i| number(i + 3)).collect();
        let mut layer = Packed::new(features, &weight, Some(&bias));
        layer.round();
        let shape = Shape::of(tokens);
        let stride = features + 7;
        let rows: Vec<Lanes> =
            (0..2 * stride).map(|i| std::array::from_fn(|l| number(i * 5 + l * 3))).collect();
        let mut first: Option<Vec<Lanes>> = None;
        for isa in Isa::available() {
            let mut coded = Coded::default();
            let x = layer.read(isa, shape, Panels { rows: &rows, stride }, &mut coded);
            let mut out = vec![[0.0; TOKENS]; 2 * layer.stride()];
            layer.start(&mut out);
            layer.add(isa, shape, x, &mut out);
            let mut some = vec![[9.0; TOKENS]; 2 * OUTPUTS];
            layer.tiles_of(isa, shape, 1..2, x, &mut some);
            // The second slice alone, read alone, with the first slice's share added before it.
            let mut sliced = vec![[0.0; TOKENS]; 2 * layer.stride()];
            layer.start(&mut sliced);
            for slice in 0..2 {
                let mut coded = Coded::default();
                let rest = Panels { rows: &rows[slice * DEPTH..], stride };
                let x = layer.read_slice(isa, shape, slice, rest, &mut coded);
                layer.add_slice(isa, shape, slice, x, &mut sliced);
            }
            assert_eq!(sliced, out);
            for token in 0..tokens {
                let (panel, lane) = (token / TOKENS, token % TOKENS);
                for output in 0..outputs {
                    let row = &weight[output * features..][..features];
                    let products = row.iter().zip(&rows[panel * stride..]).map(|(w, x)| w * x[lane]);
                    let want = bias[output] + products.sum::<f32>();
                    let got = out[panel * layer.stride() + output][lane];
                    assert!((got - want).abs() < 0.25, "{got} {want}");
                    if (OUTPUTS..2 * OUTPUTS).contains(&output) {
                        assert_eq!(some[panel * OUTPUTS + output - OUTPUTS][lane], got);
                    }
                }
            }
            assert_eq!(first.get_or_insert(out.clone()), &out, "{}", isa.name());
        }
    }
}
