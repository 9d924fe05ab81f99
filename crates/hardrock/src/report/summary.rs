//! What the report says, as data: one pass over the candidates, counts and fixed-size histograms, nothing per candidate kept.

use std::collections::BTreeMap;

use hardrock_core::Reason;
use serde::Serialize;

use super::draw::Draw;
use super::histogram::Histogram;
use crate::Result;
use crate::candidates::{AnchorCandidates, CandidateRow, Status};
use crate::explain::Explained;
use crate::manifest::Manifest;

/// First rank of each band; the last is open.
const BANDS: [u32; 9] = [0, 1, 5, 10, 20, 50, 100, 200, 500];
/// Anchors with the fewest negatives that are named.
const SHORTEST: usize = 8;
/// Similarity above its threshold up to which a drop counts as close.
const CLOSE: f32 = 0.1;

/// The report's figures.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The judging score's name.
    pub score_by: String,
    /// The sources, in column order.
    pub sources: Vec<String>,
    /// Counts over all anchors.
    pub totals: Totals,
    /// Dropped candidates by reason, most first.
    pub reasons: Vec<ReasonCount>,
    /// Judging scores by status.
    pub scores: Scores,
    /// How hard the selected negatives are.
    pub hardness: Hardness,
    /// What became of the candidates by rank in the judged order; bands without candidates at the end are left out.
    pub bands: Vec<Band>,
    /// What each source brought, in column order.
    pub by_source: Vec<SourceCounts>,
    /// Candidates that two sources both proposed `[sources, sources]`; the diagonal is each source's own number.
    pub overlap: Vec<Vec<u64>>,
    /// Candidates by the number of sources that proposed them, from 1.
    pub agreement: Vec<Agreement>,
    /// Anchors by number of selected negatives.
    pub anchors_by_negatives: BTreeMap<u64, u64>,
    /// The anchors with the fewest negatives, where some have fewer than others or than asked.
    pub shortest: Vec<ShortAnchor>,
    /// What can be said about false negatives.
    pub suspects: Suspects,
    /// Some anchors, drawn at random, in file order.
    pub samples: Vec<Sample>,
    /// The run's manifest, where there is one.
    pub manifest: Option<Manifest>,
    /// Where manifest and candidates disagree, and what could not be found, in words.
    pub warnings: Vec<String>,
}

/// Counts over all anchors; `retrieved = selected + passed + dropped`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Anchors with rows in the file.
    pub anchors: u64,
    /// Labelled positives.
    pub positives: u64,
    /// Candidates.
    pub retrieved: u64,
    /// Candidates written as negatives.
    pub selected: u64,
    /// Candidates that no filter dropped and the selector passed over.
    pub passed: u64,
    /// Candidates that a filter dropped.
    pub dropped: u64,
    /// Negatives asked for per anchor; `None` without a manifest.
    pub asked: Option<u64>,
}

/// A reason with its drops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    /// The filter's name.
    pub reason: &'static str,
    /// What the filter drops, in words.
    pub meaning: &'static str,
    /// Candidates it dropped.
    pub count: u64,
    /// Anchors that lost at least one candidate to it.
    pub anchors: u64,
}

/// Judging scores by status.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Of the positives.
    pub positive: Histogram,
    /// Of the selected negatives.
    pub selected: Histogram,
    /// Of candidates that were neither dropped nor selected.
    pub kept: Histogram,
    /// Of the dropped candidates.
    pub dropped: Histogram,
}

impl Scores {
    /// The four histograms with their status.
    pub fn all(&self) -> [(Status, &Histogram); 4] {
        [
            (Status::Positive, &self.positive),
            (Status::Selected, &self.selected),
            (Status::Kept, &self.kept),
            (Status::Dropped, &self.dropped),
        ]
    }
}

/// How hard the selected negatives are.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Hardness {
    /// s(p) - s(n) of each selected negative; p = the lowest-scoring positive of its anchor. Below 0: above the positive.
    pub gap: Histogram,
    /// Selected negatives that score above p.
    pub above_positive: u64,
    /// Ranks of the selected in the judged order, 0 = best.
    pub rank: Histogram,
}

/// Candidates of one band of ranks in the judged order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Band {
    /// First rank.
    pub from: u32,
    /// Last rank; `None` = open.
    pub to: Option<u32>,
    /// Candidates written as negatives.
    pub selected: u64,
    /// Candidates neither dropped nor selected.
    pub passed: u64,
    /// Dropped candidates.
    pub dropped: u64,
    /// Dropped candidates whose reason is that they are, or are much like, a positive; part of `dropped`.
    pub suspected: u64,
}

