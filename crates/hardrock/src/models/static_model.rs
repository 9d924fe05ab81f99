//! Static models: a table of token vectors, as Model2Vec and sentence-transformers save them.

use hardrock_engine::encoders::static_bag::StaticBag;
use hardrock_engine::encoders::{Tensor, Tensors};
use serde_json::Value;

use super::folder::Folder;
use super::open::Body;
use super::tokenizer::{Tokenizer, TokenizerConfig};
use super::weights::Weights;
use super::{ModelOptions, Precision};
use crate::{Error, Result};

/// Tokens of a text that Model2Vec looks at where the model does not say.
const MODEL2VEC_LENGTH: usize = 512;

/// What of a Model2Vec model's `config.json` decides the vectors.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Model2VecConfig {
    /// Whether vectors have unit length.
    #[serde(default)]
    pub(super) normalize: bool,
    /// Absent is not null: null takes texts as long as they are.
    #[serde(default = "unset")]
    max_length: Value,
}

fn unset() -> Value {
    Value::from(MODEL2VEC_LENGTH)
}

/// Whether the part of the folder holds a table of Model2Vec.
pub(super) fn is_model2vec(weights: &Weights) -> bool {
    weights.has("embeddings")
}

/// Refuses what a table cannot follow.
///
/// # Errors
/// [`Error::Usage`] for a precision of 8 bits.
fn check(folder: &Folder, part: &str, options: &ModelOptions) -> Result<()> {
    if options.precision == Some(Precision::Int8) {
        let place = folder.path(part);
        return Err(Error::usage(
            format!("{} is a static model, which has no products to compute in int8", place.display()),
            "leave --precision out: static models are fast as they are",
        ));
    }
    Ok(())
}

/// The table of Model2Vec, `embeddings` with optional `weights` and `mapping`.
///
/// # Errors
/// [`Error::Input`]; [`Error::Usage`] for a length of 0 and a precision of 8 bits.
pub(super) fn model2vec(
    folder: &Folder,
    part: &str,
    config: &Model2VecConfig,
    weights: &Weights,
    options: &ModelOptions,
) -> Result<Body> {
    check(folder, part, options)?;
    let own = config.max_length.as_u64().and_then(|length| usize::try_from(length).ok());
    let max_length = options.max_length.or(own);
    let tokenizer = Tokenizer::read(folder, part, false)?.like_model2vec(max_length)?;
    let tokenizer = tokenizer.cut(max_length, &TokenizerConfig::default())?;
    let failed = |e| folder.model_error(part, e);
    let get = |name| weights.get(name).map_err(failed);
    let mut bag = match get("embeddings")? {
        Some(table) => StaticBag::new("embeddings", table).map_err(failed)?,
        None => return Err(folder.error(part, "has no tensor `embeddings`", "fetch the model again")),
    };
    if let Some(Tensor { values, .. }) = get("mapping")? {
        // An id that is no whole number fits no row, so that it is refused like one beyond the table.
        let row = |x: &f32| if x.fract() == 0.0 && *x >= 0.0 { *x as u32 } else { u32::MAX };
        bag = bag.with_mapping(values.iter().map(row).collect()).map_err(failed)?;
    }
    if let Some(Tensor { values, .. }) = get("weights")? {
        bag = bag.with_weights("weights", values).map_err(failed)?;
    }
    Ok(body("model2vec", tokenizer, bag, max_length))
}

/// The table of sentence-transformers' `StaticEmbedding`.
///
/// # Errors
/// As [`model2vec`].
pub(super) fn embedding(
    folder: &Folder,
    part: &str,
    weights: &Weights,
    options: &ModelOptions,
) -> Result<Body> {
    check(folder, part, options)?;
    let tokenizer = Tokenizer::read(folder, part, false)?;
    let max_length = options.max_length.or(tokenizer.own_length());
    let tokenizer = tokenizer.cut(max_length, &TokenizerConfig::default())?;
    let table = weights.get("embedding.weight").map_err(|e| folder.model_error(part, e))?;
    let Some(table) = table else {
        let names: Vec<&str> = weights.names().take(5).collect();
        let problem = format!("has no table of token vectors, but {}", names.join(", "));
        return Err(folder.error(part, problem, "a static model has `embedding.weight` or `embeddings`"));
    };
    let bag = StaticBag::new("embedding.weight", table).map_err(|e| folder.model_error(part, e))?;
    Ok(body("static", tokenizer, bag, max_length))
}

fn body(architecture: &str, tokenizer: Tokenizer, bag: StaticBag, max_length: Option<usize>) -> Body {
    Body {
        architecture: architecture.to_owned(),
        tokenizer,
        encoder: Box::new(bag),
        max_length,
        pooling: "mean",
        tokens: usize::MAX,
        notes: Vec::new(),
    }
}
