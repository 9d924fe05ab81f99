//! What a run's stages depend on: the hashes of its inputs, and the keys made of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use hardrock_core::AnchorId;

use super::dense::{self, Models};
use super::plan::Plan;
use super::prepare::check;
use super::spec::SourceSpec;
use super::{Progress, open};
use crate::Result;
use crate::read::input;
use crate::store::{Key, Stage, Store};

/// Files that only judging reads: a taxonomy, and an outside program with the files that its command names.
pub(super) fn judged_files(plan: &Plan) -> Vec<PathBuf> {
    let taxonomy = plan.taxonomy().map(|t| PathBuf::from(&t.file));
    let program = plan.command().map(super::command::files).unwrap_or_default();
    taxonomy.into_iter().chain(program).collect()
}

/// The hashes of some of the inputs, in the files' order.
pub(super) fn hashes_of(inputs: &BTreeMap<String, String>, files: &[PathBuf]) -> Vec<Option<String>> {
    files.iter().map(|f| inputs.get(&f.display().to_string()).cloned()).collect()
}

/// The files that a source reads.
fn pool_files(source: &SourceSpec) -> Vec<PathBuf> {
    match source.compares() {
        SourceSpec::Vectors(v) => dense::files(v),
        SourceSpec::Dense(dense) => vec![PathBuf::from(&dense.model)],
        SourceSpec::Run(run) => vec![run.path.clone()],
        SourceSpec::Bm25(_)
        | SourceSpec::Static(_)
        | SourceSpec::Graph(_)
        | SourceSpec::Given {}
        | SourceSpec::Random {} => Vec::new(),
    }
}

/// BLAKE3 of every input file, and the fingerprint of every model.
pub(super) fn hash_inputs(
    plan: &Plan,
    models: &Models,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<BTreeMap<String, String>> {
    let mut files = plan.spec.data.files()?;
    let mut hashes = BTreeMap::new();
    for (pool, model) in plan.spec.pool.iter().zip(models) {
        match (pool.source.compares(), model) {
            // A model is many files and says itself what of them counts.
            (SourceSpec::Dense(dense), Some(model)) => {
                hashes.insert(dense.model.clone(), model.fingerprint().to_owned());
            }
            (source, _) => files.extend(pool_files(source)),
        }
    }
    files.extend(judged_files(plan));
    progress.stage("hash inputs", files.len() as u64, "files");
    for file in super::verdicts::files(plan) {
        // A store has its newest verdicts in a second file: what counts is the list.
        hashes.insert(file.display().to_string(), crate::verdicts::fingerprint(&file)?);
    }
    for file in files {
        check(cancel)?;
        let hash = input::content_hash(&file)?;
        hashes.insert(file.display().to_string(), hash);
        progress.advance(1);
    }
    Ok(hashes)
}

/// What the graph of a pool depends on.
pub(super) fn graph_key(
    plan: &Plan,
    pool: usize,
    read_key: &Key,
    inputs: &BTreeMap<String, String>,
    documents: &[AnchorId],
) -> Result<Key> {
    let pool = &plan.spec.pool[pool];
    let SourceSpec::Graph(graph) = &pool.source else { return Ok(Key::new("graph")) };
    let rows: Vec<u8> = documents.iter().flat_map(|d| d.0.to_le_bytes()).collect();
    let key = Key::new("graph")
        .with("read", read_key.hex())
        .with_json("over", &graph.over)?
        .with_json("files", &hashes_of(inputs, &pool_files(&pool.source)))?
        .with("neighbours", (open::graph_width(pool, graph) as u64).to_le_bytes())
        .with("documents", rows);
    // Clusters are drawn.
    Ok(match graph.over.approximate() {
        Some(_) => key.with("seed", plan.spec.seed.to_le_bytes()),
        None => key,
    })
}

/// The stages of all pools and of judging: each depends on what goes into it and on nothing else.
pub(super) fn stages(
    plan: &Plan,
    store: &Store,
    read_key: &Key,
    inputs: &BTreeMap<String, String>,
    asked: &[(&str, String, String)],
) -> Result<(Vec<Stage>, Stage)> {
    let spec = &plan.spec;
    let mut judge_key = Key::new("judge")
        .with("read", read_key.hex())
        .with_json("judge", &spec.judge)?
        .with_json("filters", &spec.filters)?
        .with_json("select", &spec.select)?
        .with_json("p_fn", &spec.p_fn)?
        .with("seed", spec.seed.to_le_bytes())
        .with("anchors", [u8::from(plan.all_anchors)]);
    judge_key = judge_key
        .with_json("files", &hashes_of(inputs, &judged_files(plan)))?
        .with_json("verdicts", &hashes_of(inputs, &super::verdicts::files(plan)))?
        .with_json("opinions", &asked)?;
    let mut pools = Vec::new();
    for pool in &spec.pool {
        let files = pool_files(&pool.source);
        let mut key = Key::new("pool")
            .with("read", read_key.hex())
            .with_json("source", &pool.source)?
            .with("depth", (pool.depth as u64).to_le_bytes())
            .with_json("files", &hashes_of(inputs, &files))?
            .with("anchors", [u8::from(plan.all_anchors)]);
        let seeded = matches!(pool.source, SourceSpec::Random {} | SourceSpec::Static(_));
        if seeded || pool.source.approximate().is_some() {
            key = key.with("seed", spec.seed.to_le_bytes());
        }
        judge_key = judge_key.with("name", &pool.name).with("pool", key.hex());
        pools.push(store.stage("pool", &key)?);
    }
    Ok((pools, store.stage("judge", &judge_key)?))
}
