//! Learns p_fn before anything is judged, and finds the threshold that a promise asks for.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use hardrock_core::p_fn::signal::P_FN;
use hardrock_core::promise::{self, Kind, OPEN};
use hardrock_core::{FilterSpec, Reason};
use rayon::prelude::*;

use super::Progress;
use super::chunks::load_proposals;
use super::plan::Plan;
use super::prepare::{Job, check};
use super::run::{BLOCK, CHUNK, chunks, judge_chunk, range};
use super::spec::{PFnModel, PromiseSpec};
use crate::manifest::PromiseManifest;
use crate::p_fn::{Models, SeedRow, Verdict, from_seeds, learn};
use crate::store::{Key, Stage};
use crate::verdicts::{Agreement, Store, is_store, plan as plans};
use crate::{Error, Result};

/// Chunks of anchors that seeds are looked for in: 4,096 anchors hold enough of them.
const SEED_CHUNKS: usize = 4;
/// Candidates of a row that an estimate looks at, in units of the negatives asked for.
const LOOKED_AT: usize = 8;

/// What a promise depends on, by name; the model is added when it is learned.
pub(super) fn fingerprint(plan: &Plan, read_key: &Key, pools: &[Stage]) -> Result<BTreeMap<String, String>> {
    let spec = &plan.spec;
    let json =
        |value: &dyn Fn() -> serde_json::Result<String>| value().map_err(|e| Error::usage(e.to_string(), ""));
    let folder = |s: &Stage| s.folder().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let others: Vec<&FilterSpec> =
        spec.filters.chain.iter().filter(|f| !matches!(f.name(), "p_fn" | "judged")).collect();
    let filters = (&others, spec.filters.family_threshold, &spec.judge.kin_by);
    let entries = [
        ("data", read_key.hex()),
        ("pool", pools.iter().map(folder).collect::<Vec<_>>().join(" ")),
        ("scorer", spec.judge.score_by.clone().unwrap_or_default()),
        ("filters", json(&|| serde_json::to_string(&filters))?),
        ("num-negatives", spec.select.negatives.to_string()),
        ("selection", json(&|| serde_json::to_string(&spec.select.rule))?),
    ];
    Ok(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Learns the models of p_fn from the stored proposals, and from verdicts where there are any to learn from.
pub(super) fn learn_models(job: &Job<'_>, progress: &dyn Progress, cancel: &AtomicBool) -> Result<()> {
    let Some(estimator) = &job.judge.p_fn else { return Ok(()) };
    progress.stage("learn p_fn", 0, "");
    let vectors = job.judge.sources.iter().zip(&job.plan.spec.pool).any(|(_, p)| p.source.is_dense());
    let seeds = match job.plan.spec.p_fn.model {
        PFnModel::Shipped => from_seeds(&[], vectors),
        _ => from_seeds(&seed_rows(job, cancel)?, vectors),
    };
    let lessons = lessons(job)?;
    let mut models = match (lessons.is_empty(), job.plan.spec.p_fn.model) {
        (true, PFnModel::Shipped) => Models::shipped("asked for"),
        (true, _) => seeds.models,
        (false, _) => match learn(&lessons, &seeds, vectors) {
            Ok(learned) => learned.models,
            // Asked for by name it must work; verdicts that are there for the filter may be too few to teach.
            Err(e) if job.plan.spec.p_fn.learn_from.is_some() => return Err(e),
            Err(_) => {
                let mut models = seeds.models;
                models.note += &format!("; {} verdicts are too few of one kind to learn from", lessons.len());
                models
            }
        },
    };
    if let Some(seed_auc) = &mut models.seed_auc {
        *seed_auc = (*seed_auc * 1e4).round() / 1e4;
    }
    estimator.set(models);
    Ok(())
}

fn seed_rows(job: &Job<'_>, cancel: &AtomicBool) -> Result<Vec<SeedRow>> {
    let Some(estimator) = &job.judge.p_fn else { return Ok(Vec::new()) };
    let n = chunks(job);
    let mut rows = Vec::new();
    for chunk in (0..n).step_by(n.div_ceil(SEED_CHUNKS)) {
        let proposals = proposals(job, chunk)?;
        let range = range(job, chunk);
        let starts: Vec<usize> = range.clone().step_by(BLOCK).collect();
        let parts: Vec<Vec<SeedRow>> = starts
            .into_par_iter()
            .map(|from| {
                check(cancel)?;
                let to = (from + BLOCK).min(range.end);
                let block = job.judge.gather(&job.judged[from..to], from - range.start, &proposals)?;
                let mut out = Vec::new();
                estimator.seed_rows(&block, &job.judge.facts, &job.judge.sources, &mut out)?;
                Ok(out)
            })
            .collect::<Result<_>>()?;
        rows.extend(parts.into_iter().flatten());
    }
    Ok(rows)
}

fn proposals(job: &Job<'_>, chunk: usize) -> Result<Vec<hardrock_engine::index::Neighbours>> {
    let gone = || Error::usage(format!("candidates of chunk {chunk} are gone"), "run again");
    job.pools.iter().map(|stage| load_proposals(stage, chunk)?.ok_or_else(gone)).collect()
}

/// The verdicts to learn from, each with the features that its pair has in this run; pairs outside the pool teach nothing.
fn lessons(job: &Job<'_>) -> Result<Vec<Verdict>> {
    let (Some(estimator), by_anchor) = (&job.judge.p_fn, job.verdicts.lessons()) else {
        return Ok(Vec::new());
    };
    let mut out = Vec::new();
    let mut loaded: Option<(usize, Vec<hardrock_engine::index::Neighbours>)> = None;
    for (position, &anchor) in job.judged.iter().enumerate() {
        let Some(pairs) = by_anchor.get(&anchor) else { continue };
        let chunk = position / CHUNK;
        if loaded.as_ref().is_none_or(|(c, _)| *c != chunk) {
            loaded = Some((chunk, proposals(job, chunk)?));
        }
        let Some((_, found)) = &loaded else { continue };
        let block = job.judge.gather(&[anchor], position % CHUNK, found)?;
        let row = block.row(0);
        let features = estimator.features(&row, &job.judge.facts, &job.judge.sources)?;
        for &(item, record) in pairs {
            let Some(at) = row.items().iter().position(|i| *i == item) else { continue };
            let text = job.dataset.items.text_hash(item.0);
            out.push(Verdict {
                anchor: record.query_id.clone(),
                family: if text == crate::read::NO_TEXT { u64::from(item.0) } else { text },
                features: features[at],
                relevant: record.answer == crate::verdicts::Answer::Relevant,
                drawn: record.drawn,
            });
        }
    }
    Ok(out)
}

/// A threshold and what can be said for it.
#[derive(Debug, Clone)]
pub(super) struct Promised {
    pub(super) threshold: f32,
    pub(super) manifest: PromiseManifest,
}

/// The threshold that a promise asks for: proved by verdicts where they can prove it, else estimated.
pub(super) fn settle(
    job: &Job<'_>,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Option<Promised>> {
    let (Some(promise), Some(models)) =
        (job.plan.spec.p_fn.promise, job.judge.p_fn.as_ref().and_then(|e| e.models()))
    else {
        return Ok(None);
    };
    let mut depends = job.fingerprint.clone();
    depends.insert("model".into(), models.fingerprint());
    let void = match &job.plan.spec.p_fn.verdicts {
        None => Vec::new(),
        Some(path) if !is_store(path) => {
            vec![
                "these verdicts are a list, without slots that were drawn before anything was judged"
                    .to_owned(),
            ]
        }
        Some(path) => {
            let store = Store::open(path)?;
            match planned(&store.plans()?, promise.share, &depends) {
                Ok(plan) => return proved(job, &store, &plan, promise).map(Some),
                Err(void) => void,
            }
        }
    };
    estimated(job, models, promise, void, progress, cancel).map(Some)
}

/// The plan for this share on exactly this run; else why there is none.
fn planned(
    all: &[plans::Plan],
    share: f64,
    depends: &BTreeMap<String, String>,
) -> std::result::Result<plans::Plan, Vec<String>> {
    if all.is_empty() {
        return Err(vec!["no slots were drawn before anything was judged".into()]);
    }
    let same: Vec<&plans::Plan> = all.iter().filter(|p| p.share == share).collect();
    let Some(newest) = same.last() else {
        let shares: Vec<String> = all.iter().map(|p| p.share.to_string()).collect();
        return Err(vec![format!(
            "the share {share} was chosen after the verdicts, which were given for {}",
            shares.join(", ")
        )]);
    };
    match same.iter().rev().find(|p| p.depends == *depends) {
        Some(plan) => Ok((*plan).clone()),
        None => {
            let names = plans::changed(&newest.depends, depends);
            Err(names.into_iter().map(|n| format!("{n} changed since the verdicts")).collect())
        }
    }
}

/// Rounds a share for words: `5 %`, `0.5 %`.
fn percent(share: f64) -> String {
    format!("{} %", (share * 1e4).round() / 100.0)
}

fn proved(job: &Job<'_>, store: &Store, plan: &plans::Plan, promise: PromiseSpec) -> Result<Promised> {
    let slots = store.slots(plan.id)?;
    let settled =
        plans::settle(&slots, &job.verdicts.records, promise.share, promise.confidence, promise.kind);
    let error = Agreement::of(&store.all()?).error();
    let floor = error.map_or(String::new(), |e| {
        format!(
            "; on doubly judged pairs a verdict is wrong {} of the time, and no lower share can be proved",
            percent(e)
        )
    });
    match settled.outcome {
        Err(refusal) => {
            let more = match refusal.more {
                Some(more) => {
                    format!("judge at least {} more slots (`hardrock judge RUN -n {}`)", more, more * 3 / 2)
                }
                None => "the share seen is not below the one asked for: ask for a higher one".to_owned(),
            };
            let average = match promise.kind {
                Kind::Confident => ", or accept a promise on average with --promise average",
                Kind::Average => "",
            };
            Err(Error::usage(
                format!(
                    "the verdicts do not prove a share of at most {}: {} slots judged, {} false negatives at the strictest \
                     threshold{floor}",
                    percent(promise.share),
                    refusal.slots,
                    refusal.hits
                ),
                more + average,
            ))
        }
        Ok(c) => {
            let threshold = plan.grid.get(c.threshold).copied().unwrap_or(OPEN);
            let judges: Vec<String> = settled.judges.keys().cloned().collect();
            let how = match promise.kind {
                Kind::Confident => format!("at {} confidence", percent(promise.confidence)),
                Kind::Average => {
                    "on average over repetitions, in about a third of which it is more".to_owned()
                }
            };
            let words = format!(
                "at most {} of the selected negatives are false, {how}, by the verdicts of {}: {} slots of {} anchors, {} false \
                 negatives{floor}",
                percent(promise.share),
                judges.join(", "),
                c.slots,
                settled.slots,
                c.hits
            );
            let manifest = PromiseManifest {
                share: promise.share,
                confidence: promise.confidence,
                kind: match promise.kind {
                    Kind::Confident => "confident",
                    Kind::Average => "average",
                }
                .into(),
                threshold,
                upper: Some(c.upper),
                slots: c.slots,
                hits: c.hits,
                verdicts: settled.verdicts,
                missing: settled.missing,
                judges: settled.judges,
                judge_error: error,
                anchors_covered: settled.slots,
                grid: plan.grid.clone(),
                void: Vec::new(),
                words,
                ..PromiseManifest::default()
            };
            Ok(Promised { threshold, manifest })
        }
    }
}

fn estimated(
    job: &Job<'_>,
    models: &Models,
    promise: PromiseSpec,
    void: Vec<String>,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Promised> {
    progress.stage("estimate", job.judged.len() as u64, "anchors");
    let k = job.judge.negatives;
    let mut rows: Vec<Vec<f32>> = Vec::with_capacity(job.judged.len());
    for chunk in 0..chunks(job) {
        for judged in judge_chunk(job, chunk, progress, cancel)? {
            for row in judged.block.iter() {
                let p = row.signal(P_FN).unwrap_or_default();
                let without = row.verdicts().iter().zip(p).filter(|(v, _)| would_live(v.map(|v| v.reason)));
                rows.push(without.map(|(_, &p)| p).take(LOOKED_AT * k).collect());
            }
        }
    }
    let found = promise::plug_in(&rows, k, promise.share).ok_or_else(|| {
        Error::usage(
            format!("no threshold on p_fn brings the estimated share down to {}", percent(promise.share)),
            "ask for a higher share, or judge candidates (`hardrock judge RUN`) and prove one",
        )
    })?;
    let factor = models.known_factor();
    let mut words = format!(
        "an estimate, not a promise: p_fn says that {} of the selected negatives are false (asked: {}); where it could be \
         checked, such estimates were right within a factor of {factor}",
        percent(found.estimate),
        percent(promise.share)
    );
    if !void.is_empty() {
        words += &format!("; the verdicts prove nothing here: {}", void.join("; "));
    }
    let manifest = PromiseManifest {
        share: promise.share,
        confidence: promise.confidence,
        kind: "estimate".into(),
        threshold: found.threshold,
        estimate: Some(found.estimate),
        void,
        words,
        ..PromiseManifest::default()
    };
    Ok(Promised { threshold: found.threshold, manifest })
}

/// Whether a candidate would live if nothing were known of p_fn and of verdicts: both filters run last.
pub(super) fn would_live(reason: Option<Reason>) -> bool {
    matches!(reason, None | Some(Reason::MaxPFn | Reason::Judged))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(id: u64, share: f64, k: &str) -> plans::Plan {
        let depends = BTreeMap::from([("num-negatives".to_owned(), k.to_owned())]);
        plans::Plan { id, share, depends, ..plans::Plan::default() }
    }

    #[test]
    fn only_the_plan_of_this_share_and_this_run_proves_anything() {
        let all = [plan(1, 0.05, "5"), plan(2, 0.1, "5"), plan(3, 0.05, "7")];
        let now = plan(0, 0.0, "5").depends;
        assert_eq!(planned(&all, 0.05, &now).unwrap().id, 1);
        let void = planned(&all, 0.02, &now).unwrap_err();
        assert!(void[0].contains("chosen after the verdicts"), "{void:?}");
        let void = planned(&all[1..2], 0.1, &plan(0, 0.0, "9").depends).unwrap_err();
        assert_eq!(void, ["num-negatives changed since the verdicts"]);
        assert!(planned(&[], 0.05, &now).is_err());
    }
}
