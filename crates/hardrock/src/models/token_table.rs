//! A model's vectors per token: what a static encoder can start to learn from.

use std::path::Path;

use hardrock_engine::encoders::{Tensor, Tensors};

use super::folder::Folder;
use super::modules::Module;
use super::weights::Weights;
use crate::{Error, Result};

/// Vectors of tokens with their tokenizer.
#[derive(Debug)]
pub(crate) struct TokenTable {
    /// `[tokens][dim]`.
    pub(crate) rows: Vec<f32>,
    /// Columns.
    pub(crate) dim: usize,
    /// `tokenizer.json`.
    pub(crate) tokenizer: Vec<u8>,
    /// Whether they are what a transformer begins with, not yet the model's own vectors.
    pub(crate) contextual: bool,
}

/// Names that transformers have for their token embeddings, by their ends.
const EMBEDDINGS: [&str; 4] =
    ["word_embeddings.weight", "tok_embeddings.weight", "embed_tokens.weight", "wte.weight"];

/// Reads the token vectors of the model in the folder `root`.
///
/// # Errors
/// [`Error::Input`] for a folder without a table of tokens, or whose layers after the table could not be kept.
pub(crate) fn token_table(root: &Path) -> Result<TokenTable> {
    let folder = Folder::new(root);
    let listed: Option<Vec<Module>> = folder.json("modules.json")?;
    let part = listed.as_ref().and_then(|modules| modules.first()).map_or("", |first| first.path.as_str());
    let is_static =
        listed.as_deref().is_some_and(|m| m.first().is_some_and(|m| m.name() == "StaticEmbedding"));
    if let Some(other) = listed.iter().flatten().skip(1).find(|m| is_static && m.name() != "Normalize") {
        let problem = format!("has the module `{}` after its table", other.name());
        return Err(folder.error(
            "",
            problem,
            "start from a model of StaticEmbedding and Normalize, or from random",
        ));
    }
    let weights = Weights::open(&folder, part)?;
    let get = |name: &str| weights.get(name).map_err(|e| folder.model_error(part, e));
    let named = |name: &&str| {
        ["embedding.weight", "embeddings"].contains(name) || EMBEDDINGS.iter().any(|end| name.ends_with(end))
    };
    let Some(name) = weights.names().find(named).map(str::to_owned) else {
        let names: Vec<&str> = weights.names().take(5).collect();
        let problem = format!("has no table of token vectors, but {}", names.join(", "));
        return Err(folder.error(
            part,
            problem,
            "start from a static model or a transformer of the BERT family",
        ));
    };
    let contextual = EMBEDDINGS.iter().any(|end| name.ends_with(end));
    let (rows, dim) = match get(&name)? {
        Some(Tensor { shape, values }) if shape.len() == 2 && shape[1] > 0 => (values, shape[1]),
        _ => {
            return Err(folder.error(
                part,
                format!("tensor `{name}` is no [tokens, dimensions]"),
                "fetch the model again",
            ));
        }
    };
    let mut table = TokenTable { rows, dim, tokenizer: Vec::new(), contextual };
    if let Some(Tensor { values, .. }) = get("mapping")?.filter(|_| !contextual) {
        table.rows = spread(&table, &values).ok_or_else(|| {
            folder.error(
                part,
                "`mapping` names a row that `embeddings` does not have",
                "fetch the model again",
            )
        })?;
    }
    if let Some(Tensor { values, .. }) =
        get("weights")?.filter(|w| !contextual && w.values.len() * dim == table.rows.len())
    {
        for (row, weight) in table.rows.chunks_exact_mut(dim).zip(values) {
            row.iter_mut().for_each(|x| *x *= weight);
        }
    }
    let path = folder.file(&Folder::join(part, "tokenizer.json"))?;
    table.tokenizer = std::fs::read(&path).map_err(Error::io("read", &path))?;
    Ok(table)
}

/// A row for each token where several share one.
fn spread(table: &TokenTable, mapping: &[f32]) -> Option<Vec<f32>> {
    let mut rows = Vec::with_capacity(mapping.len() * table.dim);
    for &row in mapping {
        let from = row as usize * table.dim;
        rows.extend_from_slice(table.rows.get(from..from + table.dim)?);
    }
    Some(rows)
}
