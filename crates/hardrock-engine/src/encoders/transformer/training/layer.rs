//! One layer over a chunk, there and back: attention and feed-forward network, a norm after each.

use std::ops::Range;

use crate::kernel::lanes::Lanes;
use crate::kernel::{Isa, OUTPUTS, TOKENS, slopes};

use super::super::layer::Activation;
use super::super::packed::{DEPTH, Input, Panels, Shape, padded};
use super::attention::{self, Place};
use super::dropout::Mask;
use super::linear::{Linear, Operands};
use super::norm::{Norm, Normed, Sums};
use super::parameters::Parameters;

/// A layer by its parts.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) heads: usize,
    /// Columns of a head.
    pub(super) dim: usize,
    /// For each head its queries, keys and values, below one another.
    pub(super) qkv: Linear,
    pub(super) out: Linear,
    pub(super) middle: Norm,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) last: Norm,
    pub(super) activation: Activation,
}

/// What a layer keeps of a chunk for the way back.
#[derive(Debug, Default)]
pub(super) struct Kept {
    qkv: Vec<Lanes>,
    context: Vec<Lanes>,
    middle: Normed,
    /// Before the activation: `[slices][panels][rows of the slice]`.
    inner: Vec<Lanes>,
    pub(super) last: Normed,
}

/// What the slopes of a layer's parameters are made of, for a chunk.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) qkv: Operands,
    pub(super) out: Operands,
    pub(super) up: Operands,
    pub(super) down: Operands,
    pub(super) middle: Sums,
    pub(super) last: Sums,
}

impl Found {
    fn reset(&mut self) {
        self.middle.clear();
        self.last.clear();
    }
}

/// A chunk on its way.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) isa: Isa,
    pub(super) parameters: &'a Parameters,
    pub(super) shape: Shape,
    pub(super) texts: &'a [Range<usize>],
    /// Per head, see [`Place::bias`]; empty for none.
    pub(super) bias: &'a [Vec<f32>],
    pub(super) mask: Option<&'a Mask>,
}

/// Space for one chunk.
#[derive(Debug, Default)]
pub(super) struct Space {
    y: Vec<Lanes>,
    z: Vec<Lanes>,
    hidden: Vec<Lanes>,
    slopes: Vec<Lanes>,
    attention: attention::Space,
}

/// Sites of a layer: one per head, then these.
const AFTER_ATTENTION: usize = 0;
const AFTER_FEED: usize = 1;

impl Layer {
    /// Number of the first site of layer `number`; site 0 is that of the embeddings.
    fn sites(&self, number: usize) -> usize {
        1 + number * (self.heads + 2)
    }

    fn hidden(&self) -> usize {
        self.qkv.features
    }

