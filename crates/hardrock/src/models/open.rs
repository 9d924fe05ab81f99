//! From a folder to a model: which layout it has, and what follows from its configurations.

use std::path::Path;

use hardrock_engine::encoders::Encoder;
use hardrock_engine::encoders::head::{Head, Step};
use hardrock_engine::encoders::transformer::Pooling;
use serde_json::Value;

use super::embedder::Local;
use super::folder::Folder;
use super::modules::{self, Around, Module, steps};
use super::static_model::{self, Model2VecConfig};
use super::tokenizer::Tokenizer;
use super::transformer_model::{self, Config};
use super::weights::Weights;
use super::{Card, Embedder, ModelOptions};
use crate::{Error, Result};

/// A model up to its pooling.
pub(super) struct Body {
    pub(super) architecture: String,
    pub(super) tokenizer: Tokenizer,
    pub(super) encoder: Box<dyn Encoder>,
    /// Longest text in tokens.
    pub(super) max_length: Option<usize>,
    pub(super) pooling: &'static str,
    /// See [`Local::tokens`].
    pub(super) tokens: usize,
    /// See [`Card::notes`].
    pub(super) notes: Vec<String>,
}

/// What decides the vectors beside the files.
#[derive(serde::Serialize)]
pub(super) struct Resolved {
    pub(super) max_length: Option<usize>,
    pub(super) truncate_dim: Option<usize>,
    pub(super) precision: &'static str,
}

/// Numbers that models compute with.
pub(super) const PRECISION: &str = "f32";

/// Opens the model in the folder `root`; `id` is what it was called, `revision` the commit where it came from a hub.
///
/// # Errors
/// See [`super::open`].
pub(super) fn folder(
    id: &str,
    root: &Path,
    revision: Option<String>,
    options: &ModelOptions,
) -> Result<Box<dyn Embedder>> {
    let folder = Folder::new(root);
    let around = Around::read(&folder)?;
    let prompts = around.prompts(&options.prompts);
    let listed: Option<Vec<Module>> = folder.json("modules.json")?;
    let (body, mut steps) = match listed.as_deref() {
        Some([first, rest @ ..]) if first.name() == "StaticEmbedding" => {
            let weights = Weights::open(&folder, &first.path)?;
            let body = if static_model::is_model2vec(&weights) {
                let config = folder.json("config.json")?.unwrap_or_default();
                static_model::model2vec(&folder, &first.path, &config, &weights, options)?
            } else {
                static_model::embedding(&folder, &first.path, &weights, options)?
            };
            (body, steps(&folder, rest)?)
        }
        Some([first, pool, rest @ ..]) if first.name() == "Transformer" && pool.name() == "Pooling" => {
            match Config::read(&folder, &first.path)? {
                Some(config) => {
                    let pooling = modules::pooling(&folder, &pool.path, &prompts)?;
                    let body = transformer_model::body(&folder, &first.path, &config, pooling, options)?;
                    (body, steps(&folder, rest)?)
                }
                None => return Err(unsupported(&folder, &[])),
            }
        }
        Some(modules) => return Err(unsupported(&folder, modules)),
        None => plain(&folder, options)?,
    };
    let normalised = matches!(steps.last(), Some(Step::Normalize));
    if let Some(dim) = options.truncate_dim {
        let whole = body.encoder.dim();
        if !(1..=whole).contains(&dim) {
            return Err(Error::usage(
                format!("cannot keep {dim} columns of vectors with {whole}"),
                format!("give between 1 and {whole}"),
            ));
        }
        steps.push(Step::Truncate(dim));
        steps.extend(normalised.then_some(Step::Normalize));
    }
    let encoder = Head::new(body.encoder, steps).map_err(|e| folder.model_error("", e))?;
    let resolved =
        Resolved { max_length: body.max_length, truncate_dim: options.truncate_dim, precision: PRECISION };
    let card = Card {
        id: id.to_owned(),
        revision,
        architecture: body.architecture,
        dim: encoder.dim(),
        max_length: body.max_length,
        pooling: body.pooling.to_owned(),
        normalised,
        similarity: around.similarity_fn_name,
        precision: PRECISION,
        fingerprint: folder.fingerprint(&resolved)?,
        notes: body.notes,
    };
    let (tokenizer, tokens) = (body.tokenizer, body.tokens);
    Ok(Box::new(Local { card, prompts, tokenizer, encoder: Box::new(encoder), tokens }))
}

/// A folder without `modules.json`.
fn plain(folder: &Folder, options: &ModelOptions) -> Result<(Body, Vec<Step>)> {
    if let Some(config) = Config::read(folder, "")?.filter(Config::is_known) {
        let class = config.class();
        if class.ends_with("ForSequenceClassification") {
            let problem = format!("is a cross-encoder ({class}): it scores pairs and makes no vectors");
            return Err(folder.error("", problem, "use it as a judge: --filter rerank:FOLDER"));
        }
        let mut body = transformer_model::body(folder, "", &config, Pooling::Mean, options)?;
        body.notes.push(
            "the folder does not say how to pool, so the mean is taken, as sentence-transformers does".into(),
        );
        return Ok((body, Vec::new()));
    }
    let weights = Weights::open(folder, "")?;
    if !static_model::is_model2vec(&weights) {
        return Err(unsupported(folder, &[]));
    }
    let config: Model2VecConfig = folder.json("config.json")?.unwrap_or_default();
    let steps = if config.normalize { vec![Step::Normalize] } else { Vec::new() };
    Ok((static_model::model2vec(folder, "", &config, &weights, options)?, steps))
}

/// Says what a folder is that cannot be read, and what would work.
fn unsupported(folder: &Folder, modules: &[Module]) -> Error {
    let help = format!(
        "supported are transformers ({}) and static models (Model2Vec, StaticEmbedding); others can be used behind a \
         server or through --corpus-vectors and --query-vectors",
        transformer_model::KINDS
    );
    let kind = match (modules, folder.side_json::<Value>("config.json")) {
        ([_, ..], _) => {
            let names: Vec<&str> = modules.iter().map(Module::name).collect();
            format!("a sentence-transformers model of {}", names.join(", "))
        }
        ([], Ok(Some(config))) => match config.get("model_type").and_then(Value::as_str) {
            Some(kind) => format!("a transformers model of the kind {kind}"),
            None => "a model whose config.json names no kind".to_owned(),
        },
        ([], Ok(None)) => "no model: neither modules.json nor config.json".to_owned(),
        ([], Err(e)) => return e,
    };
    folder.error("", format!("is {kind}, which is not supported"), help)
}
