//! What a job selects, for those who go on with it in memory instead of in files.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use hardrock_core::AnchorId;

use super::Progress;
use super::dense::Encode;
use super::plan::{Plan, asks_for_p_fn};
use super::prepare::{check, with_job};
use super::run::{RunOptions, chunks, estimate_false_negatives, judge, judged_chunk, propose};
use super::spec::{MineSpec, PFnModel};
use crate::Result;
use crate::read::Dataset;

/// A job's data with the negatives of each anchor.
pub(crate) struct Selected<'a> {
    /// The data.
    pub(crate) dataset: &'a Dataset,
    /// Anchors with a positive, in reading order.
    pub(crate) anchors: &'a [AnchorId],
    /// Documents chosen for each of them, in the selection's order; empty where nothing was to be mined.
    pub(crate) negatives: Vec<Vec<u32>>,
    /// Input files with their hashes.
    pub(crate) inputs: &'a BTreeMap<String, String>,
    /// Bytes that an index may take.
    pub(crate) budget: usize,
}

/// Opens the data, mines where `mined` says so, and hands both to `work`. Proposals and verdicts are kept in the work folder, so
/// that the same job mines once.
pub(crate) fn with_selected<T>(
    mut spec: MineSpec,
    mined: bool,
    options: &RunOptions,
    progress: &dyn Progress,
    cancel: &AtomicBool,
    work: impl FnOnce(&Selected<'_>) -> Result<T>,
) -> Result<T> {
    if !mined {
        // Nothing is proposed: the cheapest source there is, and nothing to judge.
        spec.pool = vec![super::flags::pool("random", 1)?];
        spec.judge = Default::default();
        spec.filters.chain.clear();
        spec.select = Default::default();
    }
    if !asks_for_p_fn(&spec) {
        // Nobody would read the estimates.
        spec.p_fn.model = PFnModel::None;
    }
    let plan = Plan::new(spec)?;
    with_job(&plan, options, Encode::All, progress, cancel, |job| {
        let mut negatives = Vec::new();
        if mined {
            for pool in 0..job.pools.len() {
                propose(job, pool, options.fresh, progress, cancel)?;
            }
            estimate_false_negatives(job, progress, cancel)?;
            judge(job, options.fresh, progress, cancel)?;
            let names = plan.columns();
            for chunk in 0..chunks(job) {
                check(cancel)?;
                for judged in judged_chunk(job, chunk, &names, cancel)? {
                    for (r, row) in judged.block.iter().enumerate() {
                        let chosen = judged.selection.row(r).iter().map(|&at| row.items()[at].0);
                        negatives.push(chosen.chain(judged.filled[r].iter().map(|item| item.0)).collect());
                    }
                }
            }
        }
        work(&Selected {
            dataset: job.dataset,
            anchors: job.judged,
            negatives,
            inputs: &job.inputs,
            budget: job.budget.index as usize,
        })
    })
}
