//! The options that name a model, shared by the commands that encode.

use clap::Args;
use hardrock::mine::spec::{DenseSpec, Metric, SparseSpec};
use hardrock::models::RemoteOptions;

/// How a model behind an address is asked.
#[derive(Debug, Args)]
pub(crate) struct RemoteArgs {
    /// Requests under way at once, for a model behind an address [default: 4]
    #[arg(long, value_name = "N", requires = "model", help_heading = "Model")]
    model_concurrency: Option<usize>,
    /// Texts of a request, at most [default: 32]
    #[arg(long, value_name = "N", requires = "model", help_heading = "Model")]
    model_batch: Option<usize>,
    /// Requests per second, at most [default: no limit]
    #[arg(long, value_name = "X", requires = "model", help_heading = "Model")]
    model_rate: Option<f64>,
    /// Seconds that a request may take [default: 60]
    #[arg(long, value_name = "S", requires = "model", help_heading = "Model")]
    model_timeout: Option<f64>,
}

impl RemoteArgs {
    fn given(&self) -> bool {
        let whole = self.model_concurrency.is_some() || self.model_batch.is_some();
        whole || self.model_rate.is_some() || self.model_timeout.is_some()
    }

    /// The defaults, with what is given.
    pub(crate) fn options(&self) -> RemoteOptions {
        let default = RemoteOptions::default();
        RemoteOptions {
            concurrency: self.model_concurrency.unwrap_or(default.concurrency),
            batch: self.model_batch.unwrap_or(default.batch),
            rate: self.model_rate,
            timeout: self.model_timeout.unwrap_or(default.timeout),
        }
    }
}

/// Which model, and how it reads texts.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// Encoder: a model folder (sentence-transformers, transformers or Model2Vec layout), a model of the Hugging Face hub (ORG/NAME or
    /// ORG/NAME@REVISION), or the address of a server: `BASE/v1#NAME` (OpenAI's shape) or BASE (Text Embeddings Inference)
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    model: Option<String>,
    /// Stands before each query [default: what the model's files say]
    #[arg(long, value_name = "TEXT", requires = "model", help_heading = "Model")]
    prompt_query: Option<String>,
    /// Stands before each document [default: what the model's files say]
    #[arg(long, value_name = "TEXT", requires = "model", help_heading = "Model")]
    prompt_passage: Option<String>,
    /// Tokens read of a text [default: what the model's files say]
    #[arg(long, value_name = "N", requires = "model", help_heading = "Model")]
    max_length: Option<usize>,
    /// Keep only the first N columns of a vector, for Matryoshka models [default: all]
    #[arg(long, value_name = "N", requires = "model", help_heading = "Model")]
    truncate_dim: Option<usize>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Sparse encoder: a SPLADE model (a masked language model, with or without SpladePooling), as a folder or ORG/NAME[@REVISION] of
    /// the hub; adds the source `sparse`
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    sparse_model: Option<String>,
    /// Tokens that the sparse model reads of a text [default: what its files say]
    #[arg(long, value_name = "N", requires = "sparse_model", help_heading = "Model")]
    sparse_max_length: Option<usize>,
}

impl ModelArgs {
    /// The sparse source that the options describe, if a model is named.
    pub(crate) fn sparse(&self) -> Option<SparseSpec> {
        let model = self.sparse_model.clone()?;
        Some(SparseSpec { model, max_length: self.sparse_max_length, ..SparseSpec::default() })
    }

    /// The source that the options describe, if a model is named.
    pub(crate) fn dense(&self) -> Option<DenseSpec> {
        Some(DenseSpec {
            model: self.model.clone()?,
            prompt_query: self.prompt_query.clone(),
            prompt_passage: self.prompt_passage.clone(),
            max_length: self.max_length,
            truncate_dim: self.truncate_dim,
            remote: self.remote.given().then(|| self.remote.options()),
            metric: Metric::default(),
            approximate: None,
        })
    }
}
