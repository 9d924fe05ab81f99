//! Cross-encoders: a model that reads two texts together and scores the pair.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use hardrock_engine::encoders::head::Activation;
use hardrock_engine::encoders::transformer::Classifier;
use serde_json::Value;

use super::embedder::stopped;
use super::folder::Folder;
use super::modules::Module;
use super::tokenizer::Tokenizer;
use super::transformer_model::{self, Config, TOKENS};
use super::{Card, Located, ModelOptions, locate, remote};
use crate::Result;
use crate::mine::Progress;

/// A model that scores how well a document answers an anchor.
pub trait Reranker: Send + Sync {
    /// What was loaded; a score has no dimension, so its `dim` is 1.
    fn card(&self) -> &Card;

    /// Names everything that decides the scores, as hex: equal fingerprints give equal scores for equal pairs.
    fn fingerprint(&self) -> &str {
        &self.card().fingerprint
    }

    /// Writes the score of each (anchor, document) into `out` `[pairs]`, higher = more relevant, on the current rayon
    /// pool. A model of this machine gives a pair the same bits whatever pairs stand beside it.
    ///
    /// # Errors
    /// The model's own, or [`crate::Error::Interrupted`] soon after `cancel` is set.
    fn score(&self, pairs: &[(&str, &str)], out: &mut [f32], cancel: &AtomicBool) -> Result<()>;
}

/// Opens the cross-encoder that `spec` names: a folder of sentence-transformers or transformers with a sequence
/// classification head of one label, a model of the hub, or the address of a server that speaks Text Embeddings Inference's
/// `/rerank`.
///
/// # Errors
/// As [`super::open_watched`].
pub fn open_reranker(
    spec: &str,
    options: &ModelOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Box<dyn Reranker>> {
    if remote::is_address(spec) {
        return remote::open_reranker(spec, options);
    }
    let Located { folder: path, revision } = locate(spec, LAYOUTS, progress, cancel)?;
    Ok(Box::new(folder(spec, &path, revision, options)?))
}

/// What a cross-encoder may be.
const LAYOUTS: &str = "give the folder of a cross-encoder (sentence-transformers or transformers), a model of the hub \
                       (ORGANISATION/NAME), or the address of a server";

/// A cross-encoder of this machine.
struct Local {
    card: Card,
    tokenizer: Tokenizer,
    model: Classifier,
    activation: Activation,
}

/// What decides the scores beside the files.
#[derive(serde::Serialize)]
struct Resolved<'a> {
    max_length: Option<usize>,
    activation: &'a str,
}

/// What sentence-transformers writes beside the model.
#[derive(Default, serde::Deserialize)]
struct Around {
    activation_fn: Option<String>,
}

/// The name of the function after the logit, by the precedence of sentence-transformers.
fn activation(folder: &Folder, config: &Config) -> Result<String> {
    let around: Around = folder.side_json("config_sentence_transformers.json")?.unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let nested = || text(config.value("sentence_transformers").and_then(|own| own.get("activation_fn")));
    let old = || text(config.value("sbert_ce_default_activation_function"));
    // Where nobody says anything, one label is a probability.
    Ok(around.activation_fn.or_else(nested).or_else(old).unwrap_or_else(|| "Sigmoid".to_owned()))
}

fn folder(id: &str, root: &Path, revision: Option<String>, options: &ModelOptions) -> Result<Local> {
    let folder = Folder::new(root);
    let modules: Option<Vec<Module>> = folder.json("modules.json")?;
    let part = match modules.as_deref() {
        None => "",
        Some([only]) if only.name() == "Transformer" => &only.path,
        Some(modules) => {
            let names: Vec<&str> = modules.iter().map(Module::name).collect();
            let problem =
                format!("is a sentence-transformers model of {} and no cross-encoder", names.join(", "));
            return Err(folder.error("", problem, "an encoder can be a guide: --filter guide:FOLDER"));
        }
    };
    let Some(config) = Config::read(&folder, part)? else {
        return Err(folder.error(
            part,
            "has no config.json that names a model_type",
            "fetch the whole model",
        ));
    };
    if !config.is_cross_encoder() {
        let problem =
            format!("is no cross-encoder: its class is `{}`, without a classification head", config.class());
        return Err(folder.error(part, problem, "an encoder can be a guide: --filter guide:FOLDER"));
    }
    let model = config.classifier(&folder, part)?;
    if model.labels() != 1 {
        return Err(folder.error(
            part,
            format!("scores {} labels; a cross-encoder for ranking has one", model.labels()),
            "take a model that was trained to rank (num_labels 1)",
        ));
    }
    let (tokenizer, max_length) =
        transformer_model::reader(&folder, part, &config, model.body(), options, true)?;
    let name = activation(&folder, &config)?;
    let activation = Activation::from_name(&name).map_err(|e| folder.model_error("", e))?;
    let card = Card {
        id: id.to_owned(),
        revision,
        architecture: config.kind().to_owned(),
        dim: 1,
        max_length,
        pooling: "classification head".to_owned(),
        precision: super::Precision::F32.name(),
        fingerprint: folder.fingerprint(&Resolved { max_length, activation: &name })?,
        ..Card::default()
    };
    Ok(Local { card, tokenizer, model, activation })
}

/// Pairs whose tokens are held at once.
const PAIRS: usize = 1024;

impl Reranker for Local {
    fn card(&self) -> &Card {
        &self.card
    }

    fn score(&self, pairs: &[(&str, &str)], out: &mut [f32], cancel: &AtomicBool) -> Result<()> {
        assert!(out.len() == pairs.len(), "a score for each pair");
        let most = TOKENS.saturating_mul(rayon::current_num_threads());
        for (pairs, mut out) in pairs.chunks(PAIRS).zip(out.chunks_mut(PAIRS)) {
            stopped(cancel)?;
            let ids = self.tokenizer.pairs(pairs)?;
            let mut rest: &[(Vec<u32>, usize)] = &ids;
            while !rest.is_empty() {
                stopped(cancel)?;
                let mut tokens = 0usize;
                let fits = |(ids, _): &&(Vec<u32>, usize)| {
                    tokens += ids.len();
                    tokens <= most
                };
                let count = rest.iter().take_while(fits).count().max(1);
                let (now, later) = rest.split_at(count);
                let (scores, after) = out.split_at_mut(count);
                let now: Vec<(&[u32], usize)> = now.iter().map(|(ids, at)| (ids.as_slice(), *at)).collect();
                self.model.score(&now, scores)?;
                scores.iter_mut().for_each(|x| *x = self.activation.of(*x));
                (rest, out) = (later, after);
            }
        }
        Ok(())
    }
}
