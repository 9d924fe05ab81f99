//! Writes a judged job: the training file, the candidates file, the manifest. Each appears whole under its name or not at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId, NO_RANK, Reason};

use super::Progress;
use super::budget::peak_memory;
use super::judge::{Judged, ScoreBy};
use super::plan::Plan;
use super::prepare::{Job, check, work_folder};
use super::promise::Promised;
use super::run::{RunOptions, chunks, judged_chunk};
use super::spec::{Shortfall, Weight};
use super::tally::PFnTally;
use crate::atomic::{AtomicFile, remove_partial, write_atomically};
use crate::candidates::{CandidatesWriter, Names};
use crate::manifest::{Counts, Manifest, SearchRecall};
use crate::outputs::Outputs;
use crate::read::{Dataset, NO_TEXT, input};
use crate::rows::{self, Doc, RowWriter, TrainingRow, WriteOptions};
use crate::{Error, Result};

/// The files of a finished run.
pub(super) struct Written {
    pub(super) manifest: Manifest,
    pub(super) files: Vec<PathBuf>,
}

/// All that a run writes under names of its own.
fn outputs(plan: &Plan) -> Vec<PathBuf> {
    let Outputs { mined, candidates, manifest } = Outputs::of(&plan.spec.write.path);
    let candidates = plan.spec.write.keep_candidates.then_some(candidates);
    [mined, manifest].into_iter().chain(candidates).collect()
}

/// Says that this output is being named file by file, so that a kill between two renames does not turn our own
/// half-published output into a file that must not be replaced.
fn marker(plan: &Plan, options: &RunOptions) -> PathBuf {
    let out = std::path::absolute(&plan.spec.write.path).unwrap_or_else(|_| plan.spec.write.path.clone());
    let name = blake3::hash(out.as_os_str().as_encoded_bytes()).to_hex();
    work_folder(plan, options).join(format!("publishing-{}", &name[..16]))
}

/// Refuses before any work is done: an output that exists, or a folder that does not. The answer is whether existing
/// outputs are to be replaced.
pub(super) fn may_replace(plan: &Plan, options: &RunOptions) -> Result<bool> {
    let force = options.force || marker(plan, options).exists();
    let out = &plan.spec.write.path;
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Error::usage(
            format!("the folder {} of the output does not exist", folder.display()),
            "make it, or name another with -o",
        ));
    }
    if out.is_dir() {
        return Err(Error::usage(
            format!("{} is a folder", out.display()),
            "name a file with -o, e.g. -o train.jsonl",
        ));
    }
    match outputs(plan).into_iter().find(|p| p.exists()) {
        Some(path) if !force => Err(Error::Exists { path }),
        _ => Ok(force),
    }
}

/// Ids for the candidates file.
struct Ids<'a>(&'a Dataset);

impl Names for Ids<'_> {
    fn anchor(&self, anchor: AnchorId) -> &str {
        self.0.anchors.id(anchor.0)
    }

    fn item(&self, item: ItemId) -> &str {
        self.0.items.id(item.0)
    }
}

/// Streams all judged chunks into the outputs.
pub(super) fn write(
    job: &Job<'_>,
    options: &RunOptions,
    replace: bool,
    recall: BTreeMap<String, SearchRecall>,
    promised: Option<&Promised>,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Written> {
    let spec = &job.plan.spec;
    let out = &spec.write.path;
    progress.stage("write", job.judged.len() as u64, "anchors");
    remove_partial(out)?;
    let write_options = WriteOptions {
        force: replace,
        scores: spec.write.scores.unwrap_or_default(),
        negatives: spec.select.negatives,
        ..WriteOptions::default()
    };
    let mut training = rows::writer(out, job.plan.format, &write_options)?;
    let Outputs { candidates: candidates_path, manifest: path, .. } = Outputs::of(out);
    let mut candidates = match spec.write.keep_candidates {
        true => Some(Candidates::create(&candidates_path, job)?),
        false => None,
    };
    let (names, columns) = (job.plan.names(), job.plan.columns());
    let mut tally = PFnTally::new(job);
    let mut counts = Counts { documents: job.dataset.items.len() as u64, ..Counts::default() };
    for chunk in 0..chunks(job) {
        check(cancel)?;
        for judged in judged_chunk(job, chunk, &columns, cancel)? {
            write_block(job, &judged, &mut *training, &mut counts)?;
            tally.add(&judged, job.judge.negatives);
            if let Some(candidates) = &mut candidates {
                candidates.writer.write_block(
                    &judged.block,
                    &judged.selection,
                    &judged.filled,
                    &Ids(job.dataset),
                )?;
            }
            progress.advance(judged.block.rows() as u64);
        }
    }
    counts.check().map_err(|e| Error::usage(format!("counts do not add up: {e}"), "please report this"))?;
    let mut notices = job.notices.clone();
    let marker = marker(job.plan, options);
    std::fs::write(&marker, []).map_err(Error::io("write", &marker))?;
    let finished = training.finish()?;
    for (what, n) in finished.notices {
        notices.insert(what, n);
    }
    let mut files = finished.files;
    if let Some(candidates) = candidates {
        files.push(candidates.finish()?);
    }
    job.clock.lap("write");
    let mut hashes = BTreeMap::new();
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hashes.insert(name, input::content_hash(file)?);
    }
    let short = counts.short as f64 / counts.requested.max(1) as f64;
    let manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // By way of text: a 32-bit 0.8 is to stay 0.8.
        config: serde_json::to_string(spec)
            .and_then(|text| serde_json::from_str(&text))
            .map_err(|e| Error::usage(e.to_string(), ""))?,
        score_by: spec.judge.score_by.clone().unwrap_or_default(),
        sources: names,
        inputs: job.inputs.clone(),
        outputs: hashes,
        counts,
        p_fn: tally.finish(job, promised, short),
        notices,
        recall,
        seconds: job.clock.laps(),
        peak_memory: peak_memory(),
    };
    let mut text = serde_json::to_string_pretty(&manifest).map_err(|e| Error::usage(e.to_string(), ""))?;
    text.push('\n');
    write_atomically(&path, &[text.as_bytes()])?;
    std::fs::remove_file(&marker).map_err(Error::io("remove", &marker))?;
    files.push(path);
    Ok(Written { manifest, files })
}

