//! What follows the pooling of a model: dense layers, unit length, the first columns.

use rayon::prelude::*;

use super::{Encoder, Error, Result, Tensor, Tensors};
use crate::index::rows::normalise;
use crate::kernel::{Isa, dots};

/// The function after a dense layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `tanh(x)`.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x / (1 + exp(-x))`.
    Silu,
}

impl Activation {
    /// From the last word of the name that PyTorch has for it: `Tanh` of `torch.nn.modules.activation.Tanh`.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn from_name(name: &str) -> Result<Self> {
        match name.rsplit('.').next().unwrap_or(name) {
            "Identity" => Ok(Self::Identity),
            "Tanh" => Ok(Self::Tanh),
            "ReLU" => Ok(Self::Relu),
            "Sigmoid" => Ok(Self::Sigmoid),
            "SiLU" => Ok(Self::Silu),
            _ => Err(Error::Unsupported {
                what: "the activation of a dense layer",
                got: name.to_owned(),
                mend: "known are Identity, Tanh, ReLU, Sigmoid and SiLU",
            }),
        }
    }

    /// The function of one value.
    pub fn of(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Tanh => x.tanh(),
            Self::Relu => x.max(0.0),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Silu => x / (1.0 + (-x).exp()),
        }
    }
}

/// `activation(weight x + bias)`.
#[derive(Debug)]
pub struct Dense {
    /// `[to][from]`.
    weight: Vec<f32>,
    /// `[to]`.
    bias: Option<Vec<f32>>,
    from: usize,
    to: usize,
    activation: Activation,
}

impl Dense {
    /// The layer `linear.weight` `[to][from]`, with `linear.bias` `[to]` if `bias` says so.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`], [`Error::Read`].
    pub fn load(
        tensors: &dyn Tensors,
        from: usize,
        to: usize,
        bias: bool,
        activation: Activation,
    ) -> Result<Self> {
        if bias && !tensors.has("linear.bias") {
            return Err(Error::Missing("linear.bias".to_owned()));
        }
        let layer = Self::named(tensors, "linear", from, Some(to), activation)?;
        Ok(Self { bias: layer.bias.filter(|_| bias), ..layer })
    }

    /// The layer `name.weight` `[to][from]`, with `name.bias` `[to]` where there is one; without `to` as many rows as
    /// there are.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`], [`Error::Read`].
    pub(crate) fn named(
        tensors: &dyn Tensors,
        name: &str,
        from: usize,
        to: Option<usize>,
        activation: Activation,
    ) -> Result<Self> {
        let get = |part: &str| -> Result<Option<(String, Tensor)>> {
            let name = format!("{name}.{part}");
            Ok(tensors.get(&name)?.map(|tensor| (name, tensor)))
        };
        let fits = |(name, tensor): (String, Tensor), expected: Vec<usize>| match tensor.shape == expected {
            true => Ok(tensor.values),
            false => Err(Error::Shape { name, expected, got: tensor.shape }),
        };
        let weight = get("weight")?.ok_or_else(|| Error::Missing(format!("{name}.weight")))?;
        let to = to.unwrap_or(weight.1.shape.first().copied().unwrap_or_default());
        let weight = fits(weight, vec![to, from])?;
        let bias = get("bias")?.map(|bias| fits(bias, vec![to])).transpose()?;
        Ok(Self { weight, bias, from, to, activation })
    }

    /// Columns of its answer.
    pub(crate) fn width(&self) -> usize {
        self.to
    }

