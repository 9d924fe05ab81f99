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

use serde::{Deserialize, Serialize};

use super::block::{Postings, Query};
use super::blocks::Blocks;
use super::{Forward, IndexError, Neighbours, QueryTerms, Result, RowBuffer, Texts, Watch};

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
    blocks: Blocks,
}

impl std::fmt::Debug for Bm25 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bm25")
            .field("options", &self.weights.options)
            .field("documents", &self.forward.len())
            .field("parts", &self.blocks.parts())
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

/// The forward index with the weights of its postings.
struct Weighted<'a> {
    forward: &'a Forward,
    weights: &'a Weights,
}

impl Postings for Weighted<'_> {
    fn vocabulary(&self) -> usize {
        self.forward.terms().len()
    }

    fn terms(&self, docs: Range<usize>, mut f: impl FnMut(&[u32])) -> Result<()> {
        self.forward.each_row(docs, &mut RowBuffer::default(), |_, row| f(row.terms))
    }

    fn impacts(&self, docs: Range<usize>, mut f: impl FnMut(usize, u32, f32)) -> Result<()> {
        self.forward.each_row(docs, &mut RowBuffer::default(), |doc, row| {
            let norm = self.weights.norm(row.len);
            for (&term, &count) in row.terms.iter().zip(row.counts) {
                f(doc, term, self.weights.impact(term, count, norm));
            }
        })
    }
}

impl Query for QueryTerms {
    fn factors(&self) -> impl Iterator<Item = (u32, f32)> {
        self.iter().map(|(term, multiplicity)| (term, multiplicity as f32))
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
        let blocks =
            Blocks::build(&Weighted { forward: &forward, weights: &weights }, &forward.tally.starts, budget)?;
        Ok(Self { forward, weights, blocks })
    }

    /// The forward index below.
    pub fn forward(&self) -> &Arc<Forward> {
        &self.forward
    }

    /// Into how many parts the budget cut the index; with more than one, each search builds them again.
    pub fn parts(&self) -> usize {
        self.blocks.parts()
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
        let postings = Weighted { forward: &self.forward, weights: &self.weights };
        self.blocks.search(&postings, queries, k, watch)
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

#[cfg(test)]
#[path = "bm25_tests.rs"]
mod tests;
