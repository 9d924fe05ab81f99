//! Only the candidates: every query's best documents, as a run file or a table.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::plan::Plan;
use super::run::{Outcome, RunOptions, run_plan};
use super::{MineSpec, Progress};
use crate::read::find;
use crate::rows::RowFormat;
use crate::{Error, Result};

/// Searches: the pools, the judging score, the output and the data of `spec` count; filters and selection do not. Every query
/// is searched for, judged or not; with several pools their union is ordered by the judging score. Labels are read only
/// when a split or a qrels file is named, and then only its queries are searched for.
pub fn search(
    mut spec: MineSpec,
    top_k: usize,
    options: &RunOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Outcome> {
    if let (Some(folder), None) = (&spec.data.folder, &spec.data.split) {
        let folder = folder.clone();
        spec.data.corpus = Some(part(&folder, "corpus")?);
        spec.data.queries = Some(part(&folder, "queries")?);
        spec.data.folder = None;
    }
    spec.filters.chain.clear();
    spec.select = super::spec::SelectSpec { negatives: top_k, ..Default::default() };
    spec.write.keep_candidates = false;
    if spec.write.format.is_none() {
        let table = spec.write.path.extension().is_some_and(|e| e == "parquet");
        spec.write.format = Some(if table { RowFormat::Parquet } else { RowFormat::TrecRun });
    }
    let plan = Plan { all_anchors: true, ..Plan::new(spec)? };
    run_plan(&plan, options, progress, cancel)
}

/// The file, or the folder of shards, of one part of a data folder.
fn part(folder: &Path, stem: &str) -> Result<std::path::PathBuf> {
    match find(folder, stem)? {
        Some(files) if files.len() == 1 => Ok(files.into_iter().next().unwrap_or_default()),
        Some(_) => Ok(folder.join(stem)),
        None => Err(Error::input(
            folder,
            None,
            format!("no {stem}.jsonl, .tsv, .csv or .parquet in it"),
            "give a folder in BEIR layout, or --corpus and --queries",
        )),
    }
}
