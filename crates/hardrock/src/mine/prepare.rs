//! Opens everything that a job needs: the data, its index, its sources, and what filters look up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hardrock_core::{AnchorId, Facts, Likeness, Outside, Overlap, Taxonomy};
use hardrock_engine::index::TfIdf;

use super::budget::Budget;
use super::command::Program;
use super::dense::{self, Encode, Models, Pair};
use super::facts::{catalogues, known_positives};
use super::judge::Judge;
use super::likeness::{ShingleOverlap, TfIdfLikeness};
use super::plan::Plan;
use super::run::RunOptions;
use super::spec::{Bm25Spec, DenseSpec, KinBy, PoolSpec, SourceSpec, SparseSpec};
use super::{Progress, taxonomy};
use crate::embed::Outlook;
use crate::read::{self, ColumnKind, ColumnSpec, Dataset, LoadOptions, input};
use crate::sources::{
    ApproximateSource, Bm25Source, ClusterCell, GivenSource, Lexical, PendingSource, RandomSource, RunSource,
    Source, SparseSource, VectorsLikeness, VectorsSource,
};
use crate::store::{Key, Stage, Store};
use crate::{Error, Result};

/// Stops where the user asked to.
pub(super) fn check(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

/// A job with everything open.
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    pub(super) dataset: &'a Dataset,
    /// Anchors with at least one positive, in reading order.
    pub(super) judged: &'a [AnchorId],
    pub(super) judge: Judge<'a>,
    /// One stage per pool, in column order.
    pub(super) pools: Vec<Stage>,
    pub(super) judged_stage: Stage,
    pub(super) inputs: BTreeMap<String, String>,
    pub(super) notices: BTreeMap<String, u64>,
    /// Per pool: what is still to be encoded.
    pub(super) outlooks: Vec<Option<Outlook>>,
    pub(super) clock: &'a Clock,
}

