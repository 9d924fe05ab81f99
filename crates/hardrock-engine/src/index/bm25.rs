//! BM25 retrieval: impacts by term, dense accumulation, a thresholded scan.
//!
//! ## Formula (Lucene's idf, the classic term weight)
//! `sum over query terms of m * ln(1 + (N - df + .5) / (df + .5)) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len / mean))`,
//! `m` = how often the query repeats the term. The factor `(k1 + 1)` is in the classic formula and was left out by Lucene 8
//! and by `bm25s`' `lucene` method; it changes no ranking.
//!
//! ## Same bits everywhere
//! An impact is computed in f64 and rounded once; a score adds f32 impacts by ascending term id. So a (query, document)
//! pair has the same score whatever the memory budget, the threads and the way ([`Bm25::search`] or [`Bm25::score`]).

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bm25_block::{Accumulator, BLOCK, Best, Block, block_bytes};
use super::{Forward, IndexError, Neighbours, QueryTerms, Result, RowBuffer, Texts, Watch};

/// Queries that one task takes through the blocks together.
const TASK: usize = 32;

/// Parameters as written in TOML: `bm25 = { k1 = 1.2, b = 0.75 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bm25Options {
    /// How slowly repeats of a term lose worth, `>= 0`; at 0 only presence counts.
    pub k1: f64,
    /// How far long documents are held back, in `[0, 1]`.
    pub b: f64,
}

impl Default for Bm25Options {
    /// Lucene's values.
    fn default() -> Self {
        Self { k1: 1.2, b: 0.75 }
    }
}

impl Bm25Options {
    /// Says whether the values are in range.
    ///
    /// # Errors
    /// Names the field that is not.
    pub fn check(&self) -> Result<()> {
        let bad = |field, must: &str, got: f64| {
            Err(IndexError::Option {
                stage: "bm25",
                field,
                must: must.into(),
                got: got.to_string(),
                hint: String::new(),
            })
        };
        if !(self.k1.is_finite() && self.k1 >= 0.0) {
            return bad("k1", ">= 0 and finite", self.k1);
        }
        if !(0.0..=1.0).contains(&self.b) {
            return bad("b", "in [0, 1]", self.b);
        }
        Ok(())
    }
}

/// A BM25 index over a [`Forward`] index.
pub struct Bm25 {
    forward: Arc<Forward>,
    weights: Weights,
    /// Document ranges of the blocks, ascending.
    blocks: Vec<Range<usize>>,
    /// Groups of blocks that fit into memory together; one group is kept, more are rebuilt for each search.
    groups: Vec<Range<usize>>,
    kept: Vec<Block>,
}

impl std::fmt::Debug for Bm25 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bm25")
            .field("options", &self.weights.options)
            .field("documents", &self.forward.len())
            .field("blocks", &self.blocks.len())
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}

struct Weights {
    options: Bm25Options,
    /// `[terms]`.
    idf: Vec<f64>,
    mean: f64,
}

impl Weights {
    fn new(forward: &Forward, options: Bm25Options) -> Self {
        let n = forward.len() as f64;
        let idf = |&df: &u32| ((n - f64::from(df) + 0.5) / (f64::from(df) + 0.5)).ln_1p();
        Self {
            options,
            idf: forward.document_frequencies().iter().map(idf).collect(),
            mean: forward.mean_length(),
        }
    }

    /// What the document's length adds to `tf` in the denominator. Only documents with terms are asked, so `mean > 0`.
    fn norm(&self, len: u32) -> f64 {
        let Bm25Options { k1, b } = self.options;
        k1 * (1.0 - b + b * f64::from(len) / self.mean)
    }

    fn impact(&self, term: u32, count: u16, norm: f64) -> f32 {
        let tf = f64::from(count);
        (self.idf[term as usize] * (tf * (self.options.k1 + 1.0) / (tf + norm))) as f32
    }
}

