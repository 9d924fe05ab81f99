//! `hardrock embed`: a file of texts becomes a file of vectors.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::write::{self, Element, Format};
use super::{Wanted, encode, open_cache};
use crate::mine::Progress;
use crate::models::Embedder;
use crate::read::{self, LoadOptions, OnBadRow};
use crate::sources::Vectors;
use crate::store::Store;
use crate::{Error, Result};

/// What the texts are to the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Anchors: the model's prompt for queries stands before them.
    Query,
    /// Documents: the model's prompt for passages stands before them, titles before texts.
    #[default]
    Passage,
}

/// How to embed a file.
#[derive(Debug, Clone, Default)]
pub struct EmbedOptions {
    /// What the texts are.
    pub side: Side,
    /// How numbers are written; Parquet has 32 bits always.
    pub element: Element,
    /// What to do with a broken row.
    pub on_bad_row: OnBadRow,
    /// Work folder; none = `.hardrock` beside the output.
    pub work: Option<PathBuf>,
    /// Replace an existing output.
    pub force: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Embedded {
    /// The files written, the vectors first.
    pub files: Vec<PathBuf>,
    /// Vectors written.
    pub vectors: u64,
    /// Their dimension.
    pub dim: usize,
    /// Texts that were encoded now; the others were known.
    pub encoded: u64,
    /// Vectors that are all zero: texts of which the model knows no token.
    pub zeros: u64,
    /// The prompt that stood before every text.
    pub prompt: String,
    /// Fingerprint of the model.
    pub model: String,
    /// Numbers that the model computes with.
    pub precision: &'static str,
    /// What the reader noticed.
    pub notices: std::collections::BTreeMap<String, u64>,
    /// Wall seconds of encoding.
    pub seconds: f64,
}

/// Encodes the texts of `input` (a file of any shape that corpora and queries have, or a folder in BEIR layout, whose
/// corpus or queries are meant by [`EmbedOptions::side`]) and writes their vectors in the file's order.
///
/// # Errors
/// Bad input by file and line; an output that exists; the model's own errors. Nothing is left half-written.
pub fn embed_file(
    input: &Path,
    output: &Path,
    embedder: &dyn Embedder,
    options: &EmbedOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Embedded> {
    let format = Format::of(output)?;
    format.holds(options.element)?;
    if !options.force && output.exists() {
        return Err(Error::Exists { path: output.to_owned() });
    }
    crate::atomic::remove_partial(output)?;
    let files = files(input, options.side)?;
    let store = Store::open(&Store::beside(options.work.as_deref(), output))?;
    // Texts are read into a folder of this run alone; vectors go to one for all runs.
    let texts = store.scratch()?;
    let mut rejects = output.to_owned().into_os_string();
    rejects.push(".rejects.jsonl");
    let rejects = PathBuf::from(rejects);
    progress.stage("read", 0, "records");
    let load = LoadOptions { rejects: Some(&rejects), ..LoadOptions::new(texts.path()) };
    let (table, notices) =
        read::load_table(&files, options.side == Side::Passage, options.on_bad_row, &load)?;
    let prompts = embedder.prompts();
    let prompt = match options.side {
        Side::Query => &prompts.query,
        Side::Passage => &prompts.passage,
    };
    let mut cache = open_cache(&store, embedder)?;
    let records: Vec<u32> = (0..table.len() as u32).collect();
    let wanted = Wanted { table: &table, records: &records, prompt, name: "texts" };
    let (rows, encoded) = encode(&wanted, embedder, &mut cache, progress, cancel)?;
    let vectors = Vectors::cached(cache.into_rows().into(), rows);
    let zeros = vectors.zeros()?;
    let files = write::write(output, options.element, &table, &vectors, options.force)?;
    Ok(Embedded {
        files,
        vectors: table.len() as u64,
        dim: embedder.dim(),
        encoded: encoded.new,
        zeros,
        prompt: prompt.clone(),
        model: embedder.fingerprint().to_owned(),
        precision: embedder.card().precision,
        notices,
        seconds: encoded.seconds,
    })
}

/// The files that are meant.
fn files(input: &Path, side: Side) -> Result<Vec<PathBuf>> {
    if !input.is_dir() {
        return Ok(vec![read::locate(input)?]);
    }
    let stem = match side {
        Side::Query => "queries",
        Side::Passage => "corpus",
    };
    match read::find(input, stem)? {
        Some(files) => Ok(files),
        None => {
            let files = read::data_files(input)?;
            if files.is_empty() {
                return Err(Error::input(
                    input,
                    None,
                    format!("no {stem}.jsonl, .tsv, .csv or .parquet in it"),
                    "give a file of texts, or a folder in BEIR layout",
                ));
            }
            Ok(files)
        }
    }
}
