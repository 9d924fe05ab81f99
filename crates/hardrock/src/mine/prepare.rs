//! Opens everything that a job needs: the data, its index, its sources, and what filters look up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hardrock_core::{AnchorId, Facts, FilterSpec, ItemId, Likeness, Opinion, Outside, Overlap, Taxonomy};
use hardrock_engine::index::TfIdf;

use super::budget::Budget;
use super::command::Program;
use super::dense::{self, Encode, Pair};
use super::facts::{catalogues, known_positives};
use super::judge::Judge;
use super::keys::{graph_key, hash_inputs, hashes_of, stages};
use super::likeness::{ShingleOverlap, TfIdfLikeness};
use super::open::{self, Belongings, Opener};
use super::opinions::{self, About, Failure, Judges};
use super::plan::Plan;
use super::promise::fingerprint;
use super::run::RunOptions;
use super::spec::{Bm25Spec, KinBy, PoolSpec, SourceSpec};
use super::verdicts::Verdicts;
use super::{Progress, taxonomy};
use crate::embed::Outlook;
use crate::p_fn::{Estimator, Parts, draw_key};
use crate::read::{self, ColumnKind, ColumnSpec, Dataset, LoadOptions};
use crate::sources::{ClusterCell, GivenSource, Lexical, RandomSource, RunSource, Source, VectorsLikeness};
use crate::store::{Key, Stage, Store};
use crate::{Error, Result};

