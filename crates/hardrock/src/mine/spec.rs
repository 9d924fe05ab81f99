//! What was typed: the TOML of a mining job, and nothing else. `plan.rs` says what it means.

use std::path::{Path, PathBuf};

use hardrock_core::{FilterSpec, SelectorSpec};
use hardrock_engine::index::{Bm25Options, TokenOptions};
use serde::{Deserialize, Serialize};

use crate::read::DataSpec;
use crate::rows::RowFormat;
use crate::{Error, Result};

/// A mining job. Every table but `data` may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MineSpec {
    /// Seed of every random draw.
    pub seed: u64,
    /// What to read.
    pub data: DataSpec,
    /// Where candidates come from, one table each; empty = BM25.
    pub pool: Vec<PoolSpec>,
    /// The one score in which candidates are ordered and margins measured.
    pub judge: JudgeSpec,
    /// What must not be a negative.
    pub filters: FiltersSpec,
    /// Which survivors to take.
    pub select: SelectSpec,
    /// What to write.
    pub write: WriteSpec,
}

/// One source of candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// Name in reports and column names: lower-case letters, digits, `-`.
    pub name: String,
    /// Candidates per anchor.
    #[serde(default = "default_depth")]
    pub depth: usize,
    /// The source itself.
    pub source: SourceSpec,
}

/// Candidates per anchor and source when nothing is said.
pub const DEFAULT_DEPTH: usize = 100;

fn default_depth() -> usize {
    DEFAULT_DEPTH
}

/// A source as written in TOML: `{ bm25 = { k1 = 0.9 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceSpec {
    /// BM25 over the corpus.
    Bm25(Bm25Spec),
    /// Exact nearest neighbours among given embeddings.
    Vectors(VectorsSpec),
    /// Exact nearest neighbours among the vectors that a model makes of the texts.
    Dense(DenseSpec),
    /// Greatest inner products among the sparse vectors that a SPLADE model makes of the texts, exactly.
    Sparse(SparseSpec),
    /// A TREC run made elsewhere.
    Run(RunSpec),
    /// The negatives that the input file already has.
    Given {},
    /// Documents drawn uniformly from the corpus.
    Random {},
}

impl SourceSpec {
    /// The recall to which vectors are searched, where not exactly.
    pub fn approximate(&self) -> Option<f64> {
        match self {
            Self::Vectors(v) => v.approximate,
            Self::Dense(d) => d.approximate,
            _ => None,
        }
    }

    /// Searches vectors to this recall, where the source has any.
    pub fn search_to(&mut self, recall: f64) {
        match self {
            Self::Vectors(v) => v.approximate = Some(recall),
            Self::Dense(d) => d.approximate = Some(recall),
            _ => {}
        }
    }

    /// Compares vectors in this way, where the source has any.
    pub fn compare_by(&mut self, metric: Metric) {
        match self {
            Self::Vectors(v) => v.metric = metric,
            Self::Dense(d) => d.metric = metric,
            _ => {}
        }
    }

    /// Whether candidates are neighbours among vectors.
    pub fn is_dense(&self) -> bool {
        matches!(self, Self::Vectors(_) | Self::Dense(_))
    }
}

/// BM25's parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bm25Spec {
    /// k1, b and the variant.
    pub weights: Bm25Options,
    /// How texts become terms.
    pub tokens: TokenOptions,
}

/// Given embeddings, one row per document and anchor, in file order or by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorsSpec {
    /// Vectors of the corpus: `.npy`, `.safetensors`, `.parquet`.
    pub corpus: PathBuf,
    /// Vectors of the queries.
    pub queries: PathBuf,
    /// How two vectors compare.
    #[serde(default)]
    pub metric: Metric,
    /// Search through clusters to this recall, in (0, 1]; none = exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approximate: Option<f64>,
}

/// An encoder and how it reads texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseSpec {
    /// A model folder, a hub id or the address of a server.
    pub model: String,
    /// Stands before an anchor; none = what the model's own files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_query: Option<String>,
    /// Stands before a document; none = what the model's own files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_passage: Option<String>,
    /// Tokens that are read of a text; none = what the model's own files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Columns that are kept of a vector (Matryoshka); none = all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate_dim: Option<usize>,
    /// How a model behind an address is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<crate::models::RemoteOptions>,
    /// How two vectors compare.
    #[serde(default)]
    pub metric: Metric,
    /// Search through clusters to this recall, in (0, 1]; none = exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approximate: Option<f64>,
}

