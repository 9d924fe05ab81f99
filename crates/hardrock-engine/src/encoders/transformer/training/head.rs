//! Pooling and what follows it, there and back.

use std::ops::Range;

use rayon::prelude::*;

use crate::encoders::head::Activation;
use crate::encoders::{Error, Result, Tensors};
use crate::index::rows::{norm, normalise};
use crate::kernel::lanes::Lanes;
use crate::kernel::{Isa, TOKENS, dots};

use super::super::pooling::Pooling;
use super::parameters::{Index, Parameters};

/// A step after pooling, as training is asked for it.
#[derive(Clone, Copy)]
pub enum HeadStep<'a> {
    /// `activation(weight x + bias)` with `linear.weight` `[to][from]`, `linear.bias` `[to]` among `tensors`.
    Dense {
        /// Where the weights come from.
        tensors: &'a dyn Tensors,
        /// Columns that come in.
        from: usize,
        /// Columns that go out.
        to: usize,
        /// Whether there is a bias.
        bias: bool,
        /// The function after it.
        activation: Activation,
    },
    /// To unit length.
    Normalize,
}

#[derive(Debug)]
enum Step {
    Dense { weight: Index, bias: Option<Index>, from: usize, to: usize, activation: Activation },
    Normalize,
}

/// All steps.
#[derive(Debug)]
pub(super) struct Head {
    steps: Vec<Step>,
    pub(super) dim: usize,
}

