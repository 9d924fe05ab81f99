//! ModernBERT: rotations instead of places, layers that see the whole text or a window in turn, gated networks, norms
//! before each half.
//!
//! Warner et al. 2024 (arXiv 2412.13663).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::embeddings::Embeddings;
use super::layer::{Activation, Attention, Feed, Layer, Norm, Norms, Projections};
use super::load::Loader;
use super::packed::Packed;
use super::{Network, Pooling, Transformer};
use crate::encoders::{Error, Result, Tensors};

/// `config.json` as transformers writes it, now and before its version 5.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_activation: String,
    #[serde(default = "eps")]
    pub(super) norm_eps: f64,
    #[serde(default = "every")]
    global_attn_every_n_layers: usize,
    /// Of the head of a masked language model.
    #[serde(default = "gelu")]
    pub(super) classifier_activation: String,
    #[serde(default)]
    layer_types: Option<Vec<String>>,
    #[serde(default = "local")]
    local_attention: usize,
    #[serde(default)]
    global_rope_theta: Option<f64>,
    #[serde(default)]
    local_rope_theta: Option<f64>,
    #[serde(default)]
    rope_parameters: Option<BTreeMap<String, Option<Rope>>>,
}

/// One entry of `rope_parameters`.
#[derive(Debug, Clone, Deserialize)]
struct Rope {
    #[serde(default)]
    rope_type: Option<String>,
    #[serde(default)]
    rope_theta: Option<f64>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn eps() -> f64 {
    1e-5
}

fn every() -> usize {
    3
}

fn local() -> usize {
    128
}

impl Config {
    /// Base of the rotation of layers of a kind.
    fn base(&self, kind: &str, given: Option<f64>, otherwise: f64) -> Result<f64> {
        let rope = self.rope_parameters.as_ref().and_then(|all| all.get(kind)).and_then(Option::as_ref);
        match rope.and_then(|rope| rope.rope_type.as_deref()) {
            None | Some("default") => {}
            Some(other) => {
                return Err(Error::Unsupported {
                    what: "the rope_type",
                    got: other.to_owned(),
                    mend: "only the default rotation is supported",
                });
            }
        }
        Ok(rope.and_then(|rope| rope.rope_theta).or(given).unwrap_or(otherwise))
    }

    fn sees_all(&self, layer: usize) -> bool {
        match &self.layer_types {
            Some(types) => types.get(layer).is_none_or(|kind| kind == "full_attention"),
            None => layer.is_multiple_of(self.global_attn_every_n_layers.max(1)),
        }
    }
}

/// Builds the model.
///
/// # Errors
/// [`Error::Missing`], [`Error::Shape`], [`Error::Read`]; [`Error::Unsupported`] for an unknown activation or rotation.
pub fn load(config: &Config, tensors: &dyn Tensors, pooling: Pooling) -> Result<Transformer> {
    Ok(Transformer::new(network(config, tensors)?, pooling))
}

pub(super) fn network(config: &Config, tensors: &dyn Tensors) -> Result<Network> {
    let hidden = config.hidden_size;
    let heads = super::heads(hidden, config.num_attention_heads)?;
    let loader = Loader::new(tensors, "model.", "embeddings.tok_embeddings.weight")?;
    let norm = |name: &str| Norm::load(&loader, name, hidden, config.norm_eps);
    let embeddings = Embeddings {
        hidden,
        words: loader.table("embeddings.tok_embeddings.weight", hidden)?,
        positions: None,
        types: Vec::new(),
        norm: Some(norm("embeddings.norm")?),
    };
    let activation = Activation::from_name(&config.hidden_activation)?;
    let rotations = vec![
        config.base("full_attention", config.global_rope_theta, 160_000.0)?,
        config.base("sliding_attention", config.local_rope_theta, 10_000.0)?,
    ];
    let layer = |i: usize| -> Result<Layer> {
        let at = |name: &str| format!("layers.{i}.{name}");
        let projections = Projections::load_joined(&loader, &at("attn.Wqkv"), hidden, hidden)?;
        let (up, gate) = Packed::load_halves(&loader, &at("mlp.Wi"), config.intermediate_size, hidden)?;
        let all = config.sees_all(i);
        Ok(Layer {
            attention: Attention {
                heads: projections.pack(heads.count, heads.dim, hidden),
                dim: heads.dim,
                out: Packed::load(&loader, &at("attn.Wo"), hidden, hidden)?,
                rotation: Some(usize::from(!all)),
                window: (!all).then_some(config.local_attention / 2),
            },
            feed: Feed {
                up,
                gate: Some(gate),
                down: Packed::load(&loader, &at("mlp.Wo"), hidden, config.intermediate_size)?,
                activation,
            },
            norms: Norms::Before {
                // The embeddings' norm stands before the first layer's attention.
                attention: if i == 0 { None } else { Some(norm(&at("attn_norm"))?) },
                feed: norm(&at("mlp_norm"))?,
            },
        })
    };
    Ok(Network {
        embeddings,
        layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
        norm: Some(norm("final_norm")?),
        rotations,
        head: heads.dim,
        bias: None,
    })
}
