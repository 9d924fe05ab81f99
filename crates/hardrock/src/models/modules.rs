//! The modules of a sentence-transformers folder, read from `modules.json` and the configurations it points to.

use std::collections::BTreeMap;

use hardrock_engine::encoders::head::{Activation, Dense, Step};
use hardrock_engine::encoders::transformer::Pooling;
use serde_json::Value;

use super::folder::Folder;
use super::weights::Weights;
use super::{Prompts, Roles};
use crate::Result;

/// A line of `modules.json`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Module {
    /// The class in Python; its place in the package changes between versions, its name does not.
    r#type: String,
    /// The part of the folder that it lies in, empty for the folder itself.
    #[serde(default)]
    pub(super) path: String,
}

impl Module {
    /// The name of the class.
    pub(super) fn name(&self) -> &str {
        self.r#type.rsplit('.').next().unwrap_or(&self.r#type)
    }
}

/// The ways of pooling, with the names that sentence-transformers has for them, in its configuration of today and before.
const POOLINGS: [(Pooling, &str, &str); 6] = [
    (Pooling::Cls, "cls", "pooling_mode_cls_token"),
    (Pooling::Max, "max", "pooling_mode_max_tokens"),
    (Pooling::Mean, "mean", "pooling_mode_mean_tokens"),
    (Pooling::MeanSqrtLength, "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
    (Pooling::WeightedMean, "weightedmean", "pooling_mode_weightedmean_tokens"),
    (Pooling::LastToken, "lasttoken", "pooling_mode_lasttoken"),
];

/// As it stands in the card.
pub(super) fn pooling_name(pooling: Pooling) -> &'static str {
    POOLINGS.into_iter().find(|(p, ..)| *p == pooling).map_or("", |(_, name, _)| name)
}

/// From the configuration of a pooling module.
///
/// # Errors
/// [`crate::Error::Input`] for several kinds at once, for a kind that is not known, and for a model that
/// leaves its prompt out of the pooling while `prompts` are used.
pub(super) fn pooling(folder: &Folder, part: &str, prompts: &Prompts) -> Result<Pooling> {
    let config: BTreeMap<String, Value> =
        folder.json(&Folder::join(part, "config.json"))?.unwrap_or_default();
    let leaves_prompt = config.get("include_prompt") == Some(&Value::Bool(false));
    if leaves_prompt && *prompts != Prompts::default() {
        return Err(folder.error(
            part,
            "the pooling leaves the tokens of the prompt out, which is not supported",
            "use the model without prompts: --prompt-query '' --prompt-passage ''",
        ));
    }
    let named = match config.get("pooling_mode") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => {
            let on = |key: &str| config.get(key) == Some(&Value::Bool(true));
            let named: Vec<&str> =
                POOLINGS.iter().filter(|(.., key)| on(key)).map(|&(_, name, _)| name).collect();
            if named.is_empty() { vec!["mean"] } else { named }
        }
    };
    let help = "models that pool in one way are supported: \
                cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken";
    match named[..] {
        [one] => POOLINGS
            .into_iter()
            .find(|(_, name, _)| *name == one)
            .map(|(pooling, ..)| pooling)
            .ok_or_else(|| folder.error(part, format!("the pooling `{one}` is not known"), help)),
        _ => {
            let problem = format!("pools in several ways at once ({})", named.join(", "));
            Err(folder.error(part, problem, help))
        }
    }
}

/// The configuration of a dense layer.
#[derive(serde::Deserialize)]
struct DenseConfig {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    /// Without a name it is the one that sentence-transformers starts with.
    #[serde(default = "tanh")]
    activation_function: Option<String>,
    #[serde(default)]
    use_residual: bool,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::unnecessary_wraps, reason = "absent is Tanh, null is Identity")]
fn tanh() -> Option<String> {
    Some("torch.nn.modules.activation.Tanh".to_owned())
}