/// What a step keeps of a batch: what came in, and what came out before the activation.
#[derive(Debug)]
pub(super) struct Kept {
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Head {
    /// Reads the steps after vectors of `dim` columns.
    ///
    /// # Errors
    /// [`Error::Shape`] for a dense layer that takes another number of columns than come to it; as
    /// [`Parameters::take`].
    pub(super) fn new(parameters: &mut Parameters, mut dim: usize, steps: &[HeadStep<'_>]) -> Result<Self> {
        let mut own = Vec::new();
        let mut part = 0;
        for step in steps {
            match *step {
                HeadStep::Normalize => own.push(Step::Normalize),
                HeadStep::Dense { tensors, from, to, bias, activation } => {
                    part += 1;
                    let name = || "linear.weight".to_owned();
                    if from != dim {
                        return Err(Error::Shape {
                            name: name(),
                            expected: vec![to, dim],
                            got: vec![to, from],
                        });
                    }
                    let weight = parameters.take(part, tensors, name(), &[Some(to), Some(from)])?;
                    let mut take = || parameters.take(part, tensors, "linear.bias".to_owned(), &[Some(to)]);
                    let bias = if bias { Some(take()?) } else { None };
                    own.push(Step::Dense { weight, bias, from, to, activation });
                    dim = to;
                }
            }
        }
        Ok(Self { steps: own, dim })
    }

    /// The vectors of `pooled` `[texts][hidden]`, and what the way back needs.
    pub(super) fn forward(
        &self,
        isa: Isa,
        parameters: &Parameters,
        pooled: Vec<f32>,
    ) -> (Vec<f32>, Vec<Kept>) {
        let mut x = pooled;
        let mut dim = match self.steps.iter().find(|step| matches!(step, Step::Dense { .. })) {
            Some(Step::Dense { from, .. }) => *from,
            _ => self.dim,
        };
        let mut all = Vec::new();
        for step in &self.steps {
            let input = x.clone();
            let output = match step {
                Step::Normalize => {
                    x.par_chunks_mut(dim.max(1)).for_each(normalise);
                    Vec::new()
                }
                Step::Dense { weight, bias, from, to, activation } => {
                    let (weight, texts) = (parameters.values(*weight), input.len() / from);
                    let mut out = vec![0.0; texts * to];
                    out.par_chunks_mut(*to).zip(input.par_chunks(*from)).for_each(|(out, x)| {
                        dots(isa, x, weight, out);
                        if let Some(bias) = bias {
                            out.iter_mut().zip(parameters.values(*bias)).for_each(|(y, b)| *y += b);
                        }
                    });
                    x = out.iter().map(|&y| activation.of(y)).collect();
                    dim = *to;
                    out
                }
            };
            all.push(Kept { input, output });
        }
        (x, all)
    }

    /// Turns the slopes `d` of the vectors into those of what was pooled, and adds those of the dense layers.
    pub(super) fn backward(&self, parameters: &mut Parameters, kept: &[Kept], mut d: Vec<f32>) -> Vec<f32> {
        let mut dim = self.dim;
        for (step, kept) in self.steps.iter().zip(kept).rev() {
            match step {
                Step::Normalize => {
                    d.par_chunks_mut(dim.max(1))
                        .zip(kept.input.par_chunks(dim.max(1)))
                        .for_each(|(d, x)| unit_slope(x, d));
                }
                Step::Dense { weight, bias, from, to, activation } => {
                    d.iter_mut().zip(&kept.output).for_each(|(d, &y)| *d *= slope(*activation, y));
                    let (from, to) = (*from, *to);
                    let matrix = parameters.values(*weight);
                    let mut below = vec![0.0; d.len() / to * from];
                    below.par_chunks_mut(from).zip(d.par_chunks(to)).for_each(|(below, d)| {
                        for (d, row) in d.iter().zip(matrix.chunks_exact(from)) {
                            below.iter_mut().zip(row).for_each(|(x, w)| *x = d.mul_add(*w, *x));
                        }
                    });
                    if let Some(slope) = parameters.slope_mut(*weight) {
                        slope.par_chunks_mut(from).enumerate().for_each(|(output, row)| {
                            for (d, x) in d.chunks_exact(to).zip(kept.input.chunks_exact(from)) {
                                row.iter_mut().zip(x).for_each(|(w, x)| *w = d[output].mul_add(*x, *w));
                            }
                        });
                    }
                    if let Some(slope) = bias.and_then(|b| parameters.slope_mut(b)) {
                        for d in d.chunks_exact(to) {
                            slope.iter_mut().zip(d).for_each(|(b, d)| *b += d);
                        }
                    }
                    d = below;
                    dim = from;
                }
            }
        }
        d
    }
}

/// The slope of a function at `x`.
fn slope(activation: Activation, x: f32) -> f32 {
    let y = activation.of(x);
    match activation {
        Activation::Identity => 1.0,
        Activation::Tanh => 1.0 - y * y,
        Activation::Relu => f32::from(u8::from(x > 0.0)),
        Activation::Sigmoid => y * (1.0 - y),
        Activation::Silu => {
            let s = Activation::Sigmoid.of(x);
            s + y * (1.0 - s)
        }
    }
}

/// Turns the slope of `x` at unit length into that of `x`; a zero vector has none.
fn unit_slope(x: &[f32], d: &mut [f32]) {
    let length = norm(x);
    if length <= 0.0 {
        d.fill(0.0);
        return;
    }
    let along: f64 = x.iter().zip(&*d).map(|(x, d)| f64::from(*x) * f64::from(*d)).sum::<f64>() / length;
    for (x, d) in x.iter().zip(d) {
        *d = ((f64::from(*d) - f64::from(*x) / length * along) / length) as f32;
    }
}

/// Writes the slopes `d` of the vector of the text at `tokens` of a chunk to those of its tokens `out`
/// `[panels][stride]`; `x` is what was pooled.
pub(super) fn unpool(
    pooling: Pooling,
    x: &[Lanes],
    stride: usize,
    tokens: Range<usize>,
    d: &[f32],
    out: &mut [Lanes],
) {
    let count = tokens.len() as f64;
    let whole = count * (count + 1.0) / 2.0;
    for (k, &d) in d.iter().enumerate() {
        let at = |token: usize| token / TOKENS * stride + k;
        let best = match pooling {
            Pooling::Max => tokens
                .clone()
                .reduce(|best, t| if x[at(t)][t % TOKENS] > x[at(best)][best % TOKENS] { t } else { best }),
            Pooling::Cls => tokens.clone().next(),
            Pooling::LastToken => tokens.clone().next_back(),
            _ => None,
        };
        for (place, token) in tokens.clone().enumerate() {
            let share = match pooling {
                Pooling::Mean => 1.0 / count,
                Pooling::MeanSqrtLength => 1.0 / count.sqrt(),
                Pooling::WeightedMean => (place + 1) as f64 / whole,
                Pooling::Cls | Pooling::LastToken | Pooling::Max => f64::from(u8::from(best == Some(token))),
            };
            out[at(token)][token % TOKENS] = (f64::from(d) * share) as f32;
        }
    }
}