/// The candidates file on its way: it gets its name when it is whole.
struct Candidates {
    writer: CandidatesWriter<AtomicFile>,
}

impl Candidates {
    fn create(path: &Path, job: &Job<'_>) -> Result<Self> {
        let file = AtomicFile::create(path, true)?;
        let score_by = job.plan.spec.judge.score_by.as_deref().unwrap_or_default();
        let signals = job.judge.p_fn.as_ref().map(|e| e.signals()).unwrap_or_default();
        Ok(Self {
            writer: CandidatesWriter::create_with(file, path, &job.plan.columns(), &signals, score_by)?,
        })
    }

    fn finish(self) -> Result<PathBuf> {
        self.writer.finish()?.seal()?.publish()
    }
}

/// Writes the rows of one block and counts them.
fn write_block(
    job: &Job<'_>,
    judged: &Judged,
    training: &mut dyn RowWriter,
    counts: &mut Counts,
) -> Result<()> {
    let wanted = job.judge.negatives as u64;
    let tally = judged.block.tally();
    counts.retrieved += tally.retrieved();
    counts.kept += tally.kept;
    for &reason in Reason::ALL {
        let n = tally.dropped(reason);
        if n > 0 {
            *counts.dropped.entry(reason.name().to_owned()).or_default() += n;
        }
    }
    for (r, row) in judged.block.iter().enumerate() {
        let chosen = judged.selection.row(r);
        let filled = &judged.filled[r];
        let got = (chosen.len() + filled.len()) as u64;
        counts.anchors += 1;
        counts.positives += row.positives().len() as u64;
        counts.requested += wanted;
        let leave_out = got == 0 || (got < wanted && job.judge.shortfall == Shortfall::Drop);
        if got < wanted {
            counts.short_anchors += 1;
        }
        if leave_out {
            counts.dropped_anchors += 1;
            counts.short += wanted;
            continue;
        }
        counts.selected += got;
        counts.short += wanted - got;
        counts.filled += filled.len() as u64;
        training.write(&training_row(job, judged, r)?)?;
    }
    Ok(())
}

fn training_row(job: &Job<'_>, judged: &Judged, r: usize) -> Result<TrainingRow> {
    let row = judged.block.row(r);
    let items = &job.dataset.items;
    let doc = |item: ItemId, score: f32| -> Result<Doc> {
        let (title, text) = items.record(item.0)?;
        let no_text = items.text_hash(item.0) == NO_TEXT;
        Ok(Doc {
            id: Some(items.id(item.0).to_owned()),
            title,
            text: (!no_text).then_some(text),
            score: score.is_finite().then_some(score),
            ..Doc::default()
        })
    };
    // No source proposed it: its sum over sources is empty.
    let fused = |score: f32| if job.judge.score_by == ScoreBy::Rrf && score.is_nan() { 0.0 } else { score };
    let positives = row.positives().iter().zip(row.positive_scores());
    let mut out = TrainingRow {
        query_id: Some(job.dataset.anchors.id(row.anchor().0).to_owned()),
        query: match job.dataset.anchors.text_hash(row.anchor().0) {
            NO_TEXT => None,
            _ => Some(job.dataset.anchors.text(row.anchor().0)?),
        },
        positives: positives.map(|(&p, &s)| doc(p, fused(s))).collect::<Result<_>>()?,
        negatives: Vec::new(),
    };
    let weights = match job.plan.spec.write.weight {
        Some(Weight::PFn) => row.signal(hardrock_core::p_fn::signal::P_FN),
        None => None,
    };
    for &position in judged.selection.row(r) {
        let proposed = row.evidence().iter().filter(|e| row.source_ranks(e)[position] != NO_RANK);
        let sources: Vec<&str> = proposed.map(|e| e.source.as_str()).collect();
        out.negatives.push(Doc {
            rank: Some(position as u32),
            source: Some(sources.join("+")),
            weight: weights.map(|p| 1.0 - p[position]).filter(|w| w.is_finite()),
            ..doc(row.items()[position], row.scores()[position])?
        });
    }
    let filled = &judged.filled[r];
    let mut scores = vec![f32::NAN; filled.len()];
    if let (ScoreBy::Source(s), false) = (job.judge.score_by, filled.is_empty())
        && let Some((_, source)) = job.judge.sources.get(s)
    {
        source.score(row.anchor(), filled, &mut scores)?;
    }
    for (&item, score) in filled.iter().zip(scores) {
        out.negatives.push(Doc { source: Some("fill".into()), ..doc(item, fused(score))? });
    }
    Ok(out)
}
