//! The plan of a promise: everything that is fixed before anything is judged, so that a bound cannot be shopped for.

use std::collections::{BTreeMap, BTreeSet};

use hardrock_core::promise::{self, Certificate, Kind, Loss, Refusal};
use serde::{Deserialize, Serialize};

use super::{Answer, Record};
use crate::p_fn::draw_key;

/// Slots that are drawn for a plan, at most: more than anybody judges.
const SLOTS: usize = 20_000;

/// What is promised, and for what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Number in the store.
    #[serde(skip)]
    pub id: u64,
    /// Highest share of false negatives.
    pub share: f64,
    /// Negatives per anchor.
    pub k: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// Thresholds on p_fn, strict to loose.
    pub grid: Vec<f32>,
    /// What the promise depends on, by name: data, pool, filters, scorer, model.
    pub depends: BTreeMap<String, String>,
    /// When it was made, in seconds since 1970.
    pub at: u64,
    /// Verdicts that were in the store before it.
    #[serde(skip)]
    pub verdicts_before: u64,
}

/// One slot of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The anchor.
    pub query_id: String,
    /// Which of its selected negatives, from 0.
    pub slot: usize,
    /// The document that holds the slot at each threshold.
    pub holders: Vec<Option<String>>,
}

impl Slot {
    /// The distinct holders, from strict to loose.
    pub fn chain(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.holders.iter().flatten().map(String::as_str).filter(|d| seen.insert(*d)).collect()
    }
}

/// One anchor's candidates that no filter but p_fn and `judged` dropped, hardest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pool {
    /// The anchor.
    pub query_id: String,
    /// Documents.
    pub docs: Vec<String>,
    /// Their p_fn; NaN = not known.
    pub p_fn: Vec<f32>,
}

/// Draws the slots of a plan: one per anchor, anchors in random order, those with verdicts left out.
pub fn draw(pools: &[Pool], judged: &BTreeSet<String>, plan: &Plan) -> Vec<Slot> {
    let mut order: Vec<(u64, &Pool)> = pools
        .iter()
        .filter(|p| !judged.contains(&p.query_id))
        .map(|p| (promise::order(plan.seed, draw_key(&p.query_id)), p))
        .collect();
    order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.query_id.cmp(&b.1.query_id)));
    order.truncate(SLOTS);
    let slot_of = |pool: &Pool| {
        let slot = promise::slot(plan.seed, draw_key(&pool.query_id), plan.k);
        let chain = promise::chain(&pool.p_fn, slot, &plan.grid);
        let holders = chain.into_iter().map(|at| at.and_then(|i| pool.docs.get(i)).cloned()).collect();
        Slot { query_id: pool.query_id.clone(), slot, holders }
    };
    order.into_iter().map(|(_, pool)| slot_of(pool)).collect()
}

/// What the verdicts on a plan's slots come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Slots up to the last one with a verdict: the anchors that were covered.
    pub slots: u64,
    /// Verdicts used.
    pub verdicts: u64,
    /// Holders before the last judged slot that have no verdict; they count as false negatives.
    pub missing: u64,
    /// The judges, each with its number of verdicts.
    pub judges: BTreeMap<String, u64>,
    /// The proof, or why there is none.
    pub outcome: Result<Certificate, Refusal>,
}

/// Settles a plan by the last verdict on each pair. A holder without a verdict before the last judged slot counts as a false
/// negative, so that nobody gains by leaving pairs out; so does one of which the judge was not sure.
pub fn settle(slots: &[Slot], verdicts: &[Record], share: f64, confidence: f64, kind: Kind) -> Settled {
    let by_pair: BTreeMap<(&str, &str), &Record> =
        verdicts.iter().map(|r| ((r.query_id.as_str(), r.doc_id.as_str()), r)).collect();
    let of = |slot: &Slot, doc: &str| by_pair.get(&(slot.query_id.as_str(), doc)).copied();
    let touched = |slot: &Slot| slot.chain().iter().any(|d| of(slot, d).is_some());
    let covered = slots.iter().rposition(touched).map_or(0, |last| last + 1);
    let mut out = Settled {
        slots: covered as u64,
        verdicts: 0,
        missing: 0,
        judges: BTreeMap::new(),
        outcome: Err(Refusal { slots: 0, hits: 0, more: None }),
    };
    let mut losses = Vec::with_capacity(covered);
    for slot in &slots[..covered] {
        for doc in slot.chain() {
            match of(slot, doc) {
                Some(record) => {
                    out.verdicts += 1;
                    *out.judges.entry(record.judge.clone()).or_default() += 1;
                }
                None => out.missing += 1,
            }
        }
        let loss = |holder: &Option<String>| match holder {
            None => Loss::Empty,
            Some(doc) => match of(slot, doc).map(|r| r.answer) {
                Some(Answer::Not) => Loss::True,
                Some(Answer::Relevant | Answer::Unsure) | None => Loss::False,
            },
        };
        losses.push(slot.holders.iter().map(loss).collect());
    }
    out.outcome = promise::certify(&losses, share, confidence, kind);
    out
}

