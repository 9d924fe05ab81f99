//! Counts of p_fn over a run, for the manifest.

use std::collections::BTreeMap;

use hardrock_core::p_fn::signal::P_FN;
use hardrock_core::stats::{EDGES, bin, edges, reliability};

use super::judge::Judged;
use super::prepare::Job;
use super::promise::{Promised, would_live};
use crate::manifest::{PFnBin, PFnManifest};

/// Sums over all written rows.
pub(super) struct PFnTally {
    bins: Vec<(u64, u64)>,
    sum: f64,
    known: u64,
    hardest: u64,
    hardest_selected: u64,
    answers: BTreeMap<(u32, u32), bool>,
    checked: Vec<(f64, bool)>,
}

impl PFnTally {
    pub(super) fn new(job: &Job<'_>) -> Self {
        Self {
            bins: vec![(0, 0); EDGES.len() + 1],
            sum: 0.0,
            known: 0,
            hardest: 0,
            hardest_selected: 0,
            answers: job.verdicts.answers(),
            checked: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, judged: &Judged, k: usize) {
        for (r, row) in judged.block.iter().enumerate() {
            let Some(p) = row.signal(P_FN) else { return };
            let chosen = judged.selection.row(r);
            for (c, &p) in p.iter().enumerate().filter(|(_, p)| !p.is_nan()) {
                let slot = &mut self.bins[bin(f64::from(p))];
                slot.0 += 1;
                if chosen.contains(&c) {
                    slot.1 += 1;
                    self.sum += f64::from(p);
                    self.known += 1;
                }
                if let Some(&relevant) = self.answers.get(&(row.anchor().0, row.items()[c].0)) {
                    self.checked.push((f64::from(p), relevant));
                }
            }
            let survivors =
                (0..row.len()).filter(|&c| would_live(row.verdicts()[c].map(|v| v.reason))).take(k);
            for c in survivors {
                self.hardest += 1;
                self.hardest_selected += u64::from(chosen.contains(&c));
            }
        }
    }

    /// What the manifest says of p_fn; `None` where it was not estimated.
    pub(super) fn finish(
        self,
        job: &Job<'_>,
        promised: Option<&Promised>,
        short: f64,
    ) -> Option<PFnManifest> {
        let models = job.judge.p_fn.as_ref()?.models()?.clone();
        let kept = if self.hardest == 0 { 1.0 } else { self.hardest_selected as f64 / self.hardest as f64 };
        let mut depends = job.fingerprint.clone();
        depends.insert("model".into(), models.fingerprint());
        let bins =
            self.bins.iter().enumerate().filter(|(_, b)| b.0 > 0).map(|(i, &(candidates, selected))| {
                let (from, to) = edges(i);
                PFnBin { from, to, candidates, selected }
            });
        // A model that learned from these very verdicts has its own, cross-fitted diagram.
        let checked = (models.verdicts == 0 && !self.checked.is_empty()).then(|| reliability(self.checked));
        Some(PFnManifest {
            max: promised.map(|p| p.threshold).or(job.plan.max_p_fn()),
            expected: if self.known == 0 { 0.0 } else { self.sum / self.known as f64 },
            hardness_kept: kept,
            bins: bins.collect(),
            reliability: models.reliability.clone().or(checked),
            depends,
            promise: promised.map(|p| {
                let mut m = p.manifest.clone();
                (m.hardness_kept, m.shortfall) = (kept, short);
                m
            }),
            models,
        })
    }
}