/// What one source brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourceCounts {
    /// Its name.
    pub source: String,
    /// Candidates it proposed.
    pub proposed: u64,
    /// Candidates that no other source proposed.
    pub alone: u64,
    /// Its candidates that were selected.
    pub selected: u64,
    /// Its candidates that were dropped.
    pub dropped: u64,
}

/// Candidates that a number of sources agree on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// How many sources proposed them.
    pub sources: usize,
    /// Candidates.
    pub candidates: u64,
    /// Of these, selected.
    pub selected: u64,
    /// Of these, dropped.
    pub dropped: u64,
}

/// An anchor that got few negatives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShortAnchor {
    /// The anchor.
    pub query_id: String,
    /// Its selected negatives.
    pub selected: u64,
    /// Its candidates.
    pub retrieved: u64,
    /// Its dropped candidates.
    pub dropped: u64,
}

/// What the file tells about false negatives: what the filters met, not what they missed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Suspects {
    /// Candidates per anchor looked at in `hardest`: as many as were asked for; 0 where that is not known.
    pub top: u64,
    /// The hardest candidates of all anchors, labelled positives left out: what a plain top-k would have written.
    pub hardest: u64,
    /// Of these, documents with the text of the anchor or of a positive (dropped by `text`).
    pub copies: u64,
    /// Of these, dropped for their likeness to a positive (`near`, `kin`, `family`, `group`, `taxonomy`) or by a program.
    pub alike: u64,
    /// Selected negatives that score above their anchor's lowest-scoring positive.
    pub above_positive: u64,
    /// Selected negatives whose anchor's positives have scores.
    pub compared: u64,
    /// Where `kin` dropped something: how like the positives those candidates were.
    pub kin: Option<Kin>,
}

/// The candidates that `kin` dropped.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Kin {
    /// Similarity to the positive that decided.
    pub similarity: Histogram,
    /// The lowest threshold among the drops.
    pub threshold: f32,
    /// Drops whose similarity is at most 0.1 above the threshold.
    pub close: u64,
}

/// One anchor of the samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The anchor.
    pub query_id: String,
    /// Its text on one line, where it could be found.
    pub text: Option<String>,
    /// Positives, the first few.
    pub positives: Vec<Explained>,
    /// Selected negatives in the order of choice, the first few.
    pub selected: Vec<Explained>,
    /// Dropped candidates in judged order, the first few.
    pub dropped: Vec<Explained>,
    /// Positives, selected and dropped in all.
    pub counts: [usize; 3],
}

/// Collects the figures of a stream of anchors.
#[derive(Debug)]
pub struct Collector {
    summary: Summary,
    reasons: BTreeMap<Reason, (u64, u64)>,
}

impl Collector {
    /// Nothing yet. `sources` and `score_by` are the file's.
    pub fn new(sources: &[String], score_by: &str, manifest: Option<Manifest>) -> Self {
        // Models that only judge have the last columns, and propose nothing.
        let judges = |s: &String| crate::mine::opinions::NAMES.contains(&s.as_str());
        let sources = &sources[..sources.iter().position(judges).unwrap_or(sources.len())];
        let counts = manifest.as_ref().map(|m| &m.counts);
        let asked = counts.and_then(|c| c.requested.checked_div(c.anchors)).filter(|&k| k > 0);
        let band = |(i, &from): (usize, &u32)| Band {
            from,
            to: BANDS.get(i + 1).map(|next| next - 1),
            ..Band::default()
        };
        let summary = Summary {
            score_by: score_by.to_owned(),
            sources: sources.to_vec(),
            totals: Totals { asked, ..Totals::default() },
            reasons: Vec::new(),
            scores: Scores::default(),
            hardness: Hardness::default(),
            bands: BANDS.iter().enumerate().map(band).collect(),
            by_source: sources
                .iter()
                .map(|s| SourceCounts { source: s.clone(), ..Default::default() })
                .collect(),
            overlap: vec![vec![0; sources.len()]; sources.len()],
            agreement: (1..=sources.len()).map(|n| Agreement { sources: n, ..Default::default() }).collect(),
            anchors_by_negatives: BTreeMap::new(),
            shortest: Vec::new(),
            suspects: Suspects { top: asked.unwrap_or(0), ..Suspects::default() },
            samples: Vec::new(),
            manifest,
            warnings: Vec::new(),
        };
        Self { summary, reasons: BTreeMap::new() }
    }

