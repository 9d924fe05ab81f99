//! Inner products among the sparse vectors of a SPLADE model.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId};
use hardrock_engine::index::{Neighbours, SparseIndex, SparseVector, Watch};

use super::Source;
use crate::Result;
use crate::embed::SparseTable;

/// Sparse vectors as a source of candidates.
pub struct SparseSource<'a> {
    index: SparseIndex<'a>,
    queries: &'a SparseTable,
    judged: &'a [AnchorId],
}

impl<'a> SparseSource<'a> {
    /// `budget` in bytes bounds the postings in memory.
    ///
    /// # Errors
    /// Those of reading the documents' vectors.
    pub fn new(
        documents: &'a SparseTable,
        queries: &'a SparseTable,
        judged: &'a [AnchorId],
        budget: u64,
    ) -> Result<Self> {
        Ok(Self { index: SparseIndex::build(documents, budget)?, queries, judged })
    }
}

thread_local! {
    /// Room for a query and a document.
    static ROOM: RefCell<[SparseVector; 2]> = RefCell::default();
}

impl Source for SparseSource<'_> {
    fn propose(&self, range: Range<usize>, depth: usize, cancel: &AtomicBool) -> Result<Neighbours> {
        let mut queries = vec![SparseVector::default(); range.len()];
        for (anchor, query) in self.judged[range].iter().zip(&mut queries) {
            self.queries.vector(anchor.index(), query)?;
        }
        let watch = Watch { cancel: Some(cancel), progress: None };
        Ok(self.index.search(&queries, depth, &watch)?)
    }

    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()> {
        ROOM.with_borrow_mut(|[query, document]| {
            self.queries.vector(anchor.index(), query)?;
            for (slot, item) in out.iter_mut().zip(items) {
                *slot = self.index.score(query, item.0, document)?;
            }
            Ok(())
        })
    }

    fn exactness(&self) -> String {
        match self.index.parts() {
            0 | 1 => "exact, index in memory".into(),
            n => format!("exact, index in {n} parts made one after another to stay within memory"),
        }
    }
}
