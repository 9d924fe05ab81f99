//! An inverted index in blocks of documents, as many at a time as a budget allows.

use std::ops::Range;

use rayon::prelude::*;

use super::block::{Accumulator, BLOCK, Best, Block, Postings, Query, block_bytes};
use super::{Neighbours, Result, Watch};

/// Queries that one task takes through the blocks together.
const TASK: usize = 32;

/// Blocks over all documents; what they are built from is lent at each call.
pub(super) struct Blocks {
    /// Document ranges of the blocks, ascending.
    blocks: Vec<Range<usize>>,
    /// Groups of blocks that fit into memory together; one group is kept, more are rebuilt for each search.
    groups: Vec<Range<usize>>,
    kept: Vec<Block>,
}

impl Blocks {
    /// `starts` `[documents + 1]` are the offsets of the documents' postings. Below 12 bytes per term of the vocabulary,
    /// `budget` counts as that much, because smaller parts would cost more than they save.
    ///
    /// # Errors
    /// Those of the postings.
    pub(super) fn build(postings: &impl Postings, starts: &[u64], budget: u64) -> Result<Self> {
        let vocabulary = postings.vocabulary();
        let budget = budget.max(12 * vocabulary as u64);
        let blocks = cut_blocks(starts, vocabulary, budget);
        let groups = cut_groups(starts, vocabulary, &blocks, budget);
        let mut index = Self { blocks, groups, kept: Vec::new() };
        if index.groups.len() == 1 {
            index.kept = index.build_blocks(postings, 0..index.blocks.len())?;
        }
        Ok(index)
    }

    /// Into how many parts the budget cut the index; with more than one, each search builds them again.
    pub(super) fn parts(&self) -> usize {
        self.groups.len()
    }

    fn build_blocks(&self, postings: &impl Postings, which: Range<usize>) -> Result<Vec<Block>> {
        self.blocks[which].par_iter().map(|docs| Block::build(postings, docs.clone())).collect()
    }

    /// The `k` documents with the highest scores for each query: best first, ties by lower document, only scores above 0.
    /// The same for any number of threads and any budget.
    ///
    /// # Errors
    /// Those of the postings, or `Cancelled`.
    pub(super) fn search<Q: Query>(
        &self,
        postings: &impl Postings,
        queries: &[Q],
        k: usize,
        watch: &Watch<'_>,
    ) -> Result<Neighbours> {
        let mut keys: Vec<Vec<u64>> = vec![Vec::new(); queries.len()];
        for (number, group) in self.groups.iter().enumerate() {
            let built;
            let blocks = if self.groups.len() == 1 {
                &self.kept
            } else {
                built = self.build_blocks(postings, group.clone())?;
                &built
            };
            let last = number + 1 == self.groups.len();
            queries.par_chunks(TASK).zip(keys.par_chunks_mut(TASK)).try_for_each_init(
                || (accumulator(), Best::new(k)),
                |(scores, best), (queries, keys)| {
                    for (query, keys) in queries.iter().zip(keys.iter_mut()) {
                        watch.check()?;
                        best.resume(keys);
                        for block in blocks {
                            block.search(query, scores, best);
                        }
                        keys.clear();
                        keys.extend_from_slice(best.finish());
                    }
                    if last {
                        watch.advance(queries.len());
                    }
                    Ok(())
                },
            )?;
        }
        let mut found = Neighbours { starts: vec![0], ..Default::default() };
        let total = keys.iter().map(Vec::len).sum();
        found.starts.reserve_exact(queries.len());
        found.items.reserve_exact(total);
        found.scores.reserve_exact(total);
        for row in keys {
            for key in row {
                let (doc, score) = Best::open(key);
                found.items.push(doc);
                found.scores.push(score);
            }
            found.starts.push(found.items.len());
        }
        Ok(found)
    }
}

fn accumulator() -> Box<Accumulator> {
    let zeros: Box<[f32]> = vec![0.0; BLOCK].into_boxed_slice();
    match zeros.try_into() {
        Ok(array) => array,
        Err(_) => unreachable!("the slice was made with this length"),
    }
}

/// Document ranges of at most [`BLOCK`] documents, each within the budget where a single document allows it.
fn cut_blocks(starts: &[u64], vocabulary: usize, budget: u64) -> Vec<Range<usize>> {
    // A posting's place in its block is a `u32`.
    const MOST: u64 = u32::MAX as u64;
    let documents = starts.len().saturating_sub(1);
    let mut blocks = Vec::new();
    let mut first = 0;
    for doc in 0..documents {
        let postings = starts[doc + 1] - starts[first];
        let full = doc - first == BLOCK || postings > MOST || block_bytes(postings, vocabulary) > budget;
        if full && doc > first {
            blocks.push(first..doc);
            first = doc;
        }
    }
    if first < documents {
        blocks.push(first..documents);
    }
    blocks
}

/// Ranges of blocks that fit the budget together.
fn cut_groups(starts: &[u64], vocabulary: usize, blocks: &[Range<usize>], budget: u64) -> Vec<Range<usize>> {
    let bytes = |docs: &Range<usize>| block_bytes(starts[docs.end] - starts[docs.start], vocabulary);
    let mut groups = Vec::new();
    let (mut first, mut held) = (0, 0u64);
    for (number, docs) in blocks.iter().enumerate() {
        let more = bytes(docs);
        if number > first && held.saturating_add(more) > budget {
            groups.push(first..number);
            (first, held) = (number, 0);
        }
        held = held.saturating_add(more);
    }
    if first < blocks.len() {
        groups.push(first..blocks.len());
    }
    groups
}
