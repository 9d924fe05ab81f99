//! Models: from a folder, a hub id or an address to vectors of texts.

mod embedder;
mod folder;
mod hub;
mod modules;
mod open;
mod remote;
mod sparse_model;
mod static_model;
mod tokenizer;
mod transformer_model;
mod weights;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardrock_engine::encoders::transformer::masked_lm::SparseVectors;

use crate::mine::{Progress, Silent};
use crate::{Error, Result};
use hub::{HubId, Snapshot};
pub use remote::RemoteOptions;
pub use sparse_model::open_sparse;

/// What stands before a text, by the role that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompts {
    /// Before an anchor.
    pub query: String,
    /// Before a document.
    pub passage: String,
}

/// Prompts that a person gives; `None` leaves the choice to the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// Before an anchor.
    pub query: Option<String>,
    /// Before a document.
    pub passage: Option<String>,
}

/// What a person says about a model; the default leaves everything to the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelOptions {
    /// Prompts instead of the model's.
    pub prompts: Roles,
    /// Longest text in tokens, special tokens included, instead of the model's.
    pub max_length: Option<usize>,
    /// The first so many columns, for models that were trained for it (Matryoshka); normalised again where the
    /// model normalises.
    pub truncate_dim: Option<usize>,
    /// How a model behind an address is asked.
    pub remote: RemoteOptions,
}

/// What was loaded, as a manifest records it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Card {
    /// As it was asked for.
    pub id: String,
    /// The commit, where the model came from a hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// `model2vec`, `static`, or the `model_type` of a transformer.
    pub architecture: String,
    /// Columns of a vector.
    pub dim: usize,
    /// Longest text in tokens; longer ones are cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// How the vectors of tokens become one.
    pub pooling: String,
    /// Whether vectors have unit length.
    pub normalised: bool,
    /// How the model's makers compare vectors: `cosine`, `dot` …, where they say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<String>,
    /// Numbers that the model computes with.
    pub precision: &'static str,
    /// See [`Embedder::fingerprint`].
    pub fingerprint: String,
    /// What a person should know about how the folder was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A model as mining uses it: texts in, vectors out.
pub trait Embedder: Send + Sync {
    /// What was loaded.
    fn card(&self) -> &Card;

    /// Columns of a vector.
    fn dim(&self) -> usize {
        self.card().dim
    }

    /// Names everything that decides the vectors (weights, tokenizer, pooling, length, precision), as hex: equal
    /// fingerprints give equal vectors for equal texts.
    fn fingerprint(&self) -> &str {
        &self.card().fingerprint
    }

    /// The prompts that the model asks for.
    fn prompts(&self) -> &Prompts;

    /// Writes the vector of each text (prompt included) into `out` `[texts][dim]`, on the current rayon pool. A
    /// text's vector has the same bits whatever texts stand beside it.
    ///
    /// # Errors
    /// The model's own, or [`crate::Error::Interrupted`] soon after `cancel` is set.
    fn encode(&self, texts: &[&str], out: &mut [f32], cancel: &AtomicBool) -> Result<()>;
}

/// A model that gives each word of a vocabulary a weight: texts in, sparse vectors out.
pub trait SparseEmbedder: Send + Sync {
    /// What was loaded; its dimension is the vocabulary.
    fn card(&self) -> &Card;

    /// Words are below this.
    fn vocabulary(&self) -> usize {
        self.card().dim
    }

    /// As [`Embedder::fingerprint`].
    fn fingerprint(&self) -> &str {
        &self.card().fingerprint
    }

    /// The prompts that the model asks for.
    fn prompts(&self) -> &Prompts;

    /// The sparse vector of each text (prompt included), on the current rayon pool. A text's vector has the same bits
    /// whatever texts stand beside it.
    ///
    /// # Errors
    /// As [`Embedder::encode`].
    fn encode(&self, texts: &[&str], cancel: &AtomicBool) -> Result<SparseVectors>;
}

/// Opens the model that `spec` names: a folder in the layout of sentence-transformers, transformers or Model2Vec, a model
/// of the hub (`ORGANISATION/NAME`, `ORGANISATION/NAME@REVISION`; a folder of that name wins), or the address of a
/// server (`http://…`, `https://…`).
///
/// # Errors
/// [`Error::Usage`] for a name that leads nowhere or options that the model cannot follow; [`Error::Input`] for a
/// folder that cannot be read or is not supported, with what would work; [`Error::Server`].
pub fn open(spec: &str, options: &ModelOptions) -> Result<Box<dyn Embedder>> {
    open_watched(spec, options, &Silent, &AtomicBool::new(false))
}

/// The same, with `progress` of what is fetched from a hub, and a stop.
///
/// # Errors
/// As [`open`]; [`Error::Interrupted`] soon after `cancel` is set.
pub fn open_watched(
    spec: &str,
    options: &ModelOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Box<dyn Embedder>> {
    if remote::is_address(spec) {
        return remote::open(spec, options);
    }
    let Located { folder, revision } = locate(spec, progress, cancel)?;
    open::folder(spec, &folder, revision, options)
}

/// Where the files of a model are.
struct Located {
    folder: PathBuf,
    /// The commit, where they came from a hub.
    revision: Option<String>,
}

/// The folder that `spec` names, or that of a model of the hub, which is fetched where it is not in the cache.
///
/// # Errors
/// [`Error::Usage`], [`Error::Server`], [`Error::Io`], [`Error::Interrupted`].
fn locate(spec: &str, progress: &dyn Progress, cancel: &AtomicBool) -> Result<Located> {
    let path = Path::new(spec);
    if path.is_dir() {
        return Ok(Located { folder: path.to_owned(), revision: None });
    }
    let layouts = "give a folder in the layout of sentence-transformers, transformers or Model2Vec, a model of the hub \
                   (ORGANISATION/NAME), or the address of a server";
    if path.exists() {
        return Err(Error::usage(format!("the model `{spec}` is a file"), layouts));
    }
    match HubId::parse(spec) {
        Some(id) => {
            let Snapshot { folder, commit } = hub::snapshot(&id, progress, cancel)?;
            Ok(Located { folder, revision: Some(commit) })
        }
        None => Err(Error::usage(format!("there is no model `{spec}`"), layouts)),
    }
}