    /// Counts one anchor.
    pub fn add(&mut self, anchor: &AnchorCandidates) {
        let s = &mut self.summary;
        s.totals.anchors += 1;
        let weakest = anchor.weakest_positive();
        for positive in anchor.positives() {
            s.totals.positives += 1;
            positive.score.into_iter().for_each(|score| s.scores.positive.add(score));
        }
        let (mut retrieved, mut selected, mut dropped, mut plain) = (0, 0, 0, 0);
        let mut lost: BTreeMap<Reason, u64> = BTreeMap::new();
        for row in anchor.candidates() {
            retrieved += 1;
            selected += u64::from(row.status == Status::Selected);
            dropped += u64::from(row.status == Status::Dropped);
            s.count(row, weakest);
            let reason = row.drop.as_ref().map(|d| d.reason);
            if reason != Some(Reason::Known) && plain < s.suspects.top {
                plain += 1;
                s.suspects.hardest += 1;
                s.suspects.copies += u64::from(reason == Some(Reason::Text));
                s.suspects.alike += u64::from(reason.is_some_and(alike));
            }
            if let Some(drop) = &row.drop {
                *lost.entry(drop.reason).or_default() += 1;
            }
        }
        s.totals.retrieved += retrieved;
        s.totals.selected += selected;
        s.totals.dropped += dropped;
        s.totals.passed += retrieved - selected - dropped;
        for (reason, n) in lost {
            let (count, anchors) = self.reasons.entry(reason).or_default();
            *count += n;
            *anchors += 1;
        }
        *s.anchors_by_negatives.entry(selected).or_default() += 1;
        let place = s.shortest.partition_point(|a| a.selected <= selected);
        if place < SHORTEST {
            s.shortest.truncate(SHORTEST - 1);
            let query_id = anchor.query_id.clone();
            s.shortest.insert(place, ShortAnchor { query_id, selected, retrieved, dropped });
        }
    }

    /// The finished figures, without samples.
    pub fn finish(self) -> Summary {
        let mut s = self.summary;
        s.reasons = (self.reasons.into_iter())
            .map(|(reason, (count, anchors))| ReasonCount {
                reason: reason.name(),
                meaning: meaning(reason),
                count,
                anchors,
            })
            .collect();
        s.reasons.sort_by_key(|r| std::cmp::Reverse(r.count));
        let used = s.bands.iter().rposition(|b| b.selected + b.passed + b.dropped > 0).map_or(0, |i| i + 1);
        s.bands.truncate(used);
        let most = s.anchors_by_negatives.keys().next_back().copied().unwrap_or(0);
        let full = s.totals.asked.unwrap_or(most);
        s.shortest.retain(|a| a.selected < full);
        s.check();
        s
    }
}

impl Summary {
    /// Counts one candidate whose anchor's lowest positive scores `weakest`.
    fn count(&mut self, row: &CandidateRow, weakest: Option<f32>) {
        let (histogram, n) = match row.status {
            Status::Selected => (&mut self.scores.selected, 0),
            Status::Dropped => (&mut self.scores.dropped, 1),
            _ => (&mut self.scores.kept, 2),
        };
        row.score.into_iter().for_each(|score| histogram.add(score));
        let rank = row.rank.unwrap_or(u32::MAX);
        let reason = row.drop.as_ref().map(|d| d.reason);
        let band = BANDS.partition_point(|&from| from <= rank) - 1;
        if let Some(band) = self.bands.get_mut(band) {
            *[&mut band.selected, &mut band.dropped, &mut band.passed][n] += 1;
            band.suspected += u64::from(reason.is_some_and(|r| labelled(r) || alike(r)));
        }
        if row.status == Status::Selected {
            self.hardness.rank.add(rank as f32);
            if let (Some(p), Some(n)) = (weakest, row.score) {
                self.hardness.gap.add(p - n);
                self.hardness.above_positive += u64::from(n > p);
                self.suspects.compared += 1;
                self.suspects.above_positive += u64::from(n > p);
            }
        }
        if let Some(drop) = row.drop.as_ref().filter(|d| d.reason == Reason::Kin) {
            let new = Kin { threshold: f32::INFINITY, ..Kin::default() };
            let kin = self.suspects.kin.get_or_insert(new);
            kin.similarity.add(drop.value);
            kin.threshold = kin.threshold.min(drop.threshold);
            kin.close += u64::from(drop.value <= drop.threshold + CLOSE);
        }
        self.count_sources(row);
    }

