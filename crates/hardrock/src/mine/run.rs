//! Runs a job: propose, judge, write. Finished chunks are used again, so an interrupted run goes on where it stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use hardrock_core::Block;
use hardrock_engine::index::Neighbours;
use rayon::prelude::*;

use super::chunks::{load_judged, load_proposals, save_judged, save_proposals};
use super::dense::Encode;
use super::judge::Judged;
use super::plan::Plan;
use super::prepare::{Job, check, with_job};
use super::spec::MineSpec;
use super::{Progress, promise, write};
use crate::manifest::{Manifest, SearchRecall};
use crate::sources::Sample;
use crate::store::Array;
use crate::{Error, Result};

/// Anchors per chunk on disk: what a crash can lose.
pub(super) const CHUNK: usize = 1024;

/// Chunks that are searched for together at most, where that saves passes over the documents.
const TOGETHER: usize = 64;

/// Anchors per judged block: a filter sees this many rows at once, whatever the number of threads.
pub(super) const BLOCK: usize = 128;

/// How to run, as opposed to what to compute: nothing here changes a result.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Work folder; none = `.hardrock` beside the output.
    pub work: Option<PathBuf>,
    /// Ceiling on memory in bytes.
    pub memory: Option<u64>,
    /// Replace existing outputs.
    pub force: bool,
    /// Do not use earlier work.
    pub fresh: bool,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The manifest, as written.
    pub manifest: Manifest,
    /// The files written, the training file first.
    pub files: Vec<PathBuf>,
    /// Chunks of earlier runs that were used again.
    pub reused: u64,
    /// Wall seconds.
    pub seconds: f64,
}

