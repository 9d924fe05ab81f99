//! Sources propose candidates: for each anchor, documents with the source's own score and rank.
//!
//! A source never judges by labels; filters do that. Only the graph starts from labelled positives. Results are stored per
//! chunk of anchors, so a source is asked once.

mod approximate;
mod bm25;
mod given;
mod graph;
mod pending;
mod random;
mod run;
mod vectors;

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId};
use hardrock_engine::index::clustered::Recall;
use hardrock_engine::index::{FamilyOptions, Neighbours, Shingler, TokenOptions, Tokenizer, Watch};
use serde::Serialize;

use crate::Result;
use crate::embed::Outlook;
use crate::mine::Progress;
use crate::read::Table;
pub use approximate::{ApproximateSource, ClusterCell};
pub(crate) use bm25::with_rows;
pub use bm25::{Bm25Source, Lexical, TableTexts};
pub use given::GivenSource;
pub use graph::{GraphOver, GraphSource, Retrieved};
pub use pending::PendingSource;
pub use random::RandomSource;
pub(crate) use random::draw;
pub use run::RunSource;
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

/// How a source holds its documents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MemoryPlan {
    /// Bytes that it may take.
    pub room: u64,
    /// Bytes of all documents in 32 bits.
    pub documents: u64,
    /// Bytes of them as 8-bit codes, which are taken if they fit and a sample says that they pay; none where the processor
    /// has no products of bytes.
    pub codes: Option<u64>,
    /// How they pass through memory where they do not fit in 32 bits.
    pub streamed: Option<StreamPlan>,
}

/// How documents pass through memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StreamPlan {
    /// Documents of a chunk; two are in memory, of which one is being read.
    pub documents: u64,
    /// Bytes of a chunk.
    pub bytes: u64,
    /// Anchors that see a chunk before it goes.
    pub anchors: u64,
    /// How often all documents are read.
    pub passes: u64,
}

/// Proposes candidates, and scores pairs where it can.
pub trait Source: Sync {
    /// For each anchor of the range, up to `depth` distinct documents, best first (ties: lower document number).
    fn propose(&self, anchors: Range<usize>, depth: usize, cancel: &AtomicBool) -> Result<Neighbours>;

    /// Writes the source's score of `anchor` and each of `items` into `out` `[items]`: the same bits as in
    /// [`Source::propose`]. NaN where the source has no score for a pair.
    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()>;

    /// Makes what proposals rest on and later runs use again; `fresh` makes it in any case.
    ///
    /// # Errors
    /// Those of the search.
    fn prepare(&self, fresh: bool, progress: &dyn Progress) -> Result<()> {
        let _ = (fresh, progress);
        Ok(())
    }

    /// Anchors that are best searched for at once; 0 where it makes no difference. It changes the time, never the answer.
    fn at_once(&self, depth: usize) -> usize {
        let _ = depth;
        0
    }

    /// How a search for this many anchors will hold its documents; none for a source that holds no vectors.
    fn memory(&self, anchors: usize, depth: usize) -> Option<MemoryPlan> {
        let _ = (anchors, depth);
        None
    }

    /// What [`Source::prepare`] has still to do, with its rate in a sample of about `seconds`; none where nothing is missing.
    ///
    /// # Errors
    /// Those of the search.
    fn outlook(&self, seconds: f64) -> Result<Option<Outlook>> {
        let _ = seconds;
        Ok(None)
    }

    /// Per document the lowest number among those that it is joined with, directly or through others, by a score of at
    /// least `threshold`; documents behind the last one are alone. None for a source that does not compare documents.
    ///
    /// # Errors
    /// Those of the search.
    fn families(&self, threshold: f32) -> Result<Option<Vec<u32>>> {
        let _ = threshold;
        Ok(None)
    }

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
