//! The options that name a model, shared by the commands that encode.

use clap::Args;
use hardrock::mine::spec::{DenseSpec, Metric};

/// Which model, and how it reads texts.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// Encoder: a model folder (sentence-transformers, transformers or Model2Vec layout)
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
}

impl ModelArgs {
    /// The source that the options describe, if a model is named.
    pub(crate) fn dense(&self) -> Option<DenseSpec> {
        Some(DenseSpec {
            model: self.model.clone()?,
            prompt_query: self.prompt_query.clone(),
            prompt_passage: self.prompt_passage.clone(),
            max_length: self.max_length,
            truncate_dim: self.truncate_dim,
            metric: Metric::default(),
            approximate: None,
        })
    }
}
