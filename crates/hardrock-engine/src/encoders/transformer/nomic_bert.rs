//! NomicBERT: BERT with rotations instead of places and gated networks without biases.
//!
//! Nussbaum et al. 2024 (arXiv 2402.01613).

use serde::Deserialize;

use super::embeddings::Embeddings;
use super::layer::{Activation, Attention, Feed, Layer, Norm, Norms, Projections};
use super::load::Loader;
use super::packed::Packed;
use super::{Network, Pooling, Transformer};
use crate::encoders::{Error, Result, Tensors};

/// `config.json`, as transformers writes it and as the model's own code does.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    #[serde(alias = "n_embd")]
    hidden_size: usize,
    #[serde(alias = "n_layer")]
    num_hidden_layers: usize,
    #[serde(alias = "n_head")]
    num_attention_heads: usize,
    #[serde(alias = "n_inner")]
    intermediate_size: usize,
    #[serde(default = "silu", alias = "activation_function")]
    hidden_act: String,
    #[serde(default = "eps", alias = "layer_norm_epsilon")]
    layer_norm_eps: f64,
    #[serde(default)]
    rope_parameters: Option<Rope>,
    #[serde(default)]
    rotary_emb_base: Option<f64>,
    #[serde(default)]
    rotary_emb_fraction: Option<f64>,
    #[serde(default)]
    rotary_emb_interleaved: bool,
    #[serde(default)]
    prenorm: bool,
}

/// `rope_parameters`.
#[derive(Debug, Clone, Deserialize)]
struct Rope {
    #[serde(default)]
    rope_type: Option<String>,
    #[serde(default)]
    rope_theta: Option<f64>,
}

fn silu() -> String {
    "silu".to_owned()
}

fn eps() -> f64 {
    1e-12
}

/// The base where the configuration names none.
const BASE: f64 = 1000.0;

impl Config {
    fn check(&self) -> Result<()> {
        let unsupported = |what, got: String, mend| Err(Error::Unsupported { what, got, mend });
        let kind = self.rope_parameters.as_ref().and_then(|r| r.rope_type.as_deref()).unwrap_or("default");
        if kind != "default" {
            return unsupported("the rope_type", kind.to_owned(), "only the default rotation is supported");
        }
        if let Some(share) = self.rotary_emb_fraction.filter(|&share| share != 1.0) {
            return unsupported("rotary_emb_fraction", share.to_string(), "only 1.0 is supported");
        }
        if self.rotary_emb_interleaved || self.prenorm {
            let got = format!("{}, {}", self.rotary_emb_interleaved, self.prenorm);
            return unsupported("rotary_emb_interleaved, prenorm", got, "only false is supported");
        }
        Ok(())
    }
}

/// Builds the model.
///
/// # Errors
/// [`Error::Missing`], [`Error::Shape`], [`Error::Read`]; [`Error::Unsupported`] for other rotations and activations.
pub fn load(config: &Config, tensors: &dyn Tensors, pooling: Pooling) -> Result<Transformer> {
    Ok(Transformer::new(network(config, tensors)?, pooling))
}

pub(super) fn network(config: &Config, tensors: &dyn Tensors) -> Result<Network> {
    config.check()?;
    let hidden = config.hidden_size;
    let heads = super::heads(hidden, config.num_attention_heads)?;
    let words = "embeddings.word_embeddings.weight";
    let loader = Loader::new(tensors, "bert.", words)?;
    let norm = |name: &str| Norm::load(&loader, name, hidden, config.layer_norm_eps);
    let types = "embeddings.token_type_embeddings.weight";
    let embeddings = Embeddings {
        hidden,
        words: loader.table(words, hidden)?,
        positions: None,
        types: if loader.has(types) { loader.table(types, hidden)? } else { Vec::new() },
        norm: Some(norm("emb_ln")?),
    };
    let activation = Activation::from_name(&config.hidden_act)?;
    let layer = |i: usize| -> Result<Layer> {
        let at = |name: &str| format!("encoder.layers.{i}.{name}");
        let projections = Projections::load_joined(&loader, &at("attn.Wqkv"), hidden, hidden)?;
        let inner = config.intermediate_size;
        Ok(Layer {
            attention: Attention {
                heads: projections.pack(heads.count, heads.dim, hidden),
                dim: heads.dim,
                out: Packed::load(&loader, &at("attn.out_proj"), hidden, hidden)?,
                rotation: Some(0),
                window: None,
            },
            feed: Feed {
                // The second of the two goes through the activation.
                up: Packed::load(&loader, &at("mlp.fc12"), inner, hidden)?,
                gate: Some(Packed::load(&loader, &at("mlp.fc11"), inner, hidden)?),
                down: Packed::load(&loader, &at("mlp.fc2"), hidden, inner)?,
                activation,
            },
            norms: Norms::After { attention: norm(&at("norm1"))?, feed: norm(&at("norm2"))? },
        })
    };
    let base = config.rope_parameters.as_ref().and_then(|r| r.rope_theta).or(config.rotary_emb_base);
    Ok(Network {
        embeddings,
        layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
        norm: None,
        rotations: vec![base.unwrap_or(BASE)],
        head: heads.dim,
        bias: None,
    })
}
