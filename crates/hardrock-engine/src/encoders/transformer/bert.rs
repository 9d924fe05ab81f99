//! BERT, and RoBERTa with its kin (XLM-R, CamemBERT), which differ in how places count.
//!
//! Devlin et al. 2019 (arXiv 1810.04805), Liu et al. 2019 (arXiv 1907.11692).

use serde::Deserialize;

use super::embeddings::{Embeddings, Positions};
use super::layer::{Activation, Attention, Feed, Layer, Norm, Norms, Projections};
use super::load::Loader;
use super::packed::Packed;
use super::{Network, Pooling, Transformer};
use crate::encoders::{Error, Result, Tensors};

/// `config.json` as transformers writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    pub(super) hidden_act: String,
    #[serde(default = "eps")]
    pub(super) layer_norm_eps: f64,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    pad_token_id: Option<u32>,
    #[serde(default)]
    is_decoder: bool,
}

fn eps() -> f64 {
    1e-12
}

/// How places count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// From 0.
    FromZero,
    /// From behind the id of the padding token.
    BehindPadding,
}

/// Builds the model.
///
/// # Errors
/// [`Error::Missing`], [`Error::Shape`], [`Error::Read`]; [`Error::Unsupported`] for relative places, decoders and
/// unknown activations.
pub fn load(config: &Config, places: Places, tensors: &dyn Tensors, pooling: Pooling) -> Result<Transformer> {
    Ok(Transformer::new(network(config, places, tensors)?, pooling))
}

pub(super) fn network(config: &Config, places: Places, tensors: &dyn Tensors) -> Result<Network> {
    if let Some(kind) = config.position_embedding_type.as_deref().filter(|&kind| kind != "absolute") {
        return Err(Error::Unsupported {
            what: "the position_embedding_type",
            got: kind.to_owned(),
            mend: "only absolute positions are supported",
        });
    }
    if config.is_decoder {
        return Err(Error::Unsupported {
            what: "is_decoder",
            got: "true".to_owned(),
            mend: "only encoders are supported",
        });
    }
    let hidden = config.hidden_size;
    let heads = super::heads(hidden, config.num_attention_heads)?;
    let prefix = match places {
        Places::FromZero => "bert.",
        Places::BehindPadding => "roberta.",
    };
    let loader = Loader::new(tensors, prefix, "embeddings.word_embeddings.weight")?;
    let norm = |name: &str| Norm::load(&loader, name, hidden, config.layer_norm_eps);
    let padding = match places {
        Places::FromZero => None,
        Places::BehindPadding => Some(config.pad_token_id.unwrap_or(1)),
    };
    let types = "embeddings.token_type_embeddings.weight";
    let embeddings = Embeddings {
        hidden,
        words: loader.table("embeddings.word_embeddings.weight", hidden)?,
        positions: Some(Positions {
            table: loader.table("embeddings.position_embeddings.weight", hidden)?,
            padding,
        }),
        types: if loader.has(types) { loader.table(types, hidden)? } else { Vec::new() },
        norm: Some(norm("embeddings.LayerNorm")?),
    };
    let activation = Activation::from_name(&config.hidden_act)?;
    let layer = |i: usize| -> Result<Layer> {
        let at = |name: &str| format!("encoder.layer.{i}.{name}");
        let names = ["query", "key", "value"].map(|name| at(&format!("attention.self.{name}")));
        let projections = Projections::load(&loader, names.each_ref().map(String::as_str), hidden, hidden)?;
        Ok(Layer {
            attention: Attention {
                heads: projections.pack(heads.count, heads.dim, hidden),
                dim: heads.dim,
                out: Packed::load(&loader, &at("attention.output.dense"), hidden, hidden)?,
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
                attention: norm(&at("attention.output.LayerNorm"))?,
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
        bias: None,
    })
}
