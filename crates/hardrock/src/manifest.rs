//! The manifest beside every output: what was asked, what went in, what came out, and counts that must balance.

use std::collections::BTreeMap;

use hardrock_core::stats::Reliability;
use serde::{Deserialize, Serialize};

use crate::p_fn::Models;

/// Written as `OUT.manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// hardrock's version.
    pub version: String,
    /// The full resolved configuration, defaults included (the TOML spec as JSON).
    pub config: serde_json::Value,
    /// The judging score: a source's name, or `rrf`.
    pub score_by: String,
    /// Names of the sources, in column order.
    pub sources: Vec<String>,
    /// Every input file with its BLAKE3 hash (hex).
    pub inputs: BTreeMap<String, String>,
    /// Every output file with its BLAKE3 hash (hex), this manifest left out.
    pub outputs: BTreeMap<String, String>,
    /// Counts of the run.
    pub counts: Counts,
    /// What p_fn says of the run and what is promised of it; none where it was not estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_fn: Option<PFnManifest>,
    /// What the readers noticed: counts by kind of notice (missing documents, anchors without positives, skipped rows …).
    pub notices: BTreeMap<String, u64>,
    /// Measured recall of the sources that do not search exactly.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recall: BTreeMap<String, SearchRecall>,
    /// Wall seconds per stage, in order; not part of the reproducible bytes.
    pub seconds: Vec<(String, f64)>,
    /// Peak resident memory in bytes.
    pub peak_memory: u64,
}

/// How many of the exact best documents an approximate search found, on a sample of the anchors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchRecall {
    /// What was asked for, in (0, 1].
    pub target: f64,
    /// Mean over the sample.
    pub mean: f32,
    /// Lower end of the 95 % interval.
    pub low: f32,
    /// Upper end.
    pub high: f32,
    /// Anchors in the sample.
    pub anchors: u64,
}

impl std::fmt::Display for SearchRecall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "recall {:.4} ({:.4} to {:.4}, {} anchors against exact search; asked for {})",
            self.mean, self.low, self.high, self.anchors, self.target
        )
    }
}

/// p_fn over a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PFnManifest {
    /// The models that estimated it.
    pub models: Models,
    /// Highest p_fn that stayed; none = any.
    pub max: Option<f32>,
    /// Mean p_fn over the selected: the share of false negatives that is to be expected.
    pub expected: f64,
    /// Of the k hardest candidates that no other filter dropped, the share that was selected.
    pub hardness_kept: f64,
    /// Candidates and selected negatives by p_fn; empty bins are left out.
    pub bins: Vec<PFnBin>,
    /// Reliability on verdicts, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
    /// What a promise depends on, by name.
    pub depends: BTreeMap<String, String>,
    /// The promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<PromiseManifest>,
}

/// Candidates of one range of p_fn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PFnBin {
    /// Lower edge.
    pub from: f64,
    /// Upper edge.
    pub to: f64,
    /// Candidates.
    pub candidates: u64,
    /// Of these, selected.
    pub selected: u64,
}

/// A promise about the share of false negatives, and what it rests on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PromiseManifest {
    /// Highest share asked for.
    pub share: f64,
    /// Confidence asked for.
    pub confidence: f64,
    /// `confident`, `average` or `estimate`.
    pub kind: String,
    /// The threshold on p_fn that was chosen.
    pub threshold: f32,
    /// Estimated share, where nothing is proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<f64>,
    /// Proved upper bound on the share, at the confidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
    /// Filled slots that were judged at the threshold.
    pub slots: u64,
    /// False negatives among them.
    pub hits: u64,
    /// Verdicts used.
    pub verdicts: u64,
    /// Verdicts missing before the last judged slot; each counted as a false negative.
    pub missing: u64,
    /// Judges with their numbers of verdicts.
    pub judges: BTreeMap<String, u64>,
    /// Share of single verdicts that are wrong, by doubly judged pairs; none below 20 pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_error: Option<f64>,
    /// Anchors with a judged slot.
    pub anchors_covered: u64,
    /// The thresholds among which was chosen, fixed before the verdicts.
    pub grid: Vec<f32>,
    /// Of the k hardest candidates that no other filter dropped, the share that was selected.
    pub hardness_kept: f64,
    /// Negatives that could not be had / asked for.
    pub shortfall: f64,
    /// Why verdicts at hand prove nothing.
    pub void: Vec<String>,
    /// All of it as a sentence.
    pub words: String,
}

/// Counts of a run; `retrieved = kept + dropped` and `requested = selected + short` always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Anchors judged (those with at least one positive).
    pub anchors: u64,
    /// Labelled positives of these anchors.
    pub positives: u64,
    /// Documents in the corpus.
    pub documents: u64,
    /// Distinct candidates over all anchors.
    pub retrieved: u64,
    /// Candidates that every filter let live.
    pub kept: u64,
    /// Candidates dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Negatives asked for: anchors x `num-negatives`.
    pub requested: u64,
    /// Negatives selected.
    pub selected: u64,
    /// Negatives that could not be had.
    pub short: u64,
    /// Anchors with fewer negatives than asked.
    pub short_anchors: u64,
    /// Anchors left out of the output (`--shortfall drop`, or no negative at all).
    pub dropped_anchors: u64,
    /// Negatives filled in at random (`--shortfall random`); part of `selected`.
    pub filled: u64,
}

impl Counts {
    /// Adds the counts of another part of the run; order does not matter. `documents` is a property of the whole and is kept.
    pub fn add(&mut self, other: &Counts) {
        self.anchors += other.anchors;
        self.positives += other.positives;
        self.retrieved += other.retrieved;
        self.kept += other.kept;
        for (reason, n) in &other.dropped {
            *self.dropped.entry(reason.clone()).or_default() += n;
        }
        self.requested += other.requested;
        self.selected += other.selected;
        self.short += other.short;
        self.short_anchors += other.short_anchors;
        self.dropped_anchors += other.dropped_anchors;
        self.filled += other.filled;
    }

    /// The two laws; the message says which one is broken.
    pub fn check(&self) -> Result<(), String> {
        let dropped: u64 = self.dropped.values().sum();
        if self.retrieved != self.kept + dropped {
            return Err(format!(
                "retrieved {} is not kept {} + dropped {dropped}",
                self.retrieved, self.kept
            ));
        }
        if self.requested != self.selected + self.short {
            return Err(format!(
                "requested {} is not selected {} + short {}",
                self.requested, self.selected, self.short
            ));
        }
        Ok(())
    }
}