/// What follows the pooling.
///
/// # Errors
/// [`crate::Error::Input`] for a module that is not supported or whose files do not fit.
pub(super) fn steps(folder: &Folder, modules: &[Module]) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for module in modules {
        match module.name() {
            "Normalize" => steps.push(Step::Normalize),
            "Dense" => steps.push(Step::Dense(dense(folder, &module.path)?)),
            // Only training drops anything.
            "Dropout" => {}
            other => {
                return Err(folder.error(
                    &module.path,
                    format!("the module `{other}` is not supported"),
                    "supported are Transformer, Pooling, StaticEmbedding, Dense, Normalize and Dropout",
                ));
            }
        }
    }
    Ok(steps)
}

fn dense(folder: &Folder, part: &str) -> Result<Dense> {
    let (config, activation) = dense_config(folder, part)?;
    let weights = Weights::open(folder, part)?;
    Dense::load(&weights, config.in_features, config.out_features, config.bias, activation)
        .map_err(|e| folder.model_error(part, e))
}

/// A step after the pooling, as training takes it.
pub(super) enum Learning {
    /// To unit length.
    Normalize,
    /// A dense layer in a part of the folder.
    Dense { part: String, weights: Weights, from: usize, to: usize, bias: bool, activation: Activation },
}

/// What follows the pooling, for training.
///
/// # Errors
/// As [`steps`].
pub(super) fn learning(folder: &Folder, modules: &[Module]) -> Result<Vec<Learning>> {
    // All checks of the modules are there.
    steps(folder, modules)?;
    let mut all = Vec::new();
    for module in modules {
        match module.name() {
            "Normalize" => all.push(Learning::Normalize),
            "Dense" => {
                let (config, activation) = dense_config(folder, &module.path)?;
                all.push(Learning::Dense {
                    part: module.path.clone(),
                    weights: Weights::open(folder, &module.path)?,
                    from: config.in_features,
                    to: config.out_features,
                    bias: config.bias,
                    activation,
                });
            }
            _ => {}
        }
    }
    Ok(all)
}

fn dense_config(folder: &Folder, part: &str) -> Result<(DenseConfig, Activation)> {
    let name = Folder::join(part, "config.json");
    let config: DenseConfig = folder
        .json(&name)?
        .ok_or_else(|| folder.error(part, "the dense layer has no config.json", "fetch the whole model"))?;
    let place = |name: &Option<String>| name.as_deref().is_none_or(|name| name == "sentence_embedding");
    if config.use_residual || !place(&config.module_input_name) || !place(&config.module_output_name) {
        let problem = "a dense layer with a residual, or of something else than the text's vector";
        return Err(folder.error(part, problem, "supported is a plain layer after the pooling"));
    }
    let activation = match &config.activation_function {
        Some(name) => Activation::from_name(name).map_err(|e| folder.error(part, e.to_string(), ""))?,
        None => Activation::Identity,
    };
    Ok((config, activation))
}

/// `config_sentence_transformers.json`: what goes around the model.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Around {
    #[serde(default)]
    prompts: Option<BTreeMap<String, Option<String>>>,
    /// How vectors are meant to be compared: `cosine`, `dot` ….
    pub(super) similarity_fn_name: Option<String>,
}

impl Around {
    /// That of the folder. It does not count towards the fingerprint: prompts are a part of the texts.
    ///
    /// # Errors
    /// As [`Folder::side_json`].
    pub(super) fn read(folder: &Folder) -> Result<Self> {
        Ok(folder.side_json("config_sentence_transformers.json")?.unwrap_or_default())
    }

    /// The prompts by role: `query` for anchors; for documents the first of `document`, `passage` and `corpus`
    /// that says something (newer versions save an empty `document` where none was given). What `given` names
    /// stands instead.
    pub(super) fn prompts(&self, given: &Roles) -> Prompts {
        let named = |names: &[&str]| {
            let all = self.prompts.iter().flat_map(|prompts| names.iter().map(|&name| prompts.get(name)));
            all.flatten().flatten().find(|prompt| !prompt.is_empty()).cloned().unwrap_or_default()
        };
        Prompts {
            query: given.query.clone().unwrap_or_else(|| named(&["query"])),
            passage: given.passage.clone().unwrap_or_else(|| named(&["document", "passage", "corpus"])),
        }
    }
}
