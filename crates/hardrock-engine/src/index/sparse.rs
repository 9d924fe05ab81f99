//! Exact search among sparse vectors: the inner product over shared words.
//!
//! A score adds f32 products by ascending word, in retrieval and for given pairs alike, so a pair always has the same bits.

use std::ops::Range;

use super::block::{Postings, Query};
use super::blocks::Blocks;
use super::{IndexError, Neighbours, Result, Watch};

/// A sparse vector: words, ascending, with their weights, at least 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparseVector {
    /// Below the vocabulary of the index.
    pub words: Vec<u32>,
    /// `[words]`.
    pub weights: Vec<f32>,
}

impl Query for SparseVector {
    fn factors(&self) -> impl Iterator<Item = (u32, f32)> {
        self.words.iter().copied().zip(self.weights.iter().copied())
    }
}

/// Sparse vectors that can be read anywhere, in memory or from a file.
pub trait SparseRows: Sync {
    /// Words are below this.
    fn vocabulary(&self) -> usize;

    /// `[documents + 1]` offsets of the documents' words; the first is 0.
    fn starts(&self) -> &[u64];

    /// Reads the vector of a document.
    ///
    /// # Errors
    /// [`IndexError::Texts`], from the medium.
    fn read(&self, document: usize, out: &mut SparseVector) -> Result<()>;
}

/// Rows as postings.
struct Read<'a>(&'a dyn SparseRows);

impl Postings for Read<'_> {
    fn vocabulary(&self) -> usize {
        self.0.vocabulary()
    }

    fn terms(&self, docs: Range<usize>, mut f: impl FnMut(&[u32])) -> Result<()> {
        let mut row = SparseVector::default();
        for doc in docs {
            self.0.read(doc, &mut row)?;
            f(&row.words);
        }
        Ok(())
    }

    fn impacts(&self, docs: Range<usize>, mut f: impl FnMut(usize, u32, f32)) -> Result<()> {
        let mut row = SparseVector::default();
        for doc in docs {
            self.0.read(doc, &mut row)?;
            row.factors().for_each(|(word, weight)| f(doc, word, weight));
        }
        Ok(())
    }
}

/// An inverted index over sparse vectors.
pub struct SparseIndex<'a> {
    rows: &'a dyn SparseRows,
    blocks: Blocks,
}

impl<'a> SparseIndex<'a> {
    /// Prepares the index. `budget` in bytes bounds the postings held at one time (6 bytes each); what does not fit is built
    /// part by part during each search, so give a search many queries then.
    ///
    /// # Errors
    /// Those of the rows.
    pub fn build(rows: &'a dyn SparseRows, budget: u64) -> Result<Self> {
        Ok(Self { rows, blocks: Blocks::build(&Read(rows), rows.starts(), budget)? })
    }

    /// Into how many parts the budget cut the index; with more than one, each search builds them again.
    pub fn parts(&self) -> usize {
        self.blocks.parts()
    }

    /// The `k` documents with the greatest inner products for each query: best first, ties by lower document, only those
    /// above 0. The same for any number of threads and any budget.
    ///
    /// # Errors
    /// Those of the rows, or `Cancelled`.
    pub fn search(&self, queries: &[SparseVector], k: usize, watch: &Watch<'_>) -> Result<Neighbours> {
        self.blocks.search(&Read(self.rows), queries, k, watch)
    }

    /// The inner product with one document, the same bits as [`SparseIndex::search`] gives it; 0 where they share no word.
    /// `buffer` is room for the document's vector.
    ///
    /// # Errors
    /// The document does not exist, or its vector cannot be read.
    pub fn score(&self, query: &SparseVector, document: u32, buffer: &mut SparseVector) -> Result<f32> {
        let (id, len) = (document as usize, self.rows.starts().len().saturating_sub(1));
        if id >= len {
            return Err(IndexError::NoSuchDocument { id, len });
        }
        self.rows.read(id, buffer)?;
        let mut score = 0f32;
        let mut rest = buffer.factors().peekable();
        for (word, factor) in query.factors() {
            while rest.next_if(|(w, _)| *w < word).is_some() {}
            if let Some((_, weight)) = rest.next_if(|(w, _)| *w == word) {
                score += factor * weight;
            }
        }
        Ok(score)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    struct Memory {
        rows: Vec<SparseVector>,
        starts: Vec<u64>,
    }

    impl Memory {
        fn new(rows: &[BTreeMap<u32, f32>]) -> Self {
            let rows: Vec<SparseVector> = rows.iter().map(vector).collect();
            let mut starts = vec![0];
            rows.iter().for_each(|row| starts.push(starts.last().unwrap() + row.words.len() as u64));
            Self { rows, starts }
        }
    }

    fn vector(row: &BTreeMap<u32, f32>) -> SparseVector {
        SparseVector { words: row.keys().copied().collect(), weights: row.values().copied().collect() }
    }

    impl SparseRows for Memory {
        fn vocabulary(&self) -> usize {
            80
        }
        fn starts(&self) -> &[u64] {
            &self.starts
        }
        fn read(&self, document: usize, out: &mut SparseVector) -> Result<()> {
            out.clone_from(&self.rows[document]);
            Ok(())
        }
    }

    #[test]
    fn scores_are_inner_products_and_ties_go_to_the_lower_document() {
        let docs = Memory::new(&[
            BTreeMap::from([(1, 0.5), (70, 2.0)]),
            BTreeMap::new(),
            BTreeMap::from([(1, 2.0), (2, 1.0)]),
            BTreeMap::from([(70, 2.5)]),
        ]);
        let index = SparseIndex::build(&docs, u64::MAX).unwrap();
        let query = SparseVector { words: vec![1, 70, 79], weights: vec![1.0, 0.75, 9.0] };
        let found = index.search(std::slice::from_ref(&query), 3, &Watch::default()).unwrap();
        assert_eq!(found.row(0), (&[0, 2, 3][..], &[2.0, 2.0, 1.875][..]));
        let mut buffer = SparseVector::default();
        assert_eq!(index.score(&query, 1, &mut buffer).unwrap(), 0.0);
        assert!(matches!(index.score(&query, 4, &mut buffer), Err(IndexError::NoSuchDocument { .. })));
    }

    fn rows(most: usize) -> impl Strategy<Value = Vec<BTreeMap<u32, f32>>> {
        proptest::collection::vec(proptest::collection::btree_map(0u32..80, 0.01f32..4.0, 0..12), 1..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_budget_and_thread_count_finds_what_the_definition_says(
            docs in rows(60), queries in rows(40), k in 1usize..20, budget in 0u64..3000, threads in 1usize..4,
        ) {
            let docs = Memory::new(&docs);
            let queries: Vec<SparseVector> = queries.iter().map(vector).collect();
            let whole = SparseIndex::build(&docs, u64::MAX).unwrap();
            let found = whole.search(&queries, k, &Watch::default()).unwrap();
            let mut buffer = SparseVector::default();
            for (q, query) in queries.iter().enumerate() {
                let mut all: Vec<(u32, f32)> = (0..docs.rows.len() as u32)
                    .map(|doc| (doc, whole.score(query, doc, &mut buffer).unwrap()))
                    .filter(|(_, score)| *score > 0.0)
                    .collect();
                all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                all.truncate(k);
                let (items, scores) = found.row(q);
                prop_assert_eq!(items.iter().copied().zip(scores.iter().copied()).collect::<Vec<_>>(), all);
            }
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let tight = SparseIndex::build(&docs, budget).unwrap();
            prop_assert_eq!(pool.install(|| tight.search(&queries, k, &Watch::default()).unwrap()), found);
        }
    }
}