/// Wall seconds per stage.
#[derive(Debug)]
pub(super) struct Clock {
    start: std::time::Instant,
    laps: Mutex<Vec<(String, f64)>>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { start: std::time::Instant::now(), laps: Mutex::default() }
    }

    /// Ends a stage.
    pub(super) fn lap(&self, name: &str) {
        let now = self.total();
        // A thread that failed while it held the lock has failed the run; its laps are of no use.
        if let Ok(mut laps) = self.laps.lock() {
            let before: f64 = laps.iter().map(|(_, s)| s).sum();
            laps.push((name.to_owned(), now - before));
        }
    }

    pub(super) fn laps(&self) -> Vec<(String, f64)> {
        self.laps.lock().map(|laps| laps.clone()).unwrap_or_default()
    }

    pub(super) fn total(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

/// Where a run keeps its work.
pub(super) fn work_folder(plan: &Plan, options: &RunOptions) -> PathBuf {
    Store::beside(options.work.as_deref(), &plan.spec.write.path)
}

/// Opens the job and hands it to `work`.
pub(super) fn with_job<T>(
    plan: &Plan,
    options: &RunOptions,
    encode: Encode,
    progress: &dyn Progress,
    cancel: &AtomicBool,
    work: impl FnOnce(&Job<'_>) -> Result<T>,
) -> Result<T> {
    let clock = Clock::new();
    let models = dense::open_models(plan, progress, cancel)?;
    let store = Store::open(&work_folder(plan, options))?;
    let inputs = hash_inputs(plan, &models, progress, cancel)?;
    clock.lap("hash inputs");

    let group = plan.group().map(|g| ColumnSpec { name: g.column.clone(), kind: ColumnKind::Label });
    let time = plan.time().map(|t| ColumnSpec { name: t.column.clone(), kind: ColumnKind::Time });
    let columns: Vec<ColumnSpec> = group.into_iter().chain(time).collect();
    let data: Vec<PathBuf> = plan.spec.data.files()?;
    let read_key = Key::new("read")
        .with_json("data", &plan.spec.data)?
        .with("columns", format!("{columns:?}"))
        .with_json("inputs", &hashes_of(&inputs, &data))?;
    let read_stage = store.stage("read", &read_key)?;
    progress.stage("read", 0, "records");
    let dataset = open_dataset(plan, &columns, &read_stage, options.fresh, progress, cancel)?;
    check(cancel)?;
    clock.lap("read");
    let mut notices = dataset.notices.clone();

    let level = plan.spec.data.level;
    let all = (0..dataset.anchors.len() as u32).map(AnchorId);
    let wanted = |a: &AnchorId| plan.all_anchors || dataset.judgements.positives(a.0, level).next().is_some();
    let judged: Vec<AnchorId> = all.filter(wanted).collect();
    if judged.is_empty() {
        return Err(Error::usage(
            "no anchor has a positive, so there is nothing to mine for",
            format!("check the judgements, or lower --level (now {level})"),
        ));
    }
    let anchor_ids = (0..dataset.anchors.len() as u32).map(|a| dataset.anchors.id(a));
    let keys: Vec<u64> = anchor_ids.map(draw_key).collect();
    let side = dense::Side { dataset: &dataset, judged: &judged, store: &store, read_key: &read_key };
    let vectors = side.open(plan, &models, encode, &mut notices, progress, cancel)?;
    // Their weights are not needed any more and large.
    drop(models);
    clock.lap("vectors");
    let budget = Budget::new(options.memory, dataset.memory(), plan.spec.pool.len() as u64)?;

    let lexicals = open_lexicals(plan, &dataset, &store, &read_key, options.fresh, progress, cancel)?;
    clock.lap("terms");
    let clusters: Vec<ClusterCell<'_>> = vectors.iter().map(|_| ClusterCell::new()).collect();
    let mut sources: Vec<(String, Box<dyn Source + '_>)> = Vec::new();
    for ((pool, vectors), clusters) in plan.spec.pool.iter().zip(&vectors).zip(&clusters) {
        let source: Box<dyn Source + '_> = match &pool.source {
            SourceSpec::Bm25(bm25) => Box::new(Bm25Source::new(
                lexical(&lexicals, bm25)?,
                &bm25.weights,
                budget.index,
                &dataset.anchors,
                &judged,
            )?),
            SourceSpec::Vectors(_) | SourceSpec::Dense(_) => match vectors.ready() {
                Some([documents, queries]) => {
                    let room = budget.index as usize;
                    let exact = VectorsSource::new(documents, queries, &judged, room, cancel)?;
                    match pool.source.approximate() {
                        None => Box::new(exact),
                        Some(target) => {
                            let aim = (target, plan.spec.seed);
                            Box::new(ApproximateSource::new(exact, documents, clusters, aim, room, cancel))
                        }
                    }
                }
                None => Box::new(PendingSource),
            },
            SourceSpec::Sparse(_) => match vectors.sparse() {
                Some([documents, queries]) => {
                    Box::new(SparseSource::new(documents, queries, &judged, budget.index)?)
                }
                None => Box::new(PendingSource),
            },
            SourceSpec::Run(run) => {
                let run = read::trec::read_run(&run.path)?;
                let source = RunSource::new(&run, &dataset.anchors, &dataset.items, &judged);
                for (what, count) in [
                    (
                        format!("lines of {} for queries that are no anchor", pool.name),
                        source.unknown_queries,
                    ),
                    (format!("lines of {} for missing documents", pool.name), source.unknown_documents),
                ] {
                    if count > 0 {
                        notices.insert(what, count);
                    }
                }
                Box::new(source)
            }
            SourceSpec::Given {} => {
                let given = dataset.given.as_ref().ok_or_else(|| {
                    Error::usage(
                        "the input has no negatives of its own for --source given",
                        "it reads triples, FlagEmbedding, Tevatron and native files",
                    )
                })?;
                Box::new(GivenSource { given, judged: &judged })
            }
            SourceSpec::Random {} => Box::new(RandomSource {
                documents: dataset.items.len(),
                seed: plan.spec.seed,
                keys: &keys,
                judged: &judged,
            }),
        };
        sources.push((pool.name.clone(), source));
    }
    clock.lap("index");

    let known = known_positives(&dataset, level);
    let (items, anchors) = catalogues(plan, &dataset, budget, progress, cancel)?;
    let likeness = open_likeness(plan, &lexicals, &vectors, cancel)?;
    let overlap = match plan.has("near") {
        true => Some(ShingleOverlap::new(&dataset.items, budget.shingles as usize)?),
        false => None,
    };
    let taxonomy: Option<Taxonomy> = match plan.taxonomy() {
        Some(filter) => {
            let (taxonomy, unknown) = taxonomy::read(Path::new(&filter.file), &dataset.items)?;
            if unknown > 0 {
                notices.insert("taxonomy edges between missing documents".into(), unknown);
            }
            Some(taxonomy)
        }
        None => None,
    };
    let program = match plan.command() {
        Some(command) => Some(Program::new(command, &dataset, &work_folder(plan, options))?),
        None => None,
    };
    clock.lap("facts");

    let (pools, judged_stage) = stages(plan, &store, &read_key, &inputs)?;
    let judge = Judge {
        sources: sources.iter().map(|(name, source)| (name.clone(), &**source)).collect(),
        score_by: plan.score_by,
        filters: plan.filters()?,
        selector: plan.selector()?,
        facts: Facts {
            items: &items,
            anchors: &anchors,
            known: &known,
            likeness: likeness.as_deref(),
            overlap: overlap.as_ref().map(|o| o as &dyn Overlap),
            taxonomy: taxonomy.as_ref(),
            outside: program.as_ref().map(|p| p as &dyn Outside),
        },
        judgements: &dataset.judgements,
        level,
        keys: &keys,
        negatives: plan.spec.select.negatives,
        shortfall: plan.spec.select.shortfall,
        seed: plan.spec.seed,
        documents: dataset.items.len(),
    };
    work(&Job {
        plan,
        dataset: &dataset,
        judged: &judged,
        judge,
        pools,
        judged_stage,
        inputs,
        notices,
        outlooks: vectors.iter().map(Pair::pending).collect(),
        clock: &clock,
    })
}

/// Key of an anchor's random draws: its id alone decides, not its place in the file.
fn draw_key(id: &str) -> u64 {
    let hash = blake3::hash(id.as_bytes());
    u64::from_le_bytes(std::array::from_fn(|i| hash.as_bytes()[i]))
}

/// Files that only judging reads: a taxonomy, and an outside program with the files that its command names.
fn judged_files(plan: &Plan) -> Vec<PathBuf> {
    let taxonomy = plan.taxonomy().map(|t| PathBuf::from(&t.file));
    let program = plan.command().map(super::command::files).unwrap_or_default();
    taxonomy.into_iter().chain(program).collect()
}

/// The hashes of some of the inputs, in the files' order.
fn hashes_of(inputs: &BTreeMap<String, String>, files: &[PathBuf]) -> Vec<Option<String>> {
    files.iter().map(|f| inputs.get(&f.display().to_string()).cloned()).collect()
}

/// The files that a source reads.
fn pool_files(source: &SourceSpec) -> Vec<PathBuf> {
    match source {
        SourceSpec::Vectors(v) => dense::files(v),
        SourceSpec::Dense(dense) => vec![PathBuf::from(&dense.model)],
        SourceSpec::Sparse(sparse) => vec![PathBuf::from(&sparse.model)],
        SourceSpec::Run(run) => vec![run.path.clone()],
        SourceSpec::Bm25(_) | SourceSpec::Given {} | SourceSpec::Random {} => Vec::new(),
    }
}

/// BLAKE3 of every input file, and the fingerprint of every model.
fn hash_inputs(
    plan: &Plan,
    models: &Models,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<BTreeMap<String, String>> {
    let mut files = plan.spec.data.files()?;
    let mut hashes = BTreeMap::new();
    for (pool, model) in plan.spec.pool.iter().zip(models) {
        match (&pool.source, model) {
            // A model is many files and says itself what of them counts.
            (SourceSpec::Dense(DenseSpec { model: name, .. }), Some(model))
            | (SourceSpec::Sparse(SparseSpec { model: name, .. }), Some(model)) => {
                hashes.insert(name.clone(), model.fingerprint().to_owned());
            }
            (source, _) => files.extend(pool_files(source)),
        }
    }
    files.extend(judged_files(plan));
    progress.stage("hash inputs", files.len() as u64, "files");
    for file in files {
        check(cancel)?;
        let hash = input::content_hash(&file)?;
        hashes.insert(file.display().to_string(), hash);
        progress.advance(1);
    }
    Ok(hashes)
}

fn open_dataset(
    plan: &Plan,
    columns: &[ColumnSpec],
    stage: &Stage,
    fresh: bool,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Dataset> {
    if !fresh && let Ok(dataset) = Dataset::open(stage.folder()) {
        return Ok(dataset);
    }
    let mut rejects = plan.spec.write.path.clone().into_os_string();
    rejects.push(".rejects.jsonl");
    let rejects = PathBuf::from(rejects);
    let seen = Cell::new(0);
    let watch = |records: u64| {
        progress.advance(records - seen.replace(records));
        check(cancel)
    };
    let options = LoadOptions { work: stage.folder(), rejects: Some(&rejects), columns, watch: Some(&watch) };
    let dataset = Dataset::load(&plan.spec.data, &options)?;
    dataset.save(stage.folder())?;
    Ok(dataset)
}

/// One forward index per set of token options that some pool or filter needs.
fn open_lexicals(
    plan: &Plan,
    dataset: &Dataset,
    store: &Store,
    read_key: &Key,
    fresh: bool,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Vec<Lexical>> {
    let mut lexicals: Vec<Lexical> = Vec::new();
    if !plan.needs_terms() {
        return Ok(lexicals);
    }
    let mut wanted: Vec<_> = plan.spec.pool.iter().filter_map(bm25_of).map(|b| b.tokens.clone()).collect();
    if wanted.is_empty() {
        wanted.push(plan.spec.judge.kin_tokens.clone());
    }
    for tokens in wanted {
        if lexicals.iter().any(|l| l.tokens == tokens) {
            continue;
        }
        let key = Key::new("terms").with("read", read_key.hex()).with_json("tokens", &tokens)?;
        progress.stage("index terms", dataset.items.len() as u64, "documents");
        let advance = |n: usize| progress.advance(n as u64);
        let stage = store.stage("terms", &key)?;
        lexicals.push(Lexical::open(&dataset.items, &tokens, &stage, fresh, cancel, &advance)?);
    }
    Ok(lexicals)
}

fn bm25_of(pool: &PoolSpec) -> Option<&Bm25Spec> {
    match &pool.source {
        SourceSpec::Bm25(bm25) => Some(bm25),
        _ => None,
    }
}

fn lexical<'a>(lexicals: &'a [Lexical], bm25: &Bm25Spec) -> Result<&'a Lexical> {
    let found = lexicals.iter().find(|l| l.tokens == bm25.tokens);
    found.ok_or_else(|| Error::usage("the index of a BM25 pool is not open", ""))
}

fn open_likeness<'a>(
    plan: &Plan,
    lexicals: &[Lexical],
    vectors: &'a [Pair],
    cancel: &AtomicBool,
) -> Result<Option<Box<dyn Likeness + 'a>>> {
    if !plan.has("kin") {
        return Ok(None);
    }
    if plan.spec.judge.kin_by == KinBy::Vectors {
        // A plan may come before the vectors.
        let ready = vectors.iter().find_map(Pair::ready);
        return Ok(ready.map(|[documents, _]| Box::new(VectorsLikeness { documents }) as Box<dyn Likeness>));
    }
    let lexical = lexicals.first().ok_or_else(|| Error::usage("the terms are not open", ""))?;
    let watch = hardrock_engine::index::Watch { cancel: Some(cancel), progress: None };
    let tfidf = TfIdf::build(Arc::clone(&lexical.forward), &watch)?;
    Ok(Some(Box::new(TfIdfLikeness(tfidf))))
}

/// The stages of all pools and of judging: each depends on what goes into it and on nothing else.
fn stages(
    plan: &Plan,
    store: &Store,
    read_key: &Key,
    inputs: &BTreeMap<String, String>,
) -> Result<(Vec<Stage>, Stage)> {
    let spec = &plan.spec;
    let mut judge_key = Key::new("judge")
        .with("read", read_key.hex())
        .with_json("judge", &spec.judge)?
        .with_json("filters", &spec.filters)?
        .with_json("select", &spec.select)?
        .with("seed", spec.seed.to_le_bytes())
        .with("anchors", [u8::from(plan.all_anchors)]);
    judge_key = judge_key.with_json("files", &hashes_of(inputs, &judged_files(plan)))?;
    let mut pools = Vec::new();
    for pool in &spec.pool {
        let files = pool_files(&pool.source);
        let mut key = Key::new("pool")
            .with("read", read_key.hex())
            .with_json("source", &pool.source)?
            .with("depth", (pool.depth as u64).to_le_bytes())
            .with_json("files", &hashes_of(inputs, &files))?
            .with("anchors", [u8::from(plan.all_anchors)]);
        if matches!(pool.source, SourceSpec::Random {}) {
            key = key.with("seed", spec.seed.to_le_bytes());
        }
        judge_key = judge_key.with("name", &pool.name).with("pool", key.hex());
        pools.push(store.stage("pool", &key)?);
    }
    Ok((pools, store.stage("judge", &judge_key)?))
}