    fn slices(&self) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let outputs = self.up.outputs();
        (0..outputs.div_ceil(DEPTH))
            .map(move |slice| (slice, slice * DEPTH..((slice + 1) * DEPTH).min(outputs)))
    }

    /// Heads with what they drop.
    fn each_head(&self, pass: &Pass<'_>, number: usize, mut run: impl FnMut(usize, Place<'_>)) {
        let stride = self.qkv.outputs();
        let size = padded(3 * self.dim);
        for head in 0..self.heads {
            let site = pass
                .mask
                .and_then(|mask| mask.site(self.sites(number) + 2 + head, mask.attention, pass.shape.panels));
            let place = Place {
                isa: pass.isa,
                dim: self.dim,
                stride,
                row: head * self.dim,
                out_stride: padded(self.heads * self.dim),
                bias: pass.bias.get(head).map_or(&[], Vec::as_slice),
                mask: site.as_ref(),
            };
            run(head * size, place);
        }
    }

    /// Adds `linear` of `x` to `to`, with numbers dropped out at a site.
    fn add_dropped(
        &self,
        pass: &Pass<'_>,
        site: usize,
        spare: &mut Vec<Lanes>,
        to: &mut [Lanes],
        linear: &Linear,
        add: impl FnOnce(&mut [Lanes]),
    ) {
        let panels = pass.shape.panels;
        match pass.mask.and_then(|mask| mask.site(site, mask.rate, panels)) {
            // One chain from the residual on, as without training.
            None => {
                linear.forward.add_bias(to);
                add(to);
            }
            Some(site) => {
                spare.resize(to.len(), [0.0; TOKENS]);
                linear.forward.start(spare);
                add(spare);
                site.apply(pass.isa, self.hidden(), to.len() / panels, spare);
                slopes::add(pass.isa, to, spare);
            }
        }
    }

    /// Takes `x` `[panels][padded(hidden)]` through layer `number`.
    pub(super) fn forward(
        &self,
        pass: &Pass<'_>,
        number: usize,
        x: &mut [Lanes],
        kept: &mut Kept,
        space: &mut Space,
    ) {
        let (isa, shape, panels) = (pass.isa, pass.shape, pass.shape.panels);
        let Space { y, z, hidden, attention, .. } = space;
        let stride = x.len() / panels.max(1);
        self.qkv.apply(isa, shape, Panels { rows: x, stride }, &mut kept.qkv);
        let out_stride = padded(self.heads * self.dim);
        kept.context.clear();
        kept.context.resize(panels * out_stride, [0.0; TOKENS]);
        self.each_head(pass, number, |first, place| {
            for text in pass.texts {
                attention.forward(place, text.clone(), &kept.qkv[first..], &mut kept.context);
            }
        });
        let context = Panels { rows: &kept.context, stride: out_stride };
        self.add_dropped(pass, self.sites(number) + AFTER_ATTENTION, z, x, &self.out, |to| {
            self.out.forward.add(isa, shape, Input::floats(context), to);
        });
        self.middle.forward(isa, pass.parameters, x, &mut kept.middle);
        y.clear();
        y.extend_from_slice(x);
        kept.inner.resize(panels * self.up.outputs(), [0.0; TOKENS]);
        let inner = &mut kept.inner;
        self.add_dropped(pass, self.sites(number) + AFTER_FEED, z, x, &self.down, |to| {
            for (slice, rows) in self.slices() {
                let tiles = rows.start / OUTPUTS..rows.end / OUTPUTS;
                let inner = &mut inner[panels * rows.start..panels * rows.end];
                self.up.forward.tiles_of(isa, shape, tiles, Input::floats(Panels { rows: y, stride }), inner);
                hidden.clear();
                hidden.extend_from_slice(inner);
                self.activation.apply(isa, hidden);
                let rows = Panels { rows: hidden, stride: rows.len() };
                self.down.forward.add_slice(isa, shape, slice, Input::floats(rows), to);
            }
        });
        self.last.forward(isa, pass.parameters, x, &mut kept.last);
    }

    /// Turns the slopes `d` of the layer's output into those of its input `x`, and finds what the slopes of its parameters
    /// are made of. Slopes of the bias by distance are added to `bias`, per head.
    #[expect(clippy::too_many_arguments, reason = "what goes in and what comes out, once")]
    pub(super) fn backward(
        &self,
        pass: &Pass<'_>,
        number: usize,
        x: &[Lanes],
        kept: &Kept,
        d: &mut Vec<Lanes>,
        found: &mut Found,
        bias: &mut [Vec<f32>],
        space: &mut Space,
    ) {
        let (isa, shape, panels) = (pass.isa, pass.shape, pass.shape.panels);
        let Space { y, z, hidden, slopes: inner_d, attention } = space;
        let (features, stride) = (self.hidden(), d.len() / panels.max(1));
        let drop = |site: usize, z: &mut [Lanes]| {
            if let Some(site) = pass.mask.and_then(|mask| mask.site(site, mask.rate, panels)) {
                site.apply(isa, features, stride, z);
            }
        };
        found.reset();
        let Found { qkv, out, up, down, middle, last } = found;
        let count = self.up.outputs();

        self.last.backward(isa, pass.parameters, &kept.last, d, last);
        z.clear();
        z.extend_from_slice(d);
        drop(self.sites(number) + AFTER_FEED, z);
        y.resize(d.len(), [0.0; TOKENS]);
        self.middle.again(isa, pass.parameters, &kept.middle, y);
        if self.down.trains {
            down.reset(panels, count, self.down.outputs());
            down.set_d(isa, 0, stride, Panels { rows: z, stride });
        }
        if self.up.trains {
            up.reset(panels, features, count);
            up.set_x(isa, 0, features, Panels { rows: y, stride });
        }
        for (slice, rows) in self.slices() {
            let size = rows.len();
            let inner = &kept.inner[panels * rows.start..panels * rows.end];
            if self.down.trains {
                hidden.clear();
                hidden.extend_from_slice(inner);
                self.activation.apply(isa, hidden);
                down.set_x(isa, rows.start, size, Panels { rows: hidden, stride: size });
            }
            inner_d.resize(panels * size, [0.0; TOKENS]);
            let tiles = rows.start / OUTPUTS..rows.end / OUTPUTS;
            self.down.back.tiles_of(isa, shape, tiles, Input::floats(Panels { rows: z, stride }), inner_d);
            self.activation.slope(isa, inner, inner_d);
            if self.up.trains {
                up.set_d(isa, rows.start, size, Panels { rows: inner_d, stride: size });
            }
            self.up.back.add_slice(
                isa,
                shape,
                slice,
                Input::floats(Panels { rows: inner_d, stride: size }),
                d,
            );
        }

        self.middle.backward(isa, pass.parameters, &kept.middle, d, middle);
        z.clear();
        z.extend_from_slice(d);
        drop(self.sites(number) + AFTER_ATTENTION, z);
        let out_stride = padded(self.heads * self.dim);
        if self.out.trains {
            out.reset(panels, self.out.features, self.out.outputs());
            out.set_d(isa, 0, stride, Panels { rows: z, stride });
            out.set_x(isa, 0, self.out.features, Panels { rows: &kept.context, stride: out_stride });
        }
        self.out.back_apply(isa, shape, Panels { rows: z, stride }, hidden);
        inner_d.clear();
        inner_d.resize(kept.qkv.len(), [0.0; TOKENS]);
        let mut head = 0;
        self.each_head(pass, number, |first, place| {
            let bias = bias.get_mut(head).map_or(&mut [][..], Vec::as_mut_slice);
            for text in pass.texts {
                let qkv = &kept.qkv[first..];
                attention.backward(place, text.clone(), qkv, hidden, &mut inner_d[first..], bias);
            }
            head += 1;
        });
        let joined = Panels { rows: inner_d, stride: self.qkv.outputs() };
        if self.qkv.trains {
            qkv.reset(panels, features, self.qkv.outputs());
            qkv.set_x(isa, 0, features, Panels { rows: x, stride });
            qkv.set_d(isa, 0, joined.stride, joined);
        }
        self.qkv.back.add(isa, shape, Input::floats(joined), d);
    }
}

impl Activation {
    /// Multiplies `d` by the slope at `x`.
    fn slope(self, isa: Isa, x: &[Lanes], d: &mut [Lanes]) {
        match self {
            Self::Gelu => slopes::gelu_slope(isa, x, d),
            Self::GeluTanh => slopes::gelu_tanh_slope(isa, x, d),
            Self::Relu => slopes::relu_slope(isa, x, d),
            Self::Silu => slopes::silu_slope(isa, x, d),
        }
    }
}
