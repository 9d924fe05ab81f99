//! A layer norm in training.

use crate::kernel::lanes::Lanes;
use crate::kernel::{Isa, TOKENS, slopes};

use super::super::packed::padded;
use super::parameters::{Index, Parameters};

/// A layer norm by its parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub(super) gain: Index,
    pub(super) bias: Index,
    pub(super) eps: f32,
}

/// What a norm keeps of a chunk.
#[derive(Debug, Default)]
pub(super) struct Normed {
    /// Mean 0 and variance 1, `[panels][padded(features)]`.
    pub(super) x: Vec<Lanes>,
    /// One over the deviation, `[panels]`.
    inverse: Vec<Lanes>,
}

/// The slopes of a norm's gain and bias over a chunk, `[2][features]`.
pub(super) type Sums = Vec<f32>;

impl Norm {
    /// Norms `x` `[panels][padded(features)]` and keeps what the way back needs.
    pub(super) fn forward(&self, isa: Isa, parameters: &Parameters, x: &mut [Lanes], kept: &mut Normed) {
        let features = parameters.values(self.gain).len();
        let stride = padded(features);
        kept.x.resize(x.len(), [0.0; TOKENS]);
        kept.x.copy_from_slice(x);
        kept.inverse.clear();
        for panel in kept.x.chunks_exact_mut(stride) {
            kept.inverse.push(slopes::normalise(isa, &mut panel[..features], self.eps));
        }
        self.again(isa, parameters, kept, x);
    }

    /// The norm's output from what it kept.
    pub(super) fn again(&self, isa: Isa, parameters: &Parameters, kept: &Normed, out: &mut [Lanes]) {
        let (gain, bias) = (parameters.values(self.gain), parameters.values(self.bias));
        let stride = padded(gain.len());
        for (x, out) in kept.x.chunks_exact(stride).zip(out.chunks_exact_mut(stride)) {
            slopes::affine(isa, &x[..gain.len()], gain, bias, out);
        }
    }

    /// Turns the slopes `d` of the output into those of the input; adds those of gain and bias to `sums`.
    pub(super) fn backward(
        &self,
        isa: Isa,
        parameters: &Parameters,
        kept: &Normed,
        d: &mut [Lanes],
        sums: &mut Sums,
    ) {
        let gain = parameters.values(self.gain);
        let features = gain.len();
        sums.resize(2 * features, 0.0);
        let (gains, biases) = sums.split_at_mut(features);
        let stride = padded(features);
        for ((x, d), inverse) in
            kept.x.chunks_exact(stride).zip(d.chunks_exact_mut(stride)).zip(&kept.inverse)
        {
            slopes::norm_sums(isa, &x[..features], &d[..features], gains, biases);
            slopes::norm_slope(isa, &x[..features], gain, inverse, &mut d[..features]);
        }
    }

    /// Adds a chunk's slopes to the parameters'.
    pub(super) fn collect(&self, parameters: &mut Parameters, sums: &Sums) {
        for (index, sums) in
            [self.gain, self.bias].into_iter().zip(sums.chunks_exact((sums.len() / 2).max(1)))
        {
            if let Some(slope) = parameters.slope_mut(index) {
                slope.iter_mut().zip(sums).for_each(|(slope, x)| *slope += x);
            }
        }
    }
}