/// A SPLADE model and how it reads texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparseSpec {
    /// A model folder or a hub id.
    pub model: String,
    /// Stands before an anchor; none = what the model's own files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_query: Option<String>,
    /// Stands before a document; none = what the model's own files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_passage: Option<String>,
    /// Tokens that are read of a text; none = what the model's own files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
}

/// How two vectors compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Cosine: rows are normalised while they are read.
    #[default]
    Cosine,
    /// Dot product, as given.
    Dot,
}

/// A run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// TREC (6 columns), Tevatron (`qid docid score`) or MS MARCO (`qid pid rank`).
    pub path: PathBuf,
}

/// The judging score.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeSpec {
    /// A pool's name, or `rrf` for reciprocal rank fusion; none = the first dense pool, else the first pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_by: Option<String>,
    /// What `kin` measures.
    pub kin_by: KinBy,
    /// How texts become terms for `kin` where there is no BM25 pool, whose terms it would use.
    pub kin_tokens: TokenOptions,
}

/// The similarity of two documents that `kin` uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KinBy {
    /// tf-idf cosine of the two texts.
    #[default]
    TfIdf,
    /// Cosine of the two given vectors.
    Vectors,
}

/// The filters and what they look up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FiltersSpec {
    /// The filters; they always run in the fixed order of `FilterSpec::ORDER`.
    pub chain: Vec<FilterSpec>,
    /// Jaccard similarity of word shingles from which two documents are of one family.
    pub family_threshold: f32,
}

/// Shingle similarity that makes a family when nothing is said.
pub const DEFAULT_FAMILY: f32 = 0.8;

impl Default for FiltersSpec {
    fn default() -> Self {
        use hardrock_core::filters::{Kin, Known, Near, Text};
        Self {
            chain: vec![
                FilterSpec::Known(Known {}),
                FilterSpec::Text(Text {}),
                FilterSpec::Near(Near::default()),
                FilterSpec::Kin(Kin::default()),
            ],
            family_threshold: DEFAULT_FAMILY,
        }
    }
}

/// Which survivors to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectSpec {
    /// Negatives per anchor.
    pub negatives: usize,
    /// How to choose.
    pub rule: SelectorSpec,
    /// What to do when an anchor has too few survivors.
    pub shortfall: Shortfall,
}

/// Negatives per anchor when nothing is said.
pub const DEFAULT_NEGATIVES: usize = 5;

impl Default for SelectSpec {
    fn default() -> Self {
        Self {
            negatives: DEFAULT_NEGATIVES,
            rule: SelectorSpec::Top(hardrock_core::selectors::Top {}),
            shortfall: Shortfall::default(),
        }
    }
}

/// What to do when an anchor has too few survivors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortfall {
    /// Write fewer.
    #[default]
    Fewer,
    /// Fill up with random documents that are no known positive and no candidate that a filter dropped.
    Random,
    /// Leave the anchor out.
    Drop,
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriteSpec {
    /// The training file.
    pub path: PathBuf,
    /// Its format; none = from the file's name, else FlagEmbedding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<RowFormat>,
    /// Write scores; none = yes where the format has a place of its own for them (not in the sentence-transformers shapes,
    /// where they take the labels' place) and the judging score exists for every pair (BM25, vectors, rrf).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<bool>,
    /// Write `OUT.candidates.parquet`.
    pub keep_candidates: bool,
}

impl Default for WriteSpec {
    fn default() -> Self {
        Self { path: PathBuf::new(), format: None, scores: None, keep_candidates: true }
    }
}

impl MineSpec {
    /// Reads a TOML file. A typo ends here, with its line.
    pub fn from_toml(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        toml::from_str(&text).map_err(|e| {
            let line = e.span().map(|s| text[..s.start].matches('\n').count() as u64 + 1);
            let help = "`hardrock mine DATA --print-spec` prints a complete file";
            Error::input(path, line, e.message().trim().to_owned(), help)
        })
    }

    /// The whole job as TOML, defaults included.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::usage(format!("cannot be written as TOML: {e}"), ""))
    }
}
