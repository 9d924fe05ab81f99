//! Which pair to judge next. Two queues that are never mixed: random slots, which prove a promise, and uncertain pairs, which
//! teach the model and prove nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hardrock_core::Reason;
use hardrock_core::p_fn::signal::P_FN;
use hardrock_core::promise;

use super::plan::{Plan, Pool, Slot, draw};
use super::{Store, now};
use crate::candidates::{AnchorCandidates, CandidateRow, Status};
use crate::manifest::{Manifest, PFnManifest};
use crate::outputs::Outputs;
use crate::p_fn::Kind;
use crate::texts::Texts;
use crate::{Error, Result};

/// Candidates per anchor that the queue for the model looks at: where selection happens.
const TOP: u32 = 20;
/// Candidates per anchor that a slot can come to, in units of the negatives asked for.
const LOOKED_AT: usize = 8;
/// How far below the share the grid begins, where the level of p_fn was learned on the data.
const NARROW: f64 = 8.0;
/// The same where it was not.
const WIDE: f64 = 30.0;

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Random slots: for the promise.
    Bound,
    /// Uncertain pairs: for the model.
    Model,
}

/// A pair to be judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The anchor.
    pub query_id: String,
    /// The candidate.
    pub doc_id: String,
}

/// A pair with what a judge needs to see.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The pair.
    pub pair: Pair,
    /// The anchor's text; empty where it could not be found.
    pub query: String,
    /// Texts of the labelled positives.
    pub positives: Vec<String>,
    /// The candidate's text.
    pub document: String,
    /// Its p_fn.
    pub p_fn: Option<f32>,
}

/// A run that can be judged.
pub struct Run {
    outputs: Outputs,
    manifest: Manifest,
    p_fn: PFnManifest,
    negatives: usize,
}

impl Run {
    /// Opens the run beside its mined file.
    ///
    /// # Errors
    /// A run without manifest, without p_fn, or with a selection that promises do not cover.
    pub fn open(mined: &Path) -> Result<Self> {
        let outputs = Outputs::of(mined);
        outputs.open_candidates()?;
        let Some(manifest) = outputs.read_manifest()? else {
            return Err(Error::usage(
                format!("{} is missing", outputs.manifest.display()),
                "give the file that `hardrock mine -o` wrote",
            ));
        };
        let Some(p_fn) = manifest.p_fn.clone() else {
            return Err(Error::usage(
                format!("{} was mined without p_fn", mined.display()),
                "mine it again without --p-fn none, with texts",
            ));
        };
        let negatives = manifest.config["select"]["negatives"].as_u64().unwrap_or(5) as usize;
        Ok(Self { outputs, manifest, p_fn, negatives })
    }

    fn each(&self, mut see: impl FnMut(&AnchorCandidates, usize)) -> Result<()> {
        let candidates = self.outputs.open_candidates()?;
        let Some(at) = candidates.signals().iter().position(|s| s == P_FN) else {
            return Err(Error::usage("the candidates have no column p_fn", "mine again with this version"));
        };
        for anchor in candidates.anchors()? {
            see(&anchor?, at);
        }
        Ok(())
    }

    /// Pairs to prove that at most `share` of the selected are false: the holders of slots that were drawn before anything was
    /// judged, as they come, without those that have a verdict. The plan is made and stored where there is none for this run and
    /// share. At least `n` pairs where there are so many; the last slot is whole.
    pub fn bound(&self, store: &mut Store, share: f64, seed: u64, n: usize) -> Result<Vec<Pair>> {
        if self.manifest.config["select"]["rule"].get("top").is_none() {
            return Err(Error::usage(
                "a promise covers --select top, and this run selected otherwise",
                "mine with --select top, or judge --queue model",
            ));
        }
        if !(share > 0.0 && share < 1.0) {
            return Err(Error::usage(
                format!("a share of {share} cannot be promised"),
                "--max-false-negatives lies between 0 and 1, e.g. 0.05",
            ));
        }
        let judged: BTreeSet<(String, String)> =
            store.latest()?.into_iter().map(|r| (r.query_id, r.doc_id)).collect();
        let mine = |p: &Plan| p.share == share && p.depends == self.p_fn.depends;
        if !store.plans()?.iter().any(mine) {
            let (plan, slots) = self.plan(share, seed, &judged)?;
            store.add_plan(&plan, &slots)?;
        }
        let plans = store.plans()?;
        let Some(plan) = plans.iter().rev().find(|p| mine(p)) else { return Ok(Vec::new()) };
        let mut pairs = Vec::new();
        for slot in store.slots(plan.id)? {
            if pairs.len() >= n {
                break;
            }
            let open = slot
                .chain()
                .into_iter()
                .filter(|d| !judged.contains(&(slot.query_id.clone(), (*d).to_owned())));
            pairs.extend(open.map(|d| Pair { query_id: slot.query_id.clone(), doc_id: d.to_owned() }));
        }
        Ok(pairs)
    }