    /// `x` `[from]` through the layer into `out` `[to]`.
    pub(crate) fn apply(&self, isa: Isa, x: &[f32], out: &mut [f32]) {
        dots(isa, x, &self.weight, out);
        if let Some(bias) = &self.bias {
            out.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
        out.iter_mut().for_each(|y| *y = self.activation.of(*y));
    }
}

/// A step after pooling.
#[derive(Debug)]
pub enum Step {
    /// A dense layer.
    Dense(Dense),
    /// To unit length; a zero vector stays.
    Normalize,
    /// To the first columns.
    Truncate(usize),
}

/// An encoder with steps after it.
pub struct Head {
    inner: Box<dyn Encoder>,
    steps: Vec<Step>,
    dim: usize,
    /// Columns of the widest vector on the way.
    widest: usize,
}

impl Head {
    /// `inner` with `steps`, in their order.
    ///
    /// # Errors
    /// [`Error::Shape`] for a dense layer that takes another number of columns than come to it;
    /// [`Error::Unsupported`] for a truncation to no columns or more than there are.
    pub fn new(inner: Box<dyn Encoder>, steps: Vec<Step>) -> Result<Self> {
        let mut dim = inner.dim();
        let mut widest = dim;
        for step in &steps {
            dim = match step {
                Step::Dense(dense) if dense.from == dim => dense.to,
                Step::Dense(dense) => {
                    let (expected, got) = (vec![dense.to, dim], vec![dense.to, dense.from]);
                    return Err(Error::Shape { name: "linear.weight".to_owned(), expected, got });
                }
                Step::Normalize => dim,
                Step::Truncate(columns) if (1..=dim).contains(columns) => *columns,
                Step::Truncate(columns) => {
                    return Err(Error::Unsupported {
                        what: "a truncation to dimension",
                        got: format!("{columns} of {dim}"),
                        mend: "give at least 1 and at most what the model has",
                    });
                }
            };
            widest = widest.max(dim);
        }
        Ok(Self { inner, steps, dim, widest })
    }

    /// All steps on the vector in the first columns of `x` `[widest]`, which ends there too; `spare` `[widest]`.
    fn apply(&self, isa: Isa, x: &mut Vec<f32>, spare: &mut Vec<f32>) {
        let mut dim = self.inner.dim();
        for step in &self.steps {
            match step {
                Step::Dense(dense) => {
                    dense.apply(isa, &x[..dim], &mut spare[..dense.to]);
                    std::mem::swap(x, spare);
                    dim = dense.to;
                }
                Step::Normalize => normalise(&mut x[..dim]),
                Step::Truncate(columns) => dim = *columns,
            }
        }
    }
}

impl Encoder for Head {
    fn dim(&self) -> usize {
        self.dim
    }

