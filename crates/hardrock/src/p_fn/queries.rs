//! The anchors' texts as weights, and which anchors a document is a positive of.

use hardrock_core::AnchorId;
use hardrock_engine::index::{Forward, TfIdf, TfIdfRow, Watch};

use crate::Result;
use crate::read::{Judgements, Table};
use crate::sources::TableTexts;

/// Stands for an anchor that is not among the chosen.
const NONE: u32 = u32::MAX;

/// Weights of length 1 of some anchors' texts, 8 bytes per term.
pub(super) struct Queries {
    row: Vec<u32>,
    starts: Vec<usize>,
    terms: Vec<u32>,
    weights: Vec<f32>,
}

impl Queries {
    pub(super) fn new(
        anchors: &Table,
        chosen: &[AnchorId],
        forward: &Forward,
        tfidf: &TfIdf,
        watch: &Watch<'_>,
    ) -> Result<Self> {
        let mut all =
            Self { row: vec![NONE; anchors.len()], starts: vec![0], terms: vec![], weights: vec![] };
        let texts = TableTexts::of(anchors, chosen);
        for (from, part) in chosen.chunks(1 << 14).enumerate().map(|(i, part)| (i << 14, part)) {
            let queries = forward.queries(&texts, from..from + part.len(), watch)?;
            for (anchor, query) in part.iter().zip(&queries) {
                all.row[anchor.index()] = (all.starts.len() - 1) as u32;
                for (term, weight) in tfidf.text(query).iter() {
                    all.terms.push(term);
                    all.weights.push(weight as f32);
                }
                all.starts.push(all.terms.len());
            }
        }
        Ok(all)
    }

    fn of(&self, anchor: u32) -> (&[u32], &[f32]) {
        match self.row.get(anchor as usize) {
            Some(&row) if row != NONE => {
                let range = self.starts[row as usize]..self.starts[row as usize + 1];
                (&self.terms[range.clone()], &self.weights[range])
            }
            _ => (&[], &[]),
        }
    }

    /// The text's weights, for comparing with documents.
    pub(super) fn text(&self, anchor: u32) -> TfIdfRow {
        let (terms, weights) = self.of(anchor);
        TfIdfRow::of(terms.to_vec(), weights.iter().map(|&w| f64::from(w)).collect())
    }

    /// Cosine of two anchors' texts.
    pub(super) fn cosine(&self, a: u32, b: u32) -> f32 {
        let ((a, x), (b, y)) = (self.of(a), self.of(b));
        let (mut sum, mut j) = (0.0, 0);
        for (term, weight) in a.iter().zip(x) {
            while b.get(j).is_some_and(|t| t < term) {
                j += 1;
            }
            if b.get(j) == Some(term) {
                sum += weight * y[j];
            }
        }
        sum.min(1.0)
    }
}

/// Which anchors each document is a labelled positive of.
pub(super) struct Owners {
    starts: Vec<u32>,
    anchors: Vec<u32>,
}

/// Owners of a document that are looked at: a document that answers thousands of queries (a tag, a class) has no query of
/// its own.
const MOST: usize = 16;

impl Owners {
    pub(super) fn new(documents: usize, judgements: &Judgements, chosen: &[AnchorId], level: i32) -> Self {
        let mut starts = vec![0u32; documents + 1];
        let pairs = || chosen.iter().flat_map(|a| judgements.positives(a.0, level).map(move |d| (a.0, d)));
        for (_, d) in pairs() {
            starts[d as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        let mut anchors = vec![0; starts.last().copied().unwrap_or(0) as usize];
        for (a, d) in pairs() {
            anchors[next[d as usize] as usize] = a;
            next[d as usize] += 1;
        }
        Self { starts, anchors }
    }

    /// The first owners of a document.
    pub(super) fn of(&self, document: u32) -> &[u32] {
        let d = document as usize;
        let all = &self.anchors[self.starts[d] as usize..self.starts[d + 1] as usize];
        &all[..all.len().min(MOST)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_the_anchors_of_a_document() {
        let judgements = Judgements::from_parts(vec![0, 2, 3], vec![0, 2, 2], vec![1, 1, 1]).unwrap();
        let owners = Owners::new(4, &judgements, &[AnchorId(0), AnchorId(1)], 1);
        assert_eq!((owners.of(0), owners.of(1), owners.of(2)), (&[0][..], &[][..], &[0, 1][..]));
        let one = Owners::new(4, &judgements, &[AnchorId(1)], 1);
        assert_eq!((one.of(0), one.of(2)), (&[][..], &[1][..]));
    }
}