    /// What must be fixed before anything is judged.
    fn plan(&self, share: f64, seed: u64, judged: &BTreeSet<(String, String)>) -> Result<(Plan, Vec<Slot>)> {
        let k = self.negatives;
        let mut pools = Vec::new();
        self.each(|anchor, at| {
            let living = anchor.candidates().filter(|r| would_live(r)).take(LOOKED_AT * k);
            let (docs, p_fn) = living.map(|r| (r.doc_id.clone(), p_of(r, at).unwrap_or(f32::NAN))).unzip();
            pools.push(Pool { query_id: anchor.query_id.clone(), docs, p_fn });
        })?;
        let rows: Vec<&[f32]> = pools.iter().map(|p| p.p_fn.as_slice()).collect();
        let below = if self.p_fn.models.kind == Kind::Shipped { WIDE } else { NARROW };
        let grid = promise::grid(&rows, k, share, below);
        let plan =
            Plan { share, k, seed, grid, depends: self.p_fn.depends.clone(), at: now(), ..Plan::default() };
        // An anchor of which something is known already would let the choice of the share depend on it.
        let anchors: BTreeSet<String> = judged.iter().map(|(q, _)| q.clone()).collect();
        let slots = draw(&pools, &anchors, &plan);
        Ok((plan, slots))
    }

    /// The `n` pairs of which p_fn is least certain, one per anchor, without those that have a verdict.
    pub fn uncertain(&self, store: &Store, n: usize) -> Result<Vec<Pair>> {
        let judged: BTreeSet<(String, String)> =
            store.latest()?.into_iter().map(|r| (r.query_id, r.doc_id)).collect();
        let mut best: Vec<(f32, Pair)> = Vec::new();
        self.each(|anchor, at| {
            let open = anchor.candidates().filter(|r| {
                would_live(r)
                    && r.rank.is_some_and(|rank| rank < TOP)
                    && !judged.contains(&(anchor.query_id.clone(), r.doc_id.clone()))
            });
            let doubt = |p: f32| p * (1.0 - p);
            let most = open
                .filter_map(|r| Some((doubt(p_of(r, at)?), r)))
                .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.doc_id.cmp(&a.1.doc_id)));
            if let Some((doubt, row)) = most {
                best.push((doubt, Pair { query_id: anchor.query_id.clone(), doc_id: row.doc_id.clone() }));
            }
        })?;
        best.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        Ok(best.into_iter().take(n).map(|(_, pair)| pair).collect())
    }

    /// The pairs with their texts. `data` is a folder in BEIR layout to take them from; without it they are looked for where
    /// the manifest says.
    pub fn cases(&self, pairs: &[Pair], data: Option<&Path>) -> Result<Vec<Case>> {
        let wanted: BTreeSet<&str> = pairs.iter().map(|p| p.query_id.as_str()).collect();
        let mut anchors: Vec<AnchorCandidates> = Vec::new();
        let mut p_fn: BTreeMap<Pair, f32> = BTreeMap::new();
        let asked: BTreeSet<&Pair> = pairs.iter().collect();
        self.each(|anchor, at| {
            if !wanted.contains(anchor.query_id.as_str()) {
                return;
            }
            let positives: Vec<CandidateRow> = anchor.positives().cloned().collect();
            for row in anchor.candidates() {
                let pair = Pair { query_id: anchor.query_id.clone(), doc_id: row.doc_id.clone() };
                if let (true, Some(p)) = (asked.contains(&pair), p_of(row, at)) {
                    p_fn.insert(pair, p);
                }
            }
            anchors.push(AnchorCandidates { query_id: anchor.query_id.clone(), rows: positives });
        })?;
        let positives = anchors.iter().flat_map(|a| a.rows.iter().map(|r| r.doc_id.clone()));
        let documents = positives.chain(pairs.iter().map(|p| p.doc_id.clone())).collect();
        let texts = Texts::gather(&self.outputs, Some(&self.manifest), data, &anchors, documents)?;
        let text = |id: &str| texts.document(id).unwrap_or_default().to_owned();
        let case = |pair: &Pair| {
            let anchor = anchors.iter().find(|a| a.query_id == pair.query_id);
            Case {
                query: texts.query(&pair.query_id).unwrap_or_default().to_owned(),
                positives: anchor
                    .map(|a| a.rows.iter().map(|r| text(&r.doc_id)).collect())
                    .unwrap_or_default(),
                document: text(&pair.doc_id),
                p_fn: p_fn.get(pair).copied(),
                pair: pair.clone(),
            }
        };
        Ok(pairs.iter().map(case).collect())
    }
}

fn p_of(row: &CandidateRow, at: usize) -> Option<f32> {
    row.signals.get(at).copied().flatten()
}

/// Whether a candidate would live if nothing were known of p_fn and of verdicts: both filters run last.
fn would_live(row: &CandidateRow) -> bool {
    match (row.status, &row.drop) {
        (Status::Dropped, Some(d)) => matches!(d.reason, Reason::MaxPFn | Reason::Judged),
        // A filled document is no candidate and has no rank.
        (Status::Selected | Status::Kept, _) => row.rank.is_some(),
        _ => false,
    }
}
