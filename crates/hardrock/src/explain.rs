//! One anchor explained: every candidate, what each source said about it, and why it was selected, kept or dropped.

use std::collections::BTreeMap;
use std::path::Path;

use hardrock_core::p_fn::{self, Measured, Standing, signal};
use serde::Serialize;

use crate::Result;
use crate::candidates::{AnchorCandidates, CandidateRow, SourceEvidence, Status};
use crate::outputs::Outputs;
use crate::p_fn::Models;
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
    /// Probability that it is in truth a positive, where it was estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_fn: Option<f32>,
    /// What speaks for and against that, in words, strongest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub p_fn_because: Vec<String>,
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
    let mut explanation = Explanation::of(&anchor, candidates.sources(), candidates.score_by(), &texts);
    let models = manifest.as_ref().and_then(|m| m.p_fn.as_ref()).map(|p| &p.models);
    explanation.say_p_fn(&anchor, candidates.signals(), models);
    Ok(explanation)
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

    /// Adds p_fn to the candidates, and in words what it rests on, where the models are known.
    fn say_p_fn(&mut self, anchor: &AnchorCandidates, signals: &[String], models: Option<&Models>) {
        let place = |name: &str| signals.iter().position(|s| s == name);
        let Some(at) = place(signal::P_FN) else { return };
        let places = signal::ALL.map(place);
        let model = models.and_then(|m| m.of(&self.query_id)).filter(|m| m.is_sound());
        let highest = |scores: &mut dyn Iterator<Item = f32>| scores.fold(f32::NAN, f32::max);
        let positive = highest(&mut anchor.positives().filter_map(|r| r.score));
        let best = highest(&mut anchor.rows.iter().filter_map(|r| r.score));
        for (told, row) in self.candidates.iter_mut().zip(anchor.candidates()) {
            let value = |i: Option<usize>| i.and_then(|i| row.signals.get(i).copied().flatten());
            told.p_fn = value(Some(at));
            let (Some(model), Some(_)) = (model, told.p_fn) else { continue };
            let mut columns = [f32::NAN; 7];
            for (slot, &i) in columns.iter_mut().zip(&places[1..]) {
                *slot = value(i).unwrap_or(f32::NAN);
            }
            let proposed = row.evidence.iter().filter(|e| e.rank.is_some()).count();
            // The anchor's own vectors stand in no column, so they are passed over.
            let standing = Standing {
                score: row.score.unwrap_or(f32::NAN),
                best,
                positive,
                rank: row.rank.unwrap_or_default() as usize,
                vectors: f32::NAN,
                positive_vectors: f32::NAN,
                agreement: proposed as f32 / row.evidence.len().max(1) as f32,
            };
            let said = p_fn::say(model, &Measured::of_columns(columns), &standing);
            told.p_fn_because = said
                .into_iter()
                .map(|s| format!("{} ({})", s.words, if s.adds > 0.0 { "for" } else { "against" }))
                .collect();
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
            p_fn: None,
            p_fn_because: Vec::new(),
            text: texts.document(&row.doc_id).map(one_line),
        }
    }
}
