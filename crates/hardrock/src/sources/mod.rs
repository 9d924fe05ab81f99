//! Sources propose candidates: for each anchor, documents with the source's own score and rank.
//!
//! A source never looks at labels; filters do that. Its results are stored per chunk of anchors, so a source is asked once.

mod approximate;
mod bm25;
mod given;
mod pending;
mod random;
mod run;
mod sparse;
mod vectors;

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId};
use hardrock_engine::index::clustered::Recall;
use hardrock_engine::index::{FamilyOptions, Neighbours, Shingler, TokenOptions, Tokenizer, Watch};

use crate::Result;
use crate::read::Table;
pub use approximate::{ApproximateSource, ClusterCell};
pub(crate) use bm25::with_rows;
pub use bm25::{Bm25Source, Lexical, TableTexts};
pub use given::GivenSource;
pub use pending::PendingSource;
pub use random::RandomSource;
pub(crate) use random::draw;
pub use run::RunSource;
pub use sparse::SparseSource;
pub(crate) use vectors::NO_ROW;
pub use vectors::{Vectors, VectorsLikeness, VectorsSource, open_vectors};

/// Anchors to measure a source on, with what it proposed for them.
pub struct Sample<'a> {
    /// Their places among the judged anchors.
    pub anchors: &'a [usize],
    /// What was asked for.
    pub depth: usize,
    /// What was found, a row per anchor.
    pub found: &'a Neighbours,
}

/// Proposes candidates, and scores pairs where it can.
pub trait Source: Sync {
    /// For each anchor of the range, up to `depth` distinct documents, best first (ties: lower document number).
    fn propose(&self, anchors: Range<usize>, depth: usize, cancel: &AtomicBool) -> Result<Neighbours>;

    /// Writes the source's score of `anchor` and each of `items` into `out` `[items]`: the same bits as in
    /// [`Source::propose`]. NaN where the source has no score for a pair.
    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()>;

    /// How many of the exact best documents of some anchors the source has found; none for a source that is exact, or that
    /// has no notion of it.
    ///
    /// # Errors
    /// Those of the search.
    fn recall(&self, sample: &Sample<'_>) -> Result<Option<Recall>> {
        let _ = sample;
        Ok(None)
    }

    /// Says in a few words how exact the source is, for plans and reports.
    fn exactness(&self) -> String;
}

/// Families of near-duplicates over the corpus: per document the number of its family's first member.
pub fn families(items: &Table, threshold: f32, budget: u64, cancel: &AtomicBool) -> Result<Vec<u32>> {
    let watch = Watch { cancel: Some(cancel), progress: None };
    let options = FamilyOptions { threshold: f64::from(threshold), budget };
    Ok(hardrock_engine::index::families(&TableTexts::all(items), &shingler()?, &options, &watch)?)
}

/// Words in a row that near-duplicates are compared by.
const SHINGLE: usize = 3;

/// Shingles over plain words: stop words and endings are part of a text's wording.
pub(crate) fn shingler() -> Result<Shingler> {
    let tokens = TokenOptions { stop_words: "none".into(), stem: "none".into(), ..TokenOptions::default() };
    Ok(Shingler::new(Tokenizer::new(tokens)?, SHINGLE))
}