/// Mines. Bad input ends here with an error that names it and leaves no output behind.
pub fn run(
    spec: MineSpec,
    options: &RunOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Outcome> {
    run_plan(&Plan::new(spec)?, options, progress, cancel)
}

/// Runs a plan.
pub(super) fn run_plan(
    plan: &Plan,
    options: &RunOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Outcome> {
    let replace = write::may_replace(plan, options)?;
    with_job(plan, options, Encode::All, progress, cancel, |job| {
        let (mut reused, mut recalls) = (0, BTreeMap::new());
        for pool in 0..job.pools.len() {
            reused += propose(job, pool, options.fresh, progress, cancel)?;
            if let Some(measured) = recall(job, pool)? {
                recalls.insert(plan.spec.pool[pool].name.clone(), measured);
            }
            job.clock.lap(&format!("candidates: {}", plan.spec.pool[pool].name));
        }
        let promised = estimate_false_negatives(job, progress, cancel)?;
        reused += judge(job, options.fresh, progress, cancel)?;
        job.clock.lap("judge");
        let written = write::write(job, options, replace, recalls, promised.as_ref(), progress, cancel)?;
        // The candidates file holds what the judged chunks held; candidates themselves stay for the next filters.
        job.judged_stage.remove()?;
        Ok(Outcome { manifest: written.manifest, files: written.files, reused, seconds: job.clock.total() })
    })
}

/// Learns p_fn from the proposals, and sets the threshold that a promise asks for.
pub(super) fn estimate_false_negatives(
    job: &Job<'_>,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Option<promise::Promised>> {
    promise::learn_models(job, progress, cancel)?;
    if job.judge.p_fn.is_some() {
        job.clock.lap("learn p_fn");
    }
    let promised = promise::settle(job, progress, cancel)?;
    if let Some(promised) = &promised {
        // Nobody else sets it.
        let _ = job.judge.limit.set(promised.threshold);
        job.clock.lap("promise");
    }
    Ok(promised)
}

/// Number of chunks of a job.
pub(super) fn chunks(job: &Job<'_>) -> usize {
    job.judged.len().div_ceil(CHUNK)
}

/// Positions in the judged list of one chunk.
pub(super) fn range(job: &Job<'_>, chunk: usize) -> std::ops::Range<usize> {
    chunk * CHUNK..((chunk + 1) * CHUNK).min(job.judged.len())
}

/// Anchors that a source is asked for at once if `best` are best: whole chunks.
pub(crate) fn together(best: usize) -> usize {
    (best / CHUNK).clamp(1, TOGETHER) * CHUNK
}

/// Fills one pool's stage; returns how many chunks were there already.
pub(super) fn propose(
    job: &Job<'_>,
    pool: usize,
    fresh: bool,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<u64> {
    let (stage, spec) = (&job.pools[pool], &job.plan.spec.pool[pool]);
    let source = job.judge.sources[pool].1;
    let title = format!("candidates: {}", spec.name);
    progress.stage(&title, job.judged.len() as u64, "anchors");
    let (mut reused, mut prepared) = (0, false);
    let together = together(source.at_once(spec.depth)) / CHUNK;
    let missing = |chunk: usize| Ok::<_, Error>(fresh || load_proposals(stage, chunk)?.is_none());
    let mut chunk = 0;
    while chunk < chunks(job) {
        check(cancel)?;
        let first = range(job, chunk).start;
        if !missing(chunk)? {
            reused += 1;
            progress.advance(range(job, chunk).len() as u64);
            chunk += 1;
            continue;
        }
        if !prepared {
            source.prepare(fresh, progress)?;
            prepared = true;
            progress.stage(&title, job.judged.len() as u64, "anchors");
            progress.advance(first as u64);
        }
        let mut end = chunk + 1;
        while end < chunks(job) && end < chunk + together && missing(end)? {
            end += 1;
        }
        let found = source.propose(first..range(job, end - 1).end, spec.depth, cancel)?;
        for chunk in chunk..end {
            let rows = range(job, chunk);
            save_proposals(stage, chunk, &found.rows(rows.start - first..rows.end - first))?;
            progress.advance(rows.len() as u64);
        }
        chunk = end;
    }
    Ok(reused)
}

/// Anchors that recall is measured on.
const SAMPLE: usize = 512;

/// The recall of a pool's proposals, where its source is not exact: measured once on anchors spread over all, and kept
/// behind the last chunk.
fn recall(job: &Job<'_>, pool: usize) -> Result<Option<SearchRecall>> {
    let (stage, spec) = (&job.pools[pool], &job.plan.spec.pool[pool]);
    let Some(target) = spec.source.approximate() else { return Ok(None) };
    if let Some(arrays) = stage.load(chunks(job))?
        && let [mean, low, high] = arrays.f32s("recall")?[..]
    {
        let anchors = arrays.u64s("anchors")?.first().copied().unwrap_or_default();
        return Ok(Some(SearchRecall { target, mean, low, high, anchors }));
    }
    let count = SAMPLE.min(job.judged.len());
    let anchors: Vec<usize> = (0..count).map(|i| i * job.judged.len() / count).collect();
    let mut found = Neighbours { starts: vec![0], ..Neighbours::default() };
    for rows in anchors.chunk_by(|a, b| a / CHUNK == b / CHUNK) {
        let chunk = rows[0] / CHUNK;
        let proposals = load_proposals(stage, chunk)?.unwrap_or_default();
        for row in rows {
            let (items, scores) = proposals.row(row - chunk * CHUNK);
            found.items.extend_from_slice(items);
            found.scores.extend_from_slice(scores);
            found.starts.push(found.items.len());
        }
    }
    let sample = Sample { anchors: &anchors, depth: spec.depth, found: &found };
    let Some(measured) = job.judge.sources[pool].1.recall(&sample)? else { return Ok(None) };
    let [mean, low, high] = [measured.mean, measured.low, measured.high].map(|x| x as f32);
    let anchors = measured.anchors as u64;
    let (recall, sampled) = (Array::from(&[mean, low, high][..]), Array::from(&[anchors][..]));
    stage.save(chunks(job), &[("recall", recall), ("anchors", sampled)])?;
    Ok(Some(SearchRecall { target, mean, low, high, anchors }))
}

/// Judges and selects chunk by chunk; returns how many chunks were there already.
pub(super) fn judge(job: &Job<'_>, fresh: bool, progress: &dyn Progress, cancel: &AtomicBool) -> Result<u64> {
    progress.stage("judge", job.judged.len() as u64, "anchors");
    let names = job.plan.columns();
    let mut reused = 0;
    for chunk in 0..chunks(job) {
        check(cancel)?;
        let rows = range(job, chunk).len() as u64;
        if !fresh && load_judged(&job.judged_stage, chunk, &names)?.is_some() {
            reused += 1;
            progress.advance(rows);
            continue;
        }
        let blocks = judge_chunk(job, chunk, progress, cancel)?;
        save_judged(&job.judged_stage, chunk, &blocks)?;
    }
    Ok(reused)
}

/// Judges one chunk from its stored proposals.
pub(super) fn judge_chunk(
    job: &Job<'_>,
    chunk: usize,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Vec<Judged>> {
    let mut proposals = Vec::with_capacity(job.pools.len());
    for stage in &job.pools {
        let found = load_proposals(stage, chunk)?;
        proposals.push(found.ok_or_else(|| {
            Error::usage(
                format!("chunk {chunk} of {} is gone", stage.folder().display()),
                "two runs may be using one work folder; run again",
            )
        })?);
    }
    let range = range(job, chunk);
    let starts: Vec<usize> = range.clone().step_by(BLOCK).collect();
    let screen = |from: usize| {
        check(cancel)?;
        let to = (from + BLOCK).min(range.end);
        job.judge.screen(&job.judged[from..to], from - range.start, &proposals)
    };
    let mut blocks = starts.into_par_iter().map(screen).collect::<Result<Vec<_>>>()?;
    let consults = !job.judge.consulted.is_empty();
    for block in blocks.iter_mut().filter(|_| consults) {
        check(cancel)?;
        job.judge.consult(block)?;
        progress.advance(block.rows() as u64);
    }
    let conclude = |block: Block| -> Result<Judged> {
        check(cancel)?;
        let judged = job.judge.conclude(block)?;
        if !consults {
            progress.advance(judged.block.rows() as u64);
        }
        Ok(judged)
    };
    blocks.into_par_iter().map(conclude).collect()
}

/// One judged chunk: from the store, or judged again when its file has been damaged since.
pub(super) fn judged_chunk(
    job: &Job<'_>,
    chunk: usize,
    names: &[String],
    cancel: &AtomicBool,
) -> Result<Vec<Judged>> {
    match load_judged(&job.judged_stage, chunk, names)? {
        Some(blocks) => Ok(blocks),
        None => judge_chunk(job, chunk, &super::Silent, cancel),
    }
}