    fn count_sources(&mut self, row: &CandidateRow) {
        let (chosen, dropped) =
            (u64::from(row.status == Status::Selected), u64::from(row.status == Status::Dropped));
        let proposed = |s: usize| row.evidence.get(s).is_some_and(|e| e.rank.is_some());
        let by = (0..self.by_source.len()).filter(|&s| proposed(s)).count();
        for (i, (source, overlap)) in self.by_source.iter_mut().zip(&mut self.overlap).enumerate() {
            if !proposed(i) {
                continue;
            }
            source.proposed += 1;
            source.alone += u64::from(by == 1);
            source.selected += chosen;
            source.dropped += dropped;
            for (j, both) in overlap.iter_mut().enumerate() {
                *both += u64::from(proposed(j));
            }
        }
        if let Some(agreement) = by.checked_sub(1).and_then(|i| self.agreement.get_mut(i)) {
            agreement.candidates += 1;
            agreement.selected += chosen;
            agreement.dropped += dropped;
        }
    }

    /// Compares with the manifest: the two were written by one run and must agree.
    fn check(&mut self) {
        let Some(counts) = self.manifest.as_ref().map(|m| &m.counts) else {
            self.warnings.push(
                "no manifest beside the mined file: inputs, configuration and times are not known".into(),
            );
            return;
        };
        let t = &self.totals;
        let pairs = [
            ("anchors", counts.anchors, t.anchors),
            ("candidates", counts.retrieved, t.retrieved),
            ("dropped candidates", counts.dropped.values().sum(), t.dropped),
        ];
        for (what, manifest, file) in pairs.into_iter().filter(|(_, m, f)| m != f) {
            self.warnings.push(format!(
                "the manifest counts {manifest} {what}, the candidates file holds {file}: they are not of one run"
            ));
        }
    }
}

/// Reasons that say: this is a labelled positive, or has the text of one.
fn labelled(reason: Reason) -> bool {
    matches!(reason, Reason::Known | Reason::Text)
}

/// Reasons that say: this is too like a positive to be trusted as a negative.
fn alike(reason: Reason) -> bool {
    use Reason::{Command, Family, Group, Kin, Near, Taxonomy};
    matches!(reason, Near | Kin | Family | Group | Taxonomy | Command)
}

/// What a filter drops, in words for a reader who did not choose it.
pub fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Known => "is a labelled positive of the anchor, or of an anchor with the same text",
        Reason::Text => "has the same normalised text as the anchor or one of its positives",
        Reason::Window => "lies outside the window of ranks",
        Reason::Near => "is a near-duplicate of a positive: shares most of its word shingles",
        Reason::Kin => "is too similar to a positive, whatever the anchor's score says",
        Reason::Family => "belongs to the same family of near-duplicates as a positive",
        Reason::Group => "shares the group column's value with a positive",
        Reason::Time => "was not valid at the anchor's time",
        Reason::Taxonomy => "is an ancestor or descendant of a positive",
        Reason::MaxScore => "scores above the maximum",
        Reason::MinScore => "scores below the minimum",
        Reason::AbsoluteMargin => "scores closer to the positive than the absolute margin allows",
        Reason::RelativeMargin => "scores closer to the positive than the relative margin allows",
        Reason::Agree => "was proposed by too few sources",
        Reason::Guide => "is scored above the limit by the guide",
        Reason::Rerank => "is scored above the limit by the cross-encoder",
        Reason::Command => "was dropped by the outside program",
        Reason::Judged => "was found relevant by a judge",
        Reason::MaxPFn => "is probably a false negative (p_fn)",
        _ => "was dropped by a filter that this report does not know",
    }
}

/// One pass over all anchors: the figures and the drawn anchors.
pub fn collect(
    anchors: impl IntoIterator<Item = Result<AnchorCandidates>>,
    mut collector: Collector,
    mut draw: Draw,
) -> Result<(Summary, Vec<AnchorCandidates>)> {
    for anchor in anchors {
        let anchor = anchor?;
        collector.add(&anchor);
        draw.see(&anchor);
    }
    Ok((collector.finish(), draw.finish()))
}

#[cfg(test)]
pub(super) mod tests;
