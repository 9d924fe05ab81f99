//! One layer of a transformer over a chunk: attention and feed-forward network, norms before or after.

use std::ops::Range;

use crate::encoders::Result;
use crate::kernel::lanes::{self, Lanes};
use crate::kernel::{Isa, OUTPUTS, TOKENS};

use super::attention::{self, Sight};
use super::coded::Coded;
use super::load::Loader;
use super::packed::{DEPTH, Packed, Panels, Shape, padded};

/// The function between the two halves of a feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Gelu,
    GeluTanh,
    Relu,
    Silu,
}

impl Activation {
    /// By the name that transformers has for it.
    ///
    /// # Errors
    /// [`crate::encoders::Error::Unsupported`].
    pub(super) fn from_name(name: &str) -> Result<Self> {
        match name {
            "gelu" | "gelu_python" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            "silu" | "swish" | "swiglu" => Ok(Self::Silu),
            _ => Err(crate::encoders::Error::Unsupported {
                what: "the activation",
                got: name.to_owned(),
                mend: "known are gelu, gelu_new, relu and silu",
            }),
        }
    }

    pub(super) fn apply(self, isa: Isa, x: &mut [Lanes]) {
        match self {
            Self::Gelu => lanes::gelu(isa, x),
            Self::GeluTanh => lanes::gelu_tanh(isa, x),
            Self::Relu => lanes::relu(isa, x),
            Self::Silu => lanes::silu(isa, x),
        }
    }
}

/// A layer norm over the features of each token.
#[derive(Debug)]
pub(super) struct Norm {
    gain: Vec<f32>,
    /// Empty for none.
    bias: Vec<f32>,
    eps: f32,
}

impl Norm {
    /// Reads the norm `name`; its bias where it has one.
    ///
    /// # Errors
    /// See [`Loader::vector`].
    pub(super) fn load(loader: &Loader<'_>, name: &str, features: usize, eps: f64) -> Result<Self> {
        // TensorFlow's names live on in some files.
        let old = format!("{name}.gamma");
        let (gain, bias) = match loader.has(&old) {
            true => (loader.vector(&old, features)?, loader.optional(&format!("{name}.beta"), features)?),
            false => (
                loader.vector(&format!("{name}.weight"), features)?,
                loader.optional(&format!("{name}.bias"), features)?,
            ),
        };
        Ok(Self { gain, bias: bias.unwrap_or_default(), eps: eps as f32 })
    }

    /// Norms `x` `[panels][stride]`.
    pub(super) fn apply(&self, isa: Isa, x: &mut [Lanes]) {
        let features = self.gain.len();
        for panel in x.chunks_exact_mut(padded(features)) {
            lanes::layer_norm(isa, &mut panel[..features], &self.gain, &self.bias, self.eps);
        }
    }
}

/// How queries, keys and values come from a token, head by head.
#[derive(Debug)]
pub(super) struct Attention {
    /// For each head its queries, keys and values, below one another.
    pub(super) heads: Vec<Packed>,
    /// Columns of a head.
    pub(super) dim: usize,
    pub(super) out: Packed,
    /// Whether and how the layer turns queries and keys: which of the network's rotations.
    pub(super) rotation: Option<usize>,
    /// Keys that a query sees at most on each side.
    pub(super) window: Option<usize>,
}

/// The three weights of an attention, each `[heads * dim][hidden]`, with their biases.
pub(super) struct Projections {
    pub(super) query: (Vec<f32>, Option<Vec<f32>>),
    pub(super) key: (Vec<f32>, Option<Vec<f32>>),
    pub(super) value: (Vec<f32>, Option<Vec<f32>>),
}

impl Projections {
    /// Three layers by their names.
    ///
    /// # Errors
    /// See [`Loader::matrix`].
    pub(super) fn load(loader: &Loader<'_>, names: [&str; 3], outputs: usize, hidden: usize) -> Result<Self> {
        let one = |name: &str| -> Result<(Vec<f32>, Option<Vec<f32>>)> {
            let weight = loader.matrix(&format!("{name}.weight"), outputs, hidden)?;
            Ok((weight, loader.optional(&format!("{name}.bias"), outputs)?))
        };
        let [query, key, value] = names;
        Ok(Self { query: one(query)?, key: one(key)?, value: one(value)? })
    }

