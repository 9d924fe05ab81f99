//! Likeness of two documents: tf-idf cosine over the forward index.
//!
//! It judges a candidate against a *positive* (the `kin` filter): false negatives are near-relatives of the known positive,
//! which no margin on the anchor's score can see (`docs/benchmarks/bm25.md` has the figures).
//!
//! ## Formula
//! Weight of a term: `(1 + ln tf) * ln(1 + (N - df + .5) / (df + .5))`, scaled to length 1 per document. Terms that the corpus
//! does not know have no weight. Two documents without terms have cosine 0. Of raw and logarithmic counts and three
//! idf formulae this pair told false negatives from true ones best.

use std::sync::Arc;

use rayon::prelude::*;

use super::forward::batches;
use super::{Forward, QueryTerms, Result, Row, RowBuffer, Watch};

/// Tf-idf weights over a [`Forward`] index: 8 bytes per term and 4 per document in memory; rows are read from the forward index.
#[derive(Debug)]
pub struct TfIdf {
    forward: Arc<Forward>,
    /// `[terms]`.
    idf: Vec<f64>,
    /// Weight of a count before idf: a logarithm costs more than all else about a term.
    tf: TermCounts,
    /// `[documents]` 1 / length of the weight vector; 0 for a document without terms.
    scale: Vec<f32>,
}

/// One text as weights of length 1, to be compared with many documents.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TfIdfRow {
    terms: Vec<u32>,
    weights: Vec<f64>,
    /// Sum of the weights.
    whole: f64,
    places: Places,
}

/// Where a term stands in a text: a hash table at most a quarter full, so that the usual answer, that it stands nowhere, takes
/// one look. Walking both texts side by side mispredicts a branch at nearly every term.
#[derive(Debug, Clone, Default, PartialEq)]
struct Places {
    /// `(term, place)`, a power of two of them, none for a text without terms.
    slots: Vec<(u32, u32)>,
    shift: u32,
}

/// Marks a free slot; no corpus has so many terms that one has this id.
const FREE: u32 = u32::MAX;

impl Places {
    fn of(terms: &[u32]) -> Self {
        if terms.is_empty() {
            return Self::default();
        }
        let bits = (4 * terms.len()).next_power_of_two().ilog2();
        let mut places = Self { slots: vec![(FREE, 0); 1 << bits], shift: 32 - bits };
        for (place, &term) in terms.iter().enumerate() {
            let mut slot = places.first(term);
            while places.slots[slot].0 != FREE {
                slot = (slot + 1) & (places.slots.len() - 1);
            }
            places.slots[slot] = (term, place as u32);
        }
        places
    }

    /// Knuth's multiplicative hash.
    fn first(&self, term: u32) -> usize {
        (term.wrapping_mul(2_654_435_769) >> self.shift) as usize
    }

    fn find(&self, term: u32) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut slot = self.first(term);
        loop {
            match self.slots[slot] {
                (FREE, _) => return None,
                (found, place) if found == term => return Some(place as usize),
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
    }
}

impl TfIdf {
    /// Reads every row once for its length.
    ///
    /// # Errors
    /// Rows that cannot be read, or `Cancelled`.
    pub fn build(forward: Arc<Forward>, watch: &Watch<'_>) -> Result<Self> {
        let n = forward.len() as f64;
        let idf: Vec<f64> = forward
            .document_frequencies()
            .iter()
            .map(|&df| ((n - f64::from(df) + 0.5) / (f64::from(df) + 0.5)).ln_1p())
            .collect();
        let tf = TermCounts::new();
        let parts: Vec<Vec<f32>> = batches(0..forward.len(), 2048)
            .into_par_iter()
            .map_init(RowBuffer::default, |buffer, docs| {
                watch.check()?;
                let rows = forward.rows(docs.clone(), buffer)?;
                let scales = rows.iter().map(|row| scale(&idf, &tf, row)).collect();
                watch.advance(docs.len());
                Ok(scales)
            })
            .collect::<Result<_>>()?;
        Ok(Self { forward, idf, tf, scale: parts.concat() })
    }