/// What of two descriptions differs, by name, in words.
pub fn changed(planned: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = planned.keys().chain(now.keys()).collect();
    names.into_iter().filter(|n| planned.get(*n) != now.get(*n)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    fn pools(n: usize) -> Vec<Pool> {
        (0..n)
            .map(|a| Pool {
                query_id: format!("q{a}"),
                docs: (0..10).map(|d| format!("d{d}")).collect(),
                p_fn: (0..10).map(|d| if d == 0 { 0.9 } else { 0.01 * d as f32 }).collect(),
            })
            .collect()
    }

    fn plan() -> Plan {
        Plan { share: 0.05, k: 5, seed: 3, grid: vec![0.5, 1.0], ..Plan::default() }
    }

    #[test]
    fn one_slot_per_anchor_in_an_order_that_the_seed_decides() {
        let slots = draw(&pools(50), &BTreeSet::new(), &plan());
        let ids: BTreeSet<_> = slots.iter().map(|s| &s.query_id).collect();
        assert_eq!((slots.len(), ids.len()), (50, 50));
        assert_eq!(slots, draw(&pools(50), &BTreeSet::new(), &plan()));
        assert_ne!(slots, draw(&pools(50), &BTreeSet::new(), &Plan { seed: 4, ..plan() }));
        // At the strict threshold the first candidate is gone and everybody moves up.
        let first = slots.iter().find(|s| s.slot == 0).unwrap();
        assert_eq!(first.holders, [Some("d1".into()), Some("d0".into())]);
        assert_eq!(first.chain(), ["d1", "d0"]);
    }

    #[test]
    fn anchors_that_were_judged_before_the_plan_are_left_out() {
        let judged = BTreeSet::from(["q7".to_owned()]);
        assert!(draw(&pools(50), &judged, &plan()).iter().all(|s| s.query_id != "q7"));
    }

    #[test]
    fn verdicts_on_all_slots_prove_and_gaps_count_against_the_promise() {
        let slots = draw(&pools(100), &BTreeSet::new(), &plan());
        let mut verdicts: Vec<Record> = slots
            .iter()
            .flat_map(|s| {
                s.chain().into_iter().map(|d| record(&s.query_id, d, Answer::Not)).collect::<Vec<_>>()
            })
            .collect();
        let settled = settle(&slots, &verdicts, 0.05, 0.9, Kind::Confident);
        assert_eq!((settled.slots, settled.missing), (100, 0));
        assert_eq!(settled.outcome.unwrap().threshold, 1);
        // One in five left out before the last one: as if they were false.
        let last = verdicts.pop().unwrap();
        let mut gaps: Vec<Record> =
            verdicts.into_iter().enumerate().filter(|(i, _)| i % 5 > 0).map(|(_, r)| r).collect();
        gaps.push(last);
        let settled = settle(&slots, &gaps, 0.05, 0.9, Kind::Confident);
        assert!(settled.missing > 10 && settled.outcome.is_err(), "{settled:?}");
    }

    #[test]
    fn unsure_counts_as_false() {
        let slots = draw(&pools(60), &BTreeSet::new(), &plan());
        let verdicts: Vec<Record> = slots
            .iter()
            .flat_map(|s| {
                s.chain().into_iter().map(|d| record(&s.query_id, d, Answer::Unsure)).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(settle(&slots, &verdicts, 0.05, 0.9, Kind::Confident).outcome.unwrap_err().hits, 60);
    }

    #[test]
    fn what_changed_is_named() {
        let of =
            |k: &str| BTreeMap::from([("pool".to_owned(), "a".to_owned()), ("k".to_owned(), k.to_owned())]);
        assert_eq!(changed(&of("5"), &of("7")), ["k"]);
        assert!(changed(&of("5"), &of("5")).is_empty());
    }
}
