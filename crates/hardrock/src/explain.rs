//! One anchor explained: every candidate, what each source said about it, and why it was selected, kept or dropped.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::Result;
use crate::candidates::{AnchorCandidates, CandidateRow, SourceEvidence, Status};
use crate::outputs::Outputs;
use crate::texts::{Texts, one_line};

/// Everything that is known about one anchor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The anchor.
    pub query_id: String,
    /// Its text on one line, where it could be found.
    pub text: Option<String>,
    /// The judging score's name.
    pub score_by: String,
    /// The sources, in the order of every candidate's evidence.
    pub sources: Vec<String>,
    /// Candidates in all.
    pub retrieved: usize,
    /// Candidates that were written as negatives.
    pub selected: usize,
    /// Candidates that no filter dropped and the selector passed over.
    pub kept: usize,
    /// Dropped candidates by reason.
    pub dropped: BTreeMap<&'static str, usize>,
    /// The labelled positives.
    pub positives: Vec<Explained>,
    /// The candidates in judged order, dropped ones included.
    pub candidates: Vec<Explained>,
    /// What could not be found, in words.
    pub note: Option<String>,
}

/// One document of an explanation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The document.
    pub doc_id: String,
    /// What became of it.
    pub status: Status,
    /// Judging score.
    pub score: Option<f32>,
    /// Position in the judged order, 0 = best.
    pub rank: Option<u32>,
    /// What each source said `[sources]`.
    pub evidence: Vec<SourceEvidence>,
    /// Position among the selected, 0 = first.
    pub pick: Option<u32>,
    /// The filter that dropped it.
    pub reason: Option<&'static str>,
    /// Why it was dropped, with the numbers that decided.
    pub because: Option<String>,
    /// The value that the filter looked at.
    pub value: Option<f32>,
    /// The threshold it compared with.
    pub threshold: Option<f32>,
    /// The positive that decided, where one did.
    pub against: Option<String>,
    /// Its text on one line, where it could be found.
    pub text: Option<String>,
}

/// Explains one anchor of a run. `data` is a folder in BEIR layout to take texts from; without it they are looked for where
/// the manifest and the mined file say.
pub fn explain(mined: &Path, query_id: &str, data: Option<&Path>) -> Result<Explanation> {
    let outputs = Outputs::of(mined);
    let candidates = outputs.open_candidates()?;
    let anchor = candidates.for_anchor(query_id)?;
    let manifest = outputs.read_manifest()?;
    let documents = anchor.rows.iter().map(|r| r.doc_id.clone()).collect();
    let anchors = [anchor];
    let texts = Texts::gather(&outputs, manifest.as_ref(), data, &anchors, documents)?;
    let [anchor] = anchors;
    Ok(Explanation::of(&anchor, candidates.sources(), candidates.score_by(), &texts))
}

impl Explanation {
    /// From an anchor's rows and the texts at hand.
    pub fn of(anchor: &AnchorCandidates, sources: &[String], score_by: &str, texts: &Texts) -> Self {
        let count = |status| anchor.rows.iter().filter(|r| r.status == status).count();
        let mut dropped = BTreeMap::new();
        for decision in anchor.rows.iter().filter_map(|r| r.drop.as_ref()) {
            *dropped.entry(decision.reason.name()).or_default() += 1;
        }
        Self {
            query_id: anchor.query_id.clone(),
            text: texts.query(&anchor.query_id).map(one_line),
            score_by: score_by.to_owned(),
            sources: sources.to_vec(),
            retrieved: anchor.candidates().count(),
            selected: count(Status::Selected),
            kept: count(Status::Kept),
            dropped,
            positives: anchor.positives().map(|r| Explained::of(r, texts)).collect(),
            candidates: anchor.candidates().map(|r| Explained::of(r, texts)).collect(),
            note: texts.note().map(str::to_owned),
        }
    }
}

impl Explained {
    /// From a row and the texts at hand.
    pub fn of(row: &CandidateRow, texts: &Texts) -> Self {
        let drop = row.drop.as_ref();
        Self {
            doc_id: row.doc_id.clone(),
            status: row.status,
            score: row.score,
            rank: row.rank,
            evidence: row.evidence.clone(),
            pick: row.pick,
            reason: drop.map(|d| d.reason.name()),
            because: drop.map(|d| d.sentence()),
            value: drop.map(|d| d.value).filter(|v| !v.is_nan()),
            threshold: drop.map(|d| d.threshold).filter(|v| !v.is_nan()),
            against: drop.and_then(|d| d.against.clone()),
            text: texts.document(&row.doc_id).map(one_line),
        }
    }
}