    /// The weights of a document of the corpus.
    ///
    /// # Errors
    /// The document does not exist, or its row cannot be read.
    pub fn document(&self, doc: u32) -> Result<TfIdfRow> {
        let mut buffer = RowBuffer::default();
        let row = self.forward.row(doc, &mut buffer)?;
        let counts = row.counts.iter().map(|&count| u32::from(count));
        Ok(self.weigh(row.terms.iter().copied().zip(counts)))
    }

    /// The weights of any text's terms ([`Forward::query`]).
    pub fn text(&self, terms: &QueryTerms) -> TfIdfRow {
        self.weigh(terms.iter())
    }

    fn weight(&self, term: u32, count: u32) -> f64 {
        self.tf.of(count) * self.idf[term as usize]
    }

    fn weigh(&self, counts: impl Iterator<Item = (u32, u32)>) -> TfIdfRow {
        let (terms, mut weights): (Vec<u32>, Vec<f64>) =
            counts.map(|(term, count)| (term, self.weight(term, count))).unzip();
        let length = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
        if length > 0.0 {
            weights.iter_mut().for_each(|w| *w /= length);
        }
        TfIdfRow::new(terms, weights)
    }

    /// Cosine of `row` with a document, in `[0, 1]`.
    ///
    /// # Errors
    /// The document does not exist, or its row cannot be read.
    pub fn cosine(&self, row: &TfIdfRow, doc: u32, buffer: &mut RowBuffer) -> Result<f32> {
        let other = self.forward.row(doc, buffer)?;
        let mut sum = 0f64;
        for (&term, &count) in other.terms.iter().zip(other.counts) {
            if let Some(place) = row.places.find(term) {
                sum += row.weights[place] * self.weight(term, u32::from(count));
            }
        }
        Ok(((sum * f64::from(self.scale[doc as usize])) as f32).min(1.0))
    }

    /// What each of `texts` has in common with a document, whose row is read once. Appends to `out`.
    ///
    /// # Errors
    /// The document does not exist, or its row cannot be read.
    pub fn compare(
        &self,
        texts: &[TfIdfRow],
        doc: u32,
        buffer: &mut RowBuffer,
        out: &mut Vec<Common>,
    ) -> Result<()> {
        let other = self.forward.row(doc, buffer)?;
        for text in texts {
            let (mut sum, mut covered, mut shared) = (0f64, 0f64, 0);
            for (&term, &count) in other.terms.iter().zip(other.counts) {
                if let Some(place) = text.places.find(term) {
                    sum += text.weights[place] * self.weight(term, u32::from(count));
                    covered += text.weights[place];
                    shared += 1;
                }
            }
            out.push(Common {
                cosine: ((sum * f64::from(self.scale[doc as usize])) as f32).min(1.0),
                shared,
                terms: other.terms.len() as u32,
                covered: if text.whole > 0.0 { (covered / text.whole) as f32 } else { 0.0 },
            });
        }
        Ok(())
    }
}

/// What a text and a document have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Common {
    /// Tf-idf cosine, in `[0, 1]`.
    pub cosine: f32,
    /// Distinct terms in both.
    pub shared: u32,
    /// Distinct terms of the document.
    pub terms: u32,
    /// Share of the text's weight that falls on shared terms, in `[0, 1]`; 0 for a text without known terms.
    pub covered: f32,
}

impl TfIdfRow {
    /// From ascending terms and their weights; what is longer is cut off.
    pub fn of(mut terms: Vec<u32>, mut weights: Vec<f64>) -> Self {
        let len = terms.len().min(weights.len());
        terms.truncate(len);
        weights.truncate(len);
        Self::new(terms, weights)
    }

    fn new(terms: Vec<u32>, weights: Vec<f64>) -> Self {
        Self { whole: weights.iter().sum(), places: Places::of(&terms), terms, weights }
    }

    /// Number of distinct known terms.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether the corpus knows none of the text's terms.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// `(term, weight)` by ascending term.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f64)> + '_ {
        self.terms.iter().copied().zip(self.weights.iter().copied())
    }
}

/// `1 + ln count`, looked up for the counts that nearly all terms have.
#[derive(Debug)]
struct TermCounts(Vec<f64>);

