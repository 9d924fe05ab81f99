//! The candidates file, `OUT.candidates.parquet`: every candidate of every anchor with its scores, its ranks and its fate.
//!
//! Nothing that a filter dropped is lost: `explain` and `report` read this file, and so can any Parquet reader. One row per
//! positive and per candidate; an anchor's rows stand together, positives first, then the candidates in judged order.
//! Row groups end where an anchor ends, and each has a Bloom filter over `query_id`, so that one anchor is found without
//! reading the others.

mod read;
mod write;

use hardrock_core::{AnchorId, ItemId, Reason, Verdict};
use serde::Serialize;

pub use read::{Anchors, Candidates};
pub use write::CandidatesWriter;

/// Version of the columns and metadata described here.
pub const FORMAT: &str = "1";

/// The string ids behind the dense numbers of a block.
pub trait Names {
    /// Id of an anchor.
    fn anchor(&self, anchor: AnchorId) -> &str;
    /// Id of a document.
    fn item(&self, item: ItemId) -> &str;
}

/// What a selector chose from a block: row r chose `positions[starts[r]..starts[r + 1]]`, in the order of choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Where each row begins, plus the end `[rows + 1]`.
    pub starts: Vec<usize>,
    /// Positions within their row, as in [`hardrock_core::Row`].
    pub positions: Vec<usize>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { starts: vec![0], positions: Vec::new() }
    }
}

impl Selection {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The positions of one row, first choice first; empty for a row that is not there.
    pub fn row(&self, row: usize) -> &[usize] {
        match (self.starts.get(row), self.starts.get(row + 1)) {
            (Some(&a), Some(&b)) => self.positions.get(a..b).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Adds a row.
    pub fn push(&mut self, positions: &[usize]) {
        self.positions.extend_from_slice(positions);
        self.starts.push(self.positions.len());
    }
}

/// What became of a document that was looked at for an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A labelled positive of the anchor.
    Positive,
    /// A candidate that was written as a negative.
    Selected,
    /// A candidate that no filter dropped, and that the selector passed over.
    Kept,
    /// A candidate that a filter dropped.
    Dropped,
}

impl Status {
    /// Every status, in the order of reports.
    pub const ALL: [Status; 4] = [Status::Positive, Status::Selected, Status::Kept, Status::Dropped];

    /// The value of the `status` column.
    pub fn name(self) -> &'static str {
        match self {
            Status::Positive => "positive",
            Status::Selected => "selected",
            Status::Kept => "kept",
            Status::Dropped => "dropped",
        }
    }

    /// The status of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// What one source said about a candidate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct SourceEvidence {
    /// The source's own score; `None` where it has none.
    pub score: Option<f32>,
    /// The source's own rank, 0 = best; `None` where it did not propose the candidate.
    pub rank: Option<u32>,
}

/// Why a candidate was dropped, with ids in place of numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The filter.
    pub reason: Reason,
    /// The value compared; NaN where the filter gave none.
    pub value: f32,
    /// The threshold it was compared with.
    pub threshold: f32,
    /// The positive that decided, where one did.
    pub against: Option<String>,
}

impl Decision {
    /// The decision as a sentence without its subject: `similarity 0.612 to positive d7 is above 0.500`.
    pub fn sentence(&self) -> String {
        let verdict = Verdict {
            reason: self.reason,
            value: self.value,
            threshold: self.threshold,
            against: self.against.as_ref().map(|_| ItemId(0)),
        };
        verdict.sentence(|_| self.against.clone().unwrap_or_default())
    }
}

/// One row of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CandidateRow {
    /// The document.
    pub doc_id: String,
    /// What became of it.
    pub status: Status,
    /// Judging score; `None` where the judging source could not score it.
    pub score: Option<f32>,
    /// Position in the judged order, 0 = best; `None` for the rows that list the positives.
    pub rank: Option<u32>,
    /// Per source, in the file's column order `[sources]`.
    pub evidence: Vec<SourceEvidence>,
    /// Why it was dropped.
    pub drop: Option<Decision>,
    /// Position among the selected, 0 = first.
    pub pick: Option<u32>,
    /// What stages found out, in the file's column order `[signals]`; `None` = not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Option<f32>>,
}

/// One anchor with all its rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AnchorCandidates {
    /// The anchor.
    pub query_id: String,
    /// Positives first, then candidates in judged order.
    pub rows: Vec<CandidateRow>,
}

impl AnchorCandidates {
    /// The rows that list the positives.
    pub fn positives(&self) -> impl Iterator<Item = &CandidateRow> {
        self.rows.iter().filter(|r| r.status == Status::Positive)
    }

    /// The candidates, best first, dropped ones included.
    pub fn candidates(&self) -> impl Iterator<Item = &CandidateRow> {
        self.rows.iter().filter(|r| r.status != Status::Positive)
    }

    /// The selected candidates, first choice first.
    pub fn selected(&self) -> Vec<&CandidateRow> {
        let mut chosen: Vec<_> = self.rows.iter().filter(|r| r.status == Status::Selected).collect();
        chosen.sort_by_key(|r| r.pick);
        chosen
    }

    /// The lowest judging score of the positives: what margins compare with by default. `None` where none has a score.
    pub fn weakest_positive(&self) -> Option<f32> {
        self.positives().filter_map(|r| r.score).min_by(f32::total_cmp)
    }
}

/// Name of a source's score column.
fn score_column(source: &str) -> String {
    format!("{source}_score")
}

/// Name of a source's rank column.
fn rank_column(source: &str) -> String {
    format!("{source}_rank")
}

/// Keys of the file's metadata.
mod key {
    pub(super) const FORMAT: &str = "hardrock.format";
    pub(super) const VERSION: &str = "hardrock.version";
    pub(super) const SCORE_BY: &str = "hardrock.score_by";
    pub(super) const SOURCES: &str = "hardrock.sources";
    pub(super) const SIGNALS: &str = "hardrock.signals";
}

#[cfg(test)]
mod tests;