    /// One layer that holds the three below one another.
    ///
    /// # Errors
    /// See [`Loader::matrix`].
    pub(super) fn load_joined(
        loader: &Loader<'_>,
        name: &str,
        outputs: usize,
        hidden: usize,
    ) -> Result<Self> {
        let weight = loader.matrix(&format!("{name}.weight"), 3 * outputs, hidden)?;
        let bias = loader.optional(&format!("{name}.bias"), 3 * outputs)?;
        let one = |part: usize| {
            let bias = bias.as_ref().map(|b| b[part * outputs..][..outputs].to_vec());
            (weight[part * outputs * hidden..][..outputs * hidden].to_vec(), bias)
        };
        Ok(Self { query: one(0), key: one(1), value: one(2) })
    }

    /// Packs them head by head; the scale of the scores and the change to powers of two go into the queries.
    pub(super) fn pack(mut self, heads: usize, dim: usize, hidden: usize) -> Vec<Packed> {
        let scale = (std::f64::consts::LOG2_E / (dim as f64).sqrt()) as f32;
        self.query.0.iter_mut().chain(self.query.1.iter_mut().flatten()).for_each(|x| *x *= scale);
        let parts = [&self.query, &self.key, &self.value];
        let pack = |head: usize| {
            let rows = |(weight, _): &(Vec<f32>, _)| weight[head * dim * hidden..][..dim * hidden].to_vec();
            let biases = |(_, bias): &(_, Option<Vec<f32>>)| match bias {
                Some(bias) => bias[head * dim..][..dim].to_vec(),
                None => vec![0.0; dim],
            };
            let weight: Vec<f32> = parts.iter().flat_map(|p| rows(p)).collect();
            let bias: Vec<f32> = parts.iter().flat_map(|p| biases(p)).collect();
            Packed::new(hidden, &weight, Some(&bias))
        };
        (0..heads).map(pack).collect()
    }
}

/// A feed-forward network, with a gate or without.
#[derive(Debug)]
pub(super) struct Feed {
    /// What goes through the activation.
    pub(super) up: Packed,
    /// What the result is multiplied with.
    pub(super) gate: Option<Packed>,
    pub(super) down: Packed,
    pub(super) activation: Activation,
}

/// Where the norms of a layer stand.
#[derive(Debug)]
pub(super) enum Norms {
    /// After each half, its residual included.
    After { attention: Norm, feed: Norm },
    /// Before each half; the first layer's attention may have none.
    Before { attention: Option<Norm>, feed: Norm },
}

/// One layer.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention: Attention,
    pub(super) feed: Feed,
    pub(super) norms: Norms,
}

/// Angles of a rotation for the tokens of a chunk, `[panels][dim / 2]`.
#[derive(Debug, Default)]
pub(super) struct Angles {
    pub(super) cos: Vec<Lanes>,
    pub(super) sin: Vec<Lanes>,
}

/// What all layers see of a chunk.
pub(super) struct Chunk<'a> {
    pub(super) shape: Shape,
    /// The texts' places among the chunk's tokens.
    pub(super) texts: &'a [Range<usize>],
    pub(super) rotations: &'a [Angles],
    /// Per head, see [`Sight`]; empty for none.
    pub(super) bias: &'a [Vec<f32>],
}

/// Space for one chunk; `x` holds its activations `[panels][padded(hidden)]`.
#[derive(Debug, Default)]
pub(super) struct Space {
    pub(super) x: Vec<Lanes>,
    /// The activations that a half reads while it writes to the others.
    y: Vec<Lanes>,
    qkv: Vec<Lanes>,
    context: Vec<Lanes>,
    hidden: Vec<Lanes>,
    gate: Vec<Lanes>,
    attention: attention::Space,
    /// What a half reads, where its weights are in 8 bits.
    input: Coded,
    /// What the second product of a half reads.
    inner: Coded,
}

fn resized(rows: &mut Vec<Lanes>, length: usize) -> &mut [Lanes] {
    rows.resize(length, [0.0; TOKENS]);
    &mut rows[..length]
}

impl Layer {
    /// Rounds the weights to 8 bits.
    pub(super) fn round(&mut self) {
        let Self { attention, feed, .. } = self;
        let layers = attention.heads.iter_mut().chain([&mut attention.out, &mut feed.up, &mut feed.down]);
        layers.chain(&mut feed.gate).for_each(Packed::round);
    }

