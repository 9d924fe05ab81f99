//! DistilBERT: BERT with half the layers and no token types.
//!
//! Sanh et al. 2019 (arXiv 1910.01108).

use serde::Deserialize;

use super::embeddings::{Embeddings, Positions};
use super::layer::{Activation, Attention, Feed, Layer, Norm, Norms, Projections};
use super::load::Loader;
use super::packed::Packed;
use super::training::plan::{LayerNames, Plan};
use super::{Classifier, Network, Pooling, Transformer};
use crate::encoders::head::{self, Dense};
use crate::encoders::{Result, Tensors};

/// `config.json` as transformers writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    activation: String,
    /// Only a random start asks for these: a folder's tables say it themselves.
    #[serde(default)]
    vocab_size: usize,
    #[serde(default)]
    max_position_embeddings: usize,
}

/// Added to a variance; the model has no setting for it.
const EPS: f64 = 1e-12;

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
    let width = config.dim;
    let dense = Dense::named(tensors, "pre_classifier", width, Some(width), head::Activation::Relu)?;
    let out = Dense::named(tensors, "classifier", width, None, head::Activation::Identity)?;
    Ok(Classifier::new(load(config, tensors, Pooling::Cls)?, dense, None, out))
}

/// The names and sizes that training goes by.
///
/// # Errors
/// As [`load`].
pub(super) fn plan(config: &Config) -> Result<Plan> {
    let layer = |i: usize| {
        let at = |name: &str| format!("transformer.layer.{i}.{name}");
        LayerNames {
            sides: ["q_lin", "k_lin", "v_lin"].map(|name| at(&format!("attention.{name}"))),
            out: at("attention.out_lin"),
            middle: at("sa_layer_norm"),
            up: at("ffn.lin1"),
            down: at("ffn.lin2"),
            last: at("output_layer_norm"),
        }
    };
    Ok(Plan {
        prefix: "distilbert.",
        hidden: config.dim,
        heads: config.n_heads,
        inner: config.hidden_dim,
        eps: EPS,
        activation: Activation::from_name(&config.activation)?,
        padding: None,
        types: None,
        layers: (0..config.n_layers).map(layer).collect(),
        bias: None,
        rows: [config.vocab_size, config.max_position_embeddings, 0],
    })
}

pub(super) fn network(config: &Config, tensors: &dyn Tensors) -> Result<Network> {
    let hidden = config.dim;
    let heads = super::heads(hidden, config.n_heads)?;
    let loader = Loader::new(tensors, "distilbert.", "embeddings.word_embeddings.weight")?;
    let norm = |name: &str| Norm::load(&loader, name, hidden, EPS);
    let embeddings = Embeddings {
        hidden,
        words: loader.table("embeddings.word_embeddings.weight", hidden)?,
        positions: Some(Positions {
            table: loader.table("embeddings.position_embeddings.weight", hidden)?,
            padding: None,
        }),
        types: Vec::new(),
        norm: Some(norm("embeddings.LayerNorm")?),
    };
    let activation = Activation::from_name(&config.activation)?;
    let layer = |i: usize| -> Result<Layer> {
        let at = |name: &str| format!("transformer.layer.{i}.{name}");
        let names = ["q_lin", "k_lin", "v_lin"].map(|name| at(&format!("attention.{name}")));
        let projections = Projections::load(&loader, names.each_ref().map(String::as_str), hidden, hidden)?;
        Ok(Layer {
            attention: Attention {
                heads: projections.pack(heads.count, heads.dim, hidden),
                dim: heads.dim,
                out: Packed::load(&loader, &at("attention.out_lin"), hidden, hidden)?,
                rotation: None,
                window: None,
            },
            feed: Feed {
                up: Packed::load(&loader, &at("ffn.lin1"), config.hidden_dim, hidden)?,
                gate: None,
                down: Packed::load(&loader, &at("ffn.lin2"), hidden, config.hidden_dim)?,
                activation,
            },
            norms: Norms::After {
                attention: norm(&at("sa_layer_norm"))?,
                feed: norm(&at("output_layer_norm"))?,
            },
        })
    };
    Ok(Network {
        embeddings,
        layers: (0..config.n_layers).map(layer).collect::<Result<_>>()?,
        norm: None,
        rotations: Vec::new(),
        head: heads.dim,
        bias: None,
    })
}