impl Bm25 {
    /// Prepares the index. `budget` in bytes bounds the postings held at one time (about 6 bytes per distinct term of each
    /// document) but not the forward index nor the answers. What does not fit is built part by part during each
    /// search, so give a search many queries then. Below 12 bytes per term of the vocabulary it counts as that much, because
    /// smaller parts would cost more than they save; each thread that builds also holds 4 bytes per term for a while.
    ///
    /// # Errors
    /// Bad options, or rows that cannot be read.
    pub fn build(forward: Arc<Forward>, options: Bm25Options, budget: u64) -> Result<Self> {
        options.check()?;
        let weights = Weights::new(&forward, options);
        let budget = budget.max(12 * forward.terms().len() as u64);
        let blocks = cut_blocks(&forward, budget);
        let groups = cut_groups(&forward, &blocks, budget);
        let mut index = Self { forward, weights, blocks, groups, kept: Vec::new() };
        if index.groups.len() == 1 {
            index.kept = index.build_blocks(0..index.blocks.len())?;
        }
        Ok(index)
    }

    /// The forward index below.
    pub fn forward(&self) -> &Arc<Forward> {
        &self.forward
    }

    /// Into how many parts the budget cut the index; with more than one, each search builds them again.
    pub fn parts(&self) -> usize {
        self.groups.len()
    }

    fn build_blocks(&self, which: Range<usize>) -> Result<Vec<Block>> {
        self.blocks[which]
            .par_iter()
            .map(|docs| {
                let norms: Vec<f64> =
                    self.forward.lengths()[docs.clone()].iter().map(|&len| self.weights.norm(len)).collect();
                Block::build(&self.forward, docs.clone(), |doc, term, count| {
                    self.weights.impact(term, count, norms[doc - docs.start])
                })
            })
            .collect()
    }

    /// The `k` documents with the highest scores for each query text of `range`: best first, ties by lower document,
    /// only scores above 0. The same for any number of threads and any budget.
    ///
    /// # Errors
    /// Those of the texts and rows, or `Cancelled`.
    pub fn search(
        &self,
        queries: &dyn Texts,
        range: Range<usize>,
        k: usize,
        watch: &Watch<'_>,
    ) -> Result<Neighbours> {
        let queries = self.forward.queries(queries, range, watch)?;
        self.search_terms(&queries, k, watch)
    }

    /// As [`Bm25::search`] for queries that are terms already.
    ///
    /// # Errors
    /// As [`Bm25::search`].
    pub fn search_terms(&self, queries: &[QueryTerms], k: usize, watch: &Watch<'_>) -> Result<Neighbours> {
        let mut keys: Vec<Vec<u64>> = vec![Vec::new(); queries.len()];
        for (number, group) in self.groups.iter().enumerate() {
            let built;
            let blocks = if self.groups.len() == 1 {
                &self.kept
            } else {
                built = self.build_blocks(group.clone())?;
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

    /// The score of one document, the same bits as [`Bm25::search`] gives it; 0 where they share no term.
    ///
    /// # Errors
    /// The document does not exist, or its row cannot be read.
    pub fn score(&self, query: &QueryTerms, doc: u32, buffer: &mut RowBuffer) -> Result<f32> {
        let row = self.forward.row(doc, buffer)?;
        let norm = self.weights.norm(row.len);
        let mut score = 0f32;
        let mut rest = row.terms.iter().zip(row.counts).peekable();
        for (term, multiplicity) in query.iter() {
            while rest.next_if(|(t, _)| **t < term).is_some() {}
            if let Some((_, &count)) = rest.next_if(|(t, _)| **t == term) {
                score += multiplicity as f32 * self.weights.impact(term, count, norm);
            }
        }
        Ok(score)
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
fn cut_blocks(forward: &Forward, budget: u64) -> Vec<Range<usize>> {
    // A posting's place in its block is a `u32`.
    const MOST: u64 = u32::MAX as u64;
    let starts = &forward.tally.starts;
    let mut blocks = Vec::new();
    let mut first = 0;
    for doc in 0..forward.len() {
        let postings = starts[doc + 1] - starts[first];
        let full =
            doc - first == BLOCK || postings > MOST || block_bytes(postings, forward.terms().len()) > budget;
        if full && doc > first {
            blocks.push(first..doc);
            first = doc;
        }
    }
    if first < forward.len() {
        blocks.push(first..forward.len());
    }
    blocks
}

/// Ranges of blocks that fit the budget together.
fn cut_groups(forward: &Forward, blocks: &[Range<usize>], budget: u64) -> Vec<Range<usize>> {
    let bytes = |docs: &Range<usize>| {
        let starts = &forward.tally.starts;
        block_bytes(starts[docs.end] - starts[docs.start], forward.terms().len())
    };
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

#[cfg(test)]
#[path = "bm25_tests.rs"]
mod tests;