    fn encode(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
        assert!(out.len() == texts.len() * self.dim, "a vector for each text");
        if self.steps.iter().all(|step| matches!(step, Step::Normalize)) {
            self.inner.encode(texts, out)?;
            if !self.steps.is_empty() {
                out.par_chunks_mut(self.dim).for_each(normalise);
            }
            return Ok(());
        }
        let from = self.inner.dim();
        let mut pooled = vec![0.0; texts.len() * from];
        self.inner.encode(texts, &mut pooled)?;
        let isa = Isa::best();
        let rows = out.par_chunks_mut(self.dim).zip(pooled.par_chunks(from));
        let spare = || (vec![0.0; self.widest], vec![0.0; self.widest]);
        rows.for_each_init(spare, |(x, spare), (row, pooled)| {
            x[..from].copy_from_slice(pooled);
            self.apply(isa, x, spare);
            row.copy_from_slice(&x[..self.dim]);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text's tokens as its vector.
    struct Echo(usize);

    impl Encoder for Echo {
        fn dim(&self) -> usize {
            self.0
        }

        fn encode(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()> {
            for (row, text) in out.chunks_mut(self.0).zip(texts) {
                row.iter_mut().zip(*text).for_each(|(x, &token)| *x = token as f32);
            }
            Ok(())
        }
    }

    /// A layer from 2 to 3 columns.
    struct Layer;

    impl Tensors for Layer {
        fn has(&self, name: &str) -> bool {
            self.get(name).is_ok_and(|tensor| tensor.is_some())
        }
        fn get(&self, name: &str) -> Result<Option<Tensor>> {
            Ok(match name {
                "linear.weight" => {
                    Some(Tensor { shape: vec![3, 2], values: vec![1.0, 0.0, 0.0, -1.0, 0.5, 0.5] })
                }
                "linear.bias" => Some(Tensor { shape: vec![3], values: vec![0.0, 1.0, 0.0] }),
                _ => None,
            })
        }
    }

    fn encode(dim: usize, steps: Vec<Step>, texts: &[&[u32]]) -> Vec<f32> {
        let head = Head::new(Box::new(Echo(dim)), steps).unwrap();
        let mut out = vec![f32::NAN; texts.len() * head.dim()];
        head.encode(texts, &mut out).unwrap();
        out
    }

    #[test]
    fn a_dense_layer_is_weight_bias_and_activation() {
        let dense = |bias, activation| Step::Dense(Dense::load(&Layer, 2, 3, bias, activation).unwrap());
        let texts: &[&[u32]] = &[&[2, 4], &[0, 0]];
        let plain = encode(2, vec![dense(false, Activation::Identity)], texts);
        assert_eq!(plain, [2.0, -4.0, 3.0, 0.0, 0.0, 0.0]);
        let relu = encode(2, vec![dense(true, Activation::Relu)], texts);
        assert_eq!(relu, [2.0, 0.0, 3.0, 0.0, 1.0, 0.0]);
        let tanh = encode(2, vec![dense(false, Activation::Tanh)], texts);
        assert_eq!(tanh[0], 2.0f32.tanh());
    }

    #[test]
    fn the_first_columns_are_normalised_again_where_that_is_asked() {
        let texts: &[&[u32]] = &[&[3, 4, 12], &[0, 0, 0]];
        let cut = encode(3, vec![Step::Truncate(2)], texts);
        assert_eq!(cut, [3.0, 4.0, 0.0, 0.0]);
        let unit = encode(3, vec![Step::Normalize, Step::Truncate(2), Step::Normalize], texts);
        assert!(unit.iter().zip([0.6, 0.8, 0.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-7), "{unit:?}");
        assert_eq!(encode(3, vec![], texts), [3.0, 4.0, 12.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn activations_have_the_names_that_pytorch_gives_them() {
        let all = [
            ("torch.nn.modules.activation.Tanh", Activation::Tanh, 0.761_594_2),
            ("torch.nn.modules.linear.Identity", Activation::Identity, 1.0),
            ("torch.nn.modules.activation.ReLU", Activation::Relu, 1.0),
            ("torch.nn.modules.activation.Sigmoid", Activation::Sigmoid, 0.731_058_6),
            ("torch.nn.modules.activation.SiLU", Activation::Silu, 0.731_058_6),
        ];
        for (name, activation, at_one) in all {
            assert_eq!(Activation::from_name(name).unwrap(), activation);
            assert!((activation.of(1.0) - at_one).abs() < 1e-6, "{name}");
        }
        let error = Activation::from_name("torch.nn.modules.activation.Hardswish").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the activation of a dense layer `torch.nn.modules.activation.Hardswish` is not supported; \
             known are Identity, Tanh, ReLU, Sigmoid and SiLU"
        );
    }

    #[test]
    fn steps_that_do_not_fit_are_refused() {
        let dense = Dense::load(&Layer, 2, 3, true, Activation::Identity).unwrap();
        assert!(matches!(Head::new(Box::new(Echo(3)), vec![Step::Dense(dense)]), Err(Error::Shape { .. })));
        for columns in [0, 4] {
            let cut = Head::new(Box::new(Echo(3)), vec![Step::Truncate(columns)]);
            assert!(matches!(cut, Err(Error::Unsupported { .. })));
        }
        let wide = Dense::load(&Layer, 2, 4, true, Activation::Identity);
        assert!(matches!(wide, Err(Error::Shape { .. })));
    }
}
