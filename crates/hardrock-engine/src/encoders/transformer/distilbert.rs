//! DistilBERT: BERT with half the layers and no token types.
//!
//! Sanh et al. 2019 (arXiv 1910.01108).

use serde::Deserialize;

use super::embeddings::{Embeddings, Positions};
use super::layer::{Activation, Attention, Feed, Layer, Norm, Norms, Projections};
use super::load::Loader;
use super::packed::Packed;
use super::{Network, Pooling, Transformer};
use crate::encoders::{Result, Tensors};

/// `config.json` as transformers writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    pub(super) activation: String,
}

/// Added to a variance; the model has no setting for it.
pub(super) const EPS: f64 = 1e-12;

/// Builds the model.
///
/// # Errors
/// [`crate::encoders::Error::Missing`], [`crate::encoders::Error::Shape`], [`crate::encoders::Error::Read`];
/// [`crate::encoders::Error::Unsupported`] for an unknown activation.
pub fn load(config: &Config, tensors: &dyn Tensors, pooling: Pooling) -> Result<Transformer> {
    Ok(Transformer::new(network(config, tensors)?, pooling))
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
