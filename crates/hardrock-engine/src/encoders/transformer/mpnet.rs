//! MPNet: BERT with a learned bias of attention by distance, and RoBERTa's places.
//!
//! Song et al. 2020 (arXiv 2004.09297); the buckets of distances are those of T5.

use serde::Deserialize;

use super::embeddings::{Embeddings, Positions};
use super::layer::{Activation, Attention, Feed, Layer, Norm, Norms, Projections};
use super::load::Loader;
use super::packed::Packed;
use super::training::plan::{Distances, LayerNames, Plan};
use super::{Bias, Classifier, Network, Pooling, Transformer};
use crate::encoders::head::{self, Dense};
use crate::encoders::{Result, Tensors};

/// `config.json` as transformers writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    #[serde(default = "eps")]
    layer_norm_eps: f64,
    #[serde(default = "buckets")]
    relative_attention_num_buckets: usize,
    /// Only a random start asks for these: a folder's tables say it themselves.
    #[serde(default)]
    vocab_size: usize,
    #[serde(default)]
    max_position_embeddings: usize,
}

fn eps() -> f64 {
    1e-12
}

fn buckets() -> usize {
    32
}

/// Distances beyond this share a bucket.
const FARTHEST: usize = 128;

/// The padding token's id, behind which places count; fixed in the model's code.
const PADDING: u32 = 1;

/// Builds the model.
///
/// # Errors
/// [`crate::encoders::Error::Missing`], [`crate::encoders::Error::Shape`], [`crate::encoders::Error::Read`];
/// [`crate::encoders::Error::Unsupported`] for an unknown activation.
pub fn load(config: &Config, tensors: &dyn Tensors, pooling: Pooling) -> Result<Transformer> {
    Ok(Transformer::new(network(config, tensors)?, pooling))
}

/// Builds the model with its classification head.
///
/// # Errors
/// As [`load`].
pub fn classifier(config: &Config, tensors: &dyn Tensors) -> Result<Classifier> {
    let width = config.hidden_size;
    let dense = Dense::named(tensors, "classifier.dense", width, Some(width), head::Activation::Tanh)?;
    let out = Dense::named(tensors, "classifier.out_proj", width, None, head::Activation::Identity)?;
    Ok(Classifier::new(load(config, tensors, Pooling::Cls)?, dense, None, out))
}

/// Biases by bucket of distance.
#[derive(Debug)]
struct Buckets {
    /// `[buckets][heads]`.
    table: Vec<f32>,
    heads: usize,
}

/// The bucket of a key so many places after its query (before it, if negative).
fn bucket(distance: isize, buckets: usize) -> usize {
    let side = buckets / 2;
    let later = if distance > 0 { side } else { 0 };
    let far = distance.unsigned_abs();
    let exact = side / 2;
    if far < exact {
        return later + far;
    }
    // In f32, as the model computed it when it was trained.
    let share = (far as f32 / exact as f32).ln() / ((FARTHEST as f64 / exact as f64).ln() as f32);
    later + (exact + (share * (side - exact) as f32) as usize).min(side - 1)
}

impl Bias for Buckets {
    fn by_distance(&self, reach: usize) -> Vec<Vec<f32>> {
        let buckets = self.table.len() / self.heads;
        let reach = reach as isize;
        let places: Vec<usize> = (-reach..=reach).rev().map(|distance| bucket(distance, buckets)).collect();
        let one = |head: usize| {
            let at = |&bucket: &usize| self.table[bucket * self.heads + head] * std::f32::consts::LOG2_E;
            places.iter().map(at).collect()
        };
        (0..self.heads).map(one).collect()
    }
}

/// The names and sizes that training goes by.
///
/// # Errors
/// As [`load`].
pub(super) fn plan(config: &Config) -> Result<Plan> {
    let layer = |i: usize| {
        let at = |name: &str| format!("encoder.layer.{i}.{name}");
        LayerNames {
            sides: ["q", "k", "v"].map(|name| at(&format!("attention.attn.{name}"))),
            out: at("attention.attn.o"),
            middle: at("attention.LayerNorm"),
            up: at("intermediate.dense"),
            down: at("output.dense"),
            last: at("output.LayerNorm"),
        }
    };
    Ok(Plan {
        prefix: "mpnet.",
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        inner: config.intermediate_size,
        eps: config.layer_norm_eps,
        activation: Activation::from_name(&config.hidden_act)?,
        padding: Some(PADDING),
        types: None,
        layers: (0..config.num_hidden_layers).map(layer).collect(),
        bias: Some(Distances { name: BIAS, buckets: config.relative_attention_num_buckets, bucket }),
        rows: [config.vocab_size, config.max_position_embeddings, 0],
    })
}

/// The table of biases by bucket of distance.
const BIAS: &str = "encoder.relative_attention_bias.weight";

pub(super) fn network(config: &Config, tensors: &dyn Tensors) -> Result<Network> {
    let hidden = config.hidden_size;
    let heads = super::heads(hidden, config.num_attention_heads)?;
    let loader = Loader::new(tensors, "mpnet.", "embeddings.word_embeddings.weight")?;
    let norm = |name: &str| Norm::load(&loader, name, hidden, config.layer_norm_eps);
    let embeddings = Embeddings {
        hidden,
        words: loader.table("embeddings.word_embeddings.weight", hidden)?,
        positions: Some(Positions {
            table: loader.table("embeddings.position_embeddings.weight", hidden)?,
            padding: Some(PADDING),
        }),
        types: Vec::new(),
        norm: Some(norm("embeddings.LayerNorm")?),
    };
    let activation = Activation::from_name(&config.hidden_act)?;
    let table = loader.matrix(BIAS, config.relative_attention_num_buckets, heads.count)?;
    let layer = |i: usize| -> Result<Layer> {
        let at = |name: &str| format!("encoder.layer.{i}.{name}");
        let names = ["q", "k", "v"].map(|name| at(&format!("attention.attn.{name}")));
        let projections = Projections::load(&loader, names.each_ref().map(String::as_str), hidden, hidden)?;
        Ok(Layer {
            attention: Attention {
                heads: projections.pack(heads.count, heads.dim, hidden),
                dim: heads.dim,
                out: Packed::load(&loader, &at("attention.attn.o"), hidden, hidden)?,
                rotation: None,
                window: None,
            },
            feed: Feed {
                up: Packed::load(&loader, &at("intermediate.dense"), config.intermediate_size, hidden)?,
                gate: None,
                down: Packed::load(&loader, &at("output.dense"), hidden, config.intermediate_size)?,
                activation,
            },
            norms: Norms::After {
                attention: norm(&at("attention.LayerNorm"))?,
                feed: norm(&at("output.LayerNorm"))?,
            },
        })
    };
    Ok(Network {
        embeddings,
        layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
        norm: None,
        rotations: Vec::new(),
        head: heads.dim,
        bias: Some(Box::new(Buckets { table, heads: heads.count })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_fall_into_the_buckets_of_t5() {
        let at = |distance| bucket(distance, 32);
        assert_eq!([at(0), at(-1), at(-7), at(-8), at(-15), at(-16)], [0, 1, 7, 8, 9, 10]);
        assert_eq!([at(1), at(7), at(8), at(127), at(5000), at(-5000)], [17, 23, 24, 31, 31, 15]);
    }
}