impl TermCounts {
    fn new() -> Self {
        Self((0..256).map(Self::compute).collect())
    }

    fn compute(count: u32) -> f64 {
        1.0 + f64::from(count).ln()
    }

    fn of(&self, count: u32) -> f64 {
        self.0.get(count as usize).copied().unwrap_or_else(|| Self::compute(count))
    }
}

fn scale(idf: &[f64], tf: &TermCounts, row: Row<'_>) -> f32 {
    let weights = row.terms.iter().zip(row.counts).map(|(&t, &c)| tf.of(u32::from(c)) * idf[t as usize]);
    let squares = weights.map(|w| w * w);
    let length = squares.sum::<f64>().sqrt();
    if length > 0.0 { (1.0 / length) as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{TokenOptions, Tokenizer};
    use proptest::prelude::*;

    fn built(texts: &Vec<String>) -> TfIdf {
        let tokenizer = Tokenizer::new(TokenOptions::plain()).unwrap();
        let forward = Forward::build(texts, tokenizer, &Watch::default()).unwrap();
        TfIdf::build(Arc::new(forward), &Watch::default()).unwrap()
    }

    fn cosine(index: &TfIdf, a: u32, b: u32) -> f32 {
        index.cosine(&index.document(a).unwrap(), b, &mut RowBuffer::default()).unwrap()
    }

    #[test]
    fn a_document_is_its_own_nearest() {
        let index = built(&["red fox", "red red fox fox fox", "blue bird", ""].map(String::from).to_vec());
        assert!((cosine(&index, 0, 0) - 1.0).abs() < 1e-6);
        assert!(cosine(&index, 0, 1) > 0.95 && cosine(&index, 0, 1) < 1.0);
        assert_eq!(cosine(&index, 0, 2), 0.0);
        assert_eq!(cosine(&index, 3, 3), 0.0);
        assert_eq!(cosine(&index, 3, 0), 0.0);
    }

    #[test]
    fn a_small_case_by_hand() {
        let index = built(&["a b", "a c"].map(String::from).to_vec());
        // "a" stands in both of two documents, "b" in one.
        let (common, rare) = ((1.0 + 0.5 / 2.5f64).ln(), 2f64.ln());
        let expected = common * common / (common * common + rare * rare);
        assert!((f64::from(cosine(&index, 0, 1)) - expected).abs() < 1e-6);
    }

    #[test]
    fn comparing_counts_shared_terms_and_agrees_with_the_cosine() {
        let index = built(&["a b c", "b c c d", "x"].map(String::from).to_vec());
        let texts = [index.document(0).unwrap(), index.text(&index.forward.query("b zebra d"))];
        let mut out = Vec::new();
        index.compare(&texts, 1, &mut RowBuffer::default(), &mut out).unwrap();
        assert_eq!(out[0].cosine, cosine(&index, 0, 1));
        assert_eq!((out[0].shared, out[0].terms), (2, 3));
        assert_eq!((out[1].shared, out[1].covered), (2, 1.0), "an unknown term weighs nothing");
        out.clear();
        index.compare(&texts, 2, &mut RowBuffer::default(), &mut out).unwrap();
        assert_eq!((out[0].shared, out[0].covered, out[0].cosine), (0, 0.0, 0.0));
    }

    #[test]
    fn unknown_terms_of_a_text_weigh_nothing() {
        let index = built(&["red fox", "blue bird"].map(String::from).to_vec());
        let known = index.text(&index.forward.query("fox red"));
        let more = index.text(&index.forward.query("fox zebra red"));
        assert_eq!(known, more);
        assert!((index.cosine(&known, 0, &mut RowBuffer::default()).unwrap() - 1.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn cosine_is_symmetric_and_in_range(texts in proptest::collection::vec("[a-f ]{0,14}", 2..8)) {
            let index = built(&texts);
            for a in 0..texts.len() as u32 {
                for b in 0..texts.len() as u32 {
                    let (x, y) = (cosine(&index, a, b), cosine(&index, b, a));
                    prop_assert!((0.0..=1.0).contains(&x));
                    prop_assert!((x - y).abs() < 1e-6);
                }
            }
        }
    }
}