    /// Runs the layer on `space.x`.
    pub(super) fn run(&self, isa: Isa, chunk: &Chunk<'_>, space: &mut Space) {
        match &self.norms {
            Norms::After { attention, feed } => {
                self.attend(isa, chunk, space, false);
                attention.apply(isa, &mut space.x);
                space.y.clone_from(&space.x);
                self.feed(isa, chunk, space);
                feed.apply(isa, &mut space.x);
            }
            Norms::Before { attention, feed } => {
                space.y.clone_from(&space.x);
                if let Some(norm) = attention {
                    norm.apply(isa, &mut space.y);
                }
                self.attend(isa, chunk, space, true);
                space.y.clone_from(&space.x);
                feed.apply(isa, &mut space.y);
                self.feed(isa, chunk, space);
            }
        }
    }

    /// Adds attention over `y` (or over `x` itself) to `x`.
    fn attend(&self, isa: Isa, chunk: &Chunk<'_>, space: &mut Space, from_y: bool) {
        let Attention { heads, dim, out, rotation, window } = &self.attention;
        let (panels, dim) = (chunk.shape.panels, *dim);
        let stride = padded(heads.len() * dim);
        let Space { x, y, qkv, context, attention, input, inner, .. } = space;
        let rows = if from_y { &*y } else { &*x };
        let from = Panels { rows, stride: x.len() / panels.max(1) };
        resized(context, panels * stride);
        // All heads read the same.
        let Some(input) = heads.first().map(|head| head.read(isa, chunk.shape, from, input)) else { return };
        for (number, head) in heads.iter().enumerate() {
            let qkv = resized(qkv, panels * head.stride());
            head.start(qkv);
            head.add(isa, chunk.shape, input, qkv);
            if let Some(angles) = rotation.and_then(|r| chunk.rotations.get(r)) {
                turn(isa, dim, head.stride(), angles, qkv);
            }
            let bias = chunk.bias.get(number).map_or(&[][..], Vec::as_slice);
            let sight = Sight { window: *window, bias };
            let head = attention::Head { dim, stride: head.stride(), row: number * dim, out_stride: stride };
            for text in chunk.texts {
                attention.attend(isa, head, text.clone(), qkv, sight, context);
            }
        }
        out.add_bias(x);
        let context = out.read(isa, chunk.shape, Panels { rows: context, stride }, inner);
        out.add(isa, chunk.shape, context, x);
    }

    /// Adds the network of `y` to `x`, a slice of its hidden features at a time.
    fn feed(&self, isa: Isa, chunk: &Chunk<'_>, space: &mut Space) {
        let Feed { up, gate, down, activation } = &self.feed;
        let Space { x, y, hidden, gate: gated, input, inner, .. } = space;
        let panels = chunk.shape.panels;
        let from = Panels { rows: y, stride: x.len() / panels.max(1) };
        let input = up.read(isa, chunk.shape, from, input);
        down.add_bias(x);
        for slice in 0..down.slices() {
            let first = slice * DEPTH / OUTPUTS;
            let tiles = first..(first + DEPTH / OUTPUTS).min(up.stride() / OUTPUTS);
            let stride = tiles.len() * OUTPUTS;
            let hidden = resized(hidden, panels * stride);
            up.tiles_of(isa, chunk.shape, tiles.clone(), input, hidden);
            activation.apply(isa, hidden);
            if let Some(gate) = gate {
                let gated = resized(gated, panels * stride);
                gate.tiles_of(isa, chunk.shape, tiles, input, gated);
                lanes::multiply(isa, hidden, gated);
            }
            let hidden = down.read_slice(isa, chunk.shape, slice, Panels { rows: hidden, stride }, inner);
            down.add_slice(isa, chunk.shape, slice, hidden, x);
        }
    }
}

/// Turns queries and keys `[panels][stride]`, the first half of each head's columns with the second.
fn turn(isa: Isa, dim: usize, stride: usize, angles: &Angles, qkv: &mut [Lanes]) {
    let half = dim / 2;
    let panels = qkv.chunks_exact_mut(stride);
    for (panel, (cos, sin)) in
        panels.zip(angles.cos.chunks_exact(half.max(1)).zip(angles.sin.chunks_exact(half.max(1))))
    {
        for side in panel[..2 * dim].chunks_exact_mut(dim) {
            let (first, second) = side.split_at_mut(half);
            lanes::rotate(isa, first, second, cos, sin);
        }
    }
}
