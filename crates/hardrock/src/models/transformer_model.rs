//! Transformers of the BERT family, as sentence-transformers and transformers save them.

use hardrock_engine::encoders::Encoder;
use hardrock_engine::encoders::transformer::masked_lm::{Saturation, Splade};
use hardrock_engine::encoders::transformer::{
    Pooling, Transformer, bert, distilbert, modernbert, mpnet, nomic_bert,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ModelOptions;
use super::folder::Folder;
use super::modules::pooling_name;
use super::open::Body;
use super::tokenizer::{Tokenizer, TokenizerConfig};
use super::weights::Weights;
use crate::{Error, Result};

/// The kinds that can be read, for messages.
pub(super) const KINDS: &str =
    "bert, roberta, xlm-roberta, camembert, distilbert, mpnet, modernbert and nomic_bert";

/// The kinds that can be read as sparse encoders.
const SPLADE_KINDS: &str =
    "masked language models of bert, roberta, xlm-roberta, camembert, distilbert and modernbert";

/// Tokens that a thread encodes between two looks at the flag: about a second of a small model.
const TOKENS: usize = 4096;

/// `config.json` of a transformer.
pub(super) struct Config {
    kind: String,
    name: String,
    values: Value,
}

impl Config {
    /// That of a part of the folder; none where there is none or it names no kind.
    ///
    /// # Errors
    /// As [`Folder::json`].
    pub(super) fn read(folder: &Folder, part: &str) -> Result<Option<Self>> {
        let name = Folder::join(part, "config.json");
        let Some(values) = folder.json::<Value>(&name)? else { return Ok(None) };
        let kind = values.get("model_type").and_then(Value::as_str).map(str::to_owned);
        Ok(kind.map(|kind| Self { kind, name, values }))
    }

    /// Whether it is of a kind that can be read.
    pub(super) fn is_known(&self) -> bool {
        KINDS.split([',', ' ']).any(|kind| kind == self.kind)
    }

    /// The class that saved it, such as `BertForSequenceClassification`.
    pub(super) fn class(&self) -> &str {
        self.values.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str).unwrap_or_default()
    }

    fn parse<T: DeserializeOwned>(&self, folder: &Folder) -> Result<T> {
        serde_json::from_value(self.values.clone()).map_err(|e| {
            folder.error(&self.name, e.to_string(), "fetch the model again, or mend its config.json")
        })
    }

    /// Builds the model.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(super) fn load(&self, folder: &Folder, part: &str, pooling: Pooling) -> Result<Transformer> {
        let weights = Weights::open(folder, part)?;
        let built = match self.kind.as_str() {
            "bert" => bert::load(&self.parse(folder)?, bert::Places::FromZero, &weights, pooling),
            "roberta" | "xlm-roberta" | "camembert" => {
                bert::load(&self.parse(folder)?, bert::Places::BehindPadding, &weights, pooling)
            }
            "distilbert" => distilbert::load(&self.parse(folder)?, &weights, pooling),
            "mpnet" => mpnet::load(&self.parse(folder)?, &weights, pooling),
            "modernbert" => modernbert::load(&self.parse(folder)?, &weights, pooling),
            "nomic_bert" => nomic_bert::load(&self.parse(folder)?, &weights, pooling),
            other => {
                let problem = format!("is a transformers model of the kind {other}, which is not supported");
                return Err(folder.error(part, problem, format!("supported are {KINDS}")));
            }
        };
        built.map_err(|e| folder.model_error(part, e))
    }
}

impl Config {
    /// Builds the masked language model as a sparse encoder.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(super) fn load_splade(&self, folder: &Folder, part: &str, saturation: Saturation) -> Result<Splade> {
        let weights = Weights::open(folder, part)?;
        let built = match self.kind.as_str() {
            "bert" => Splade::bert(&self.parse(folder)?, bert::Places::FromZero, &weights, saturation),
            "roberta" | "xlm-roberta" | "camembert" => {
                Splade::bert(&self.parse(folder)?, bert::Places::BehindPadding, &weights, saturation)
            }
            "distilbert" => Splade::distilbert(&self.parse(folder)?, &weights, saturation),
            "modernbert" => Splade::modernbert(&self.parse(folder)?, &weights, saturation),
            other => {
                let problem = format!("is of the kind {other}, which is not supported as a sparse encoder");
                return Err(folder.error(part, problem, format!("supported are {SPLADE_KINDS}")));
            }
        };
        built.map_err(|e| folder.model_error(part, e))
    }

    /// The `model_type`.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }
}

/// What of `sentence_bert_config.json` decides the vectors.
#[derive(Debug, Default, serde::Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

/// The length of texts and the tokenizer of a transformer in a part of the folder.
///
/// # Errors
/// [`Error::Usage`] for a length that the model has no places for; [`Error::Input`].
pub(super) fn reader(
    folder: &Folder,
    part: &str,
    config: &Config,
    longest: Option<usize>,
    options: &ModelOptions,
) -> Result<(Tokenizer, Option<usize>)> {
    let around: SentenceConfig =
        folder.json(&Folder::join(part, "sentence_bert_config.json"))?.unwrap_or_default();
    let spelled = TokenizerConfig::read(folder, part)?;
    let mut tokenizer = Tokenizer::read(folder, part, true)?;
    if around.do_lower_case {
        tokenizer = tokenizer.lower_case()?;
    }
    let places = config.values.get("max_position_embeddings").and_then(Value::as_u64);
    let places = places.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    // As sentence-transformers chooses where the model's makers did not.
    let own = around.max_seq_length.or_else(|| match (places, spelled.max_length()) {
        (Some(places), Some(length)) => Some(places.min(length)),
        (places, length) => length.or(places),
    });
    if let (Some(asked), Some(longest)) = (options.max_length, longest)
        && asked > longest
    {
        return Err(Error::usage(
            format!("a length of {asked} tokens is more than the model has places for"),
            format!("give at most {longest}"),
        ));
    }
    let length = match (options.max_length.or(own), longest) {
        (Some(length), Some(longest)) => Some(length.min(longest)),
        (length, longest) => length.or(longest),
    };
    Ok((tokenizer.cut(length, &spelled)?, length))
}

/// A transformer with its pooling.
///
/// # Errors
/// As [`reader`] and [`Config::load`].
pub(super) fn body(
    folder: &Folder,
    part: &str,
    config: &Config,
    pooling: Pooling,
    options: &ModelOptions,
) -> Result<Body> {
    let model = config.load(folder, part, pooling)?;
    let (tokenizer, max_length) = reader(folder, part, config, model.longest(), options)?;
    let encoder: Box<dyn Encoder> = Box::new(model);
    Ok(Body {
        architecture: config.kind.clone(),
        tokenizer,
        encoder,
        max_length,
        pooling: pooling_name(pooling),
        tokens: TOKENS,
        notes: Vec::new(),
    })
}