/// Stops where the user asked to.
pub(crate) fn check(cancel: &AtomicBool) -> Result<()> {
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
    pub(super) budget: Budget,
    pub(super) clock: &'a Clock,
    /// Verdicts at hand, by the data's numbers.
    pub(super) verdicts: Verdicts,
    /// What a promise depends on, by name, the model left out.
    pub(super) fingerprint: BTreeMap<String, String>,
    /// Positives that were hidden, by anchor.
    pub(super) hidden: BTreeMap<AnchorId, ItemId>,
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
    let judges = Judges::open(plan, progress, cancel)?;
    let store = Store::open(&work_folder(plan, options))?;
    let mut inputs = hash_inputs(plan, &models, progress, cancel)?;
    let asked = judges.fingerprints();
    for (filter, model, fingerprint) in &asked {
        inputs.insert(format!("{filter}: {model}"), fingerprint.clone());
    }
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
    let mut dataset = open_dataset(plan, &columns, &read_stage, options.fresh, progress, cancel)?;
    let hidden = match plan.hide {
        true => super::bench::hide(&mut dataset, plan.spec.data.level, plan.spec.seed),
        false => BTreeMap::new(),
    };
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

    let lexicals =
        open_lexicals(plan, &dataset, &store, &read_key, (options.fresh, budget.rows), progress, cancel)?;
    clock.lap("terms");
    let clusters: Vec<ClusterCell<'_>> = vectors.iter().map(|_| ClusterCell::new()).collect();
    let documents: Vec<Vec<AnchorId>> = (0..plan.spec.pool.len())
        .map(|pool| open::graph_documents(plan, pool, &dataset, &judged))
        .collect::<Result<_>>()?;
    let (lexicals, room, seed) = (&lexicals[..], budget.index, plan.spec.seed);
    let opener = Opener { dataset: &dataset, judged: &judged, lexicals, level, seed, room, cancel };
    let mut sources: Vec<(String, Box<dyn Source + '_>)> = Vec::new();
    for (at, pool) in plan.spec.pool.iter().enumerate() {
        let own = Belongings { vectors: &vectors[at], clusters: &clusters[at], documents: &documents[at] };
        let source: Box<dyn Source + '_> = match &pool.source {
            SourceSpec::Bm25(_) | SourceSpec::Vectors(_) | SourceSpec::Dense(_) | SourceSpec::Static(_) => {
                opener.search(&pool.source, &own)?
            }
            SourceSpec::Graph(graph) => {
                let key = graph_key(plan, at, &read_key, &inputs, own.documents)?;
                opener.graph(pool, graph, &own, store.stage("graph", &key)?)?
            }
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
    let (mut items, anchors) = catalogues(plan, &dataset, budget, progress, cancel)?;
    if let Some(pool) = plan.family_graph() {
        let source = &sources[pool].1;
        source.prepare(options.fresh, progress)?;
        items.family = source.families(plan.family_threshold())?;
    }
    let tfidf = open_tfidf(plan, lexicals, cancel)?;
    let likeness = open_likeness(plan, tfidf.clone(), &vectors)?;
    let estimator = match (&tfidf, lexicals.first()) {
        (Some(tfidf), Some(lexical)) if plan.estimates() => {
            let ready = |p: &Pair| p.ready().is_some();
            let dense = vectors.iter().position(ready);
            let likeness = vectors.iter().find_map(Pair::ready).map(|[documents, _]| documents);
            let parts = Parts {
                dataset: &dataset,
                judged: &judged,
                level,
                forward: &lexical.forward,
                tfidf: Arc::clone(tfidf),
                vectors: likeness
                    .map(|documents| Box::new(VectorsLikeness { documents }) as Box<dyn Likeness>),
                dense,
            };
            let watch = hardrock_engine::index::Watch { cancel: Some(cancel), progress: None };
            Some(Estimator::new(parts, &watch)?)
        }
        _ => None,
    };
    let verdicts = Verdicts::open(plan, &dataset)?;
    let relevant = verdicts.relevant(dataset.anchors.len());
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
    let failure = Failure::default();
    let about = About { dataset: &dataset, store: &store, failure: &failure, cancel };
    let (guide, cross_encoder) = about.open(&judges)?;
    clock.lap("facts");

    let (pools, judged_stage) = stages(plan, &store, &read_key, &inputs, &asked)?;
    let before = |filter: &&FilterSpec| !opinions::NAMES.contains(&filter.name());
    let first = plan.spec.filters.chain.iter().take_while(before).count();
    let judge = Judge {
        sources: sources.iter().map(|(name, source)| (name.clone(), &**source)).collect(),
        score_by: plan.score_by,
        filters: plan.filters()?,
        consulted: first..first + asked.len(),
        failure: &failure,
        selector: plan.selector()?,
        facts: Facts {
            items: &items,
            anchors: &anchors,
            known: &known,
            judged: &relevant,
            likeness: likeness.as_deref(),
            overlap: overlap.as_ref().map(|o| o as &dyn Overlap),
            taxonomy: taxonomy.as_ref(),
            guide: guide.as_ref().map(|g| g as &dyn Opinion),
            cross_encoder: cross_encoder.as_ref().map(|c| c as &dyn Opinion),
            outside: program.as_ref().map(|p| p as &dyn Outside),
        },
        judgements: &dataset.judgements,
        level,
        keys: &keys,
        negatives: plan.spec.select.negatives,
        shortfall: plan.spec.select.shortfall,
        seed: plan.spec.seed,
        documents: dataset.items.len(),
        p_fn: estimator,
        limit: std::sync::OnceLock::new(),
    };
    work(&Job {
        verdicts,
        hidden,
        fingerprint: fingerprint(plan, &read_key, &pools)?,
        plan,
        dataset: &dataset,
        judged: &judged,
        judge,
        pools,
        judged_stage,
        inputs,
        notices,
        outlooks: vectors.iter().map(Pair::pending).collect(),
        budget,
        clock: &clock,
    })
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
    (fresh, room): (bool, u64),
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Vec<Lexical>> {
    let mut lexicals: Vec<Lexical> = Vec::new();
    if !plan.needs_terms() {
        return Ok(lexicals);
    }
    let mut all: Vec<_> = plan.spec.pool.iter().filter_map(bm25_of).map(|b| b.tokens.clone()).collect();
    if all.is_empty() {
        all.push(plan.spec.judge.kin_tokens.clone());
    }
    let wanted = all.len() as u64;
    for tokens in all {
        if lexicals.iter().any(|l| l.tokens == tokens) {
            continue;
        }
        let key = Key::new("terms").with("read", read_key.hex()).with_json("tokens", &tokens)?;
        progress.stage("index terms", dataset.items.len() as u64, "documents");
        let advance = |n: usize| progress.advance(n as u64);
        let stage = store.stage("terms", &key)?;
        lexicals.push(Lexical::open(
            &dataset.items,
            &tokens,
            &stage,
            (fresh, room / wanted),
            cancel,
            &advance,
        )?);
    }
    Ok(lexicals)
}

fn bm25_of(pool: &PoolSpec) -> Option<&Bm25Spec> {
    match pool.source.compares() {
        SourceSpec::Bm25(bm25) => Some(bm25),
        _ => None,
    }
}

pub(super) fn lexical<'a>(lexicals: &'a [Lexical], bm25: &Bm25Spec) -> Result<&'a Lexical> {
    let found = lexicals.iter().find(|l| l.tokens == bm25.tokens);
    found.ok_or_else(|| Error::usage("the index of a BM25 pool is not open", ""))
}

/// The tf-idf weights that `kin` and p_fn share.
fn open_tfidf(plan: &Plan, lexicals: &[Lexical], cancel: &AtomicBool) -> Result<Option<Arc<TfIdf>>> {
    let by_terms = plan.has("kin") && plan.spec.judge.kin_by == KinBy::TfIdf;
    let Some(lexical) = lexicals.first().filter(|_| by_terms || plan.estimates()) else { return Ok(None) };
    let watch = hardrock_engine::index::Watch { cancel: Some(cancel), progress: None };
    Ok(Some(Arc::new(TfIdf::build(Arc::clone(&lexical.forward), &watch)?)))
}

fn open_likeness<'a>(
    plan: &Plan,
    tfidf: Option<Arc<TfIdf>>,
    vectors: &'a [Pair],
) -> Result<Option<Box<dyn Likeness + 'a>>> {
    if !plan.has("kin") {
        return Ok(None);
    }
    if plan.spec.judge.kin_by == KinBy::Vectors {
        // A plan may come before the vectors.
        let ready = vectors.iter().find_map(Pair::ready);
        return Ok(ready.map(|[documents, _]| Box::new(VectorsLikeness { documents }) as Box<dyn Likeness>));
    }
    let tfidf = tfidf.ok_or_else(|| Error::usage("the terms are not open", ""))?;
    Ok(Some(Box::new(TfIdfLikeness(tfidf))))
}
