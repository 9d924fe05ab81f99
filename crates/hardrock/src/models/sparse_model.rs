//! Masked language models as sparse encoders (SPLADE), as sentence-transformers and transformers save them.

use std::sync::atomic::AtomicBool;

use hardrock_engine::encoders::transformer::masked_lm::{Saturation, SparseVectors, Splade};

use super::embedder::{TEXTS, parts, stopped};
use super::folder::Folder;
use super::modules::{Around, Module};
use super::open::{PRECISION, Resolved};
use super::tokenizer::Tokenizer;
use super::transformer_model::{self, Config};
use super::{Card, Located, ModelOptions, Prompts, SparseEmbedder, locate, remote};
use crate::mine::Progress;
use crate::{Error, Result};

/// Tokens that a thread encodes between two looks at the flag: the vocabulary costs as much as some layers.
const TOKENS: usize = 2048;

/// A sparse encoder of this machine.
struct Sparse {
    card: Card,
    prompts: Prompts,
    tokenizer: Tokenizer,
    model: Splade,
}

impl SparseEmbedder for Sparse {
    fn card(&self) -> &Card {
        &self.card
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn encode(&self, texts: &[&str], cancel: &AtomicBool) -> Result<SparseVectors> {
        let most = TOKENS.saturating_mul(rayon::current_num_threads());
        let mut all = SparseVectors { starts: vec![0], ..SparseVectors::default() };
        for texts in texts.chunks(TEXTS) {
            stopped(cancel)?;
            let ids = self.tokenizer.encode(texts)?;
            let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
            for part in parts(&ids, most) {
                stopped(cancel)?;
                all.extend(&self.model.encode(part)?);
            }
        }
        Ok(all)
    }
}

/// The configuration of `SpladePooling`.
#[derive(Debug, Default, serde::Deserialize)]
struct PoolingConfig {
    pooling_strategy: Option<String>,
    activation_function: Option<String>,
}

impl PoolingConfig {
    fn saturation(&self, folder: &Folder, part: &str) -> Result<Saturation> {
        if let Some(other) = self.pooling_strategy.as_deref().filter(|&s| s != "max") {
            let problem = format!("pools by `{other}`, which is not supported");
            return Err(folder.error(part, problem, "SPLADE models that pool by `max` are supported"));
        }
        match self.activation_function.as_deref() {
            None | Some("relu") => Ok(Saturation::Log),
            Some("log1p_relu") => Ok(Saturation::LogLog),
            Some(other) => {
                let problem = format!("the activation `{other}` of the SpladePooling is not known");
                Err(folder.error(part, problem, "known are relu and log1p_relu"))
            }
        }
    }
}

/// Opens the sparse encoder that `spec` names: a folder or a model of the hub with a masked language model, saved by
/// sentence-transformers (a transformer and `SpladePooling`) or by transformers alone.
///
/// # Errors
/// As [`super::open_watched`]; [`Error::Usage`] for the address of a server and for a truncation.
pub fn open_sparse(
    spec: &str,
    options: &ModelOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Box<dyn SparseEmbedder>> {
    if remote::is_address(spec) {
        return Err(Error::usage(
            format!("the sparse model `{spec}` is an address"),
            "sparse encoders run on this machine: give a folder, or ORGANISATION/NAME on the hub",
        ));
    }
    let Located { folder: root, revision } = locate(spec, progress, cancel)?;
    let folder = Folder::new(&root);
    let around = Around::read(&folder)?;
    let prompts = around.prompts(&options.prompts);
    let listed: Option<Vec<Module>> = folder.json("modules.json")?;
    let (part, saturation) = match listed.as_deref() {
        Some([first, pool])
            if matches!(first.name(), "MLMTransformer" | "Transformer") && pool.name() == "SpladePooling" =>
        {
            let config: PoolingConfig =
                folder.json(&Folder::join(&pool.path, "config.json"))?.unwrap_or_default();
            (first.path.clone(), config.saturation(&folder, &pool.path)?)
        }
        Some(modules) => {
            let names: Vec<&str> = modules.iter().map(Module::name).collect();
            let problem = format!("is no SPLADE model but one of {}", names.join(", "));
            return Err(folder.error(
                "",
                problem,
                "dense models go to --model; a sparse one has a masked language model and a SpladePooling",
            ));
        }
        None => (String::new(), Saturation::Log),
    };
    let config = Config::read(&folder, &part)?.filter(|c| c.class().ends_with("ForMaskedLM"));
    let Some(config) = config else {
        return Err(folder.error(
            &part,
            "has no masked language model (a config.json of a class …ForMaskedLM)",
            "dense models go to --model; a sparse one is a SPLADE model, such as naver/splade-v3",
        ));
    };
    let model = config.load_splade(&folder, &part, saturation)?;
    let (tokenizer, max_length) =
        transformer_model::reader(&folder, &part, &config, model.longest(), options)?;
    let resolved = Resolved { max_length, truncate_dim: None, precision: PRECISION };
    let card = Card {
        id: spec.to_owned(),
        revision,
        architecture: config.kind().to_owned(),
        dim: model.vocabulary(),
        max_length,
        pooling: "splade-max".to_owned(),
        normalised: false,
        similarity: Some("dot".to_owned()),
        precision: PRECISION,
        fingerprint: folder.fingerprint(&resolved)?,
        notes: Vec::new(),
    };
    Ok(Box::new(Sparse { card, prompts, tokenizer, model }))
}
