//! The hits of a search in the making.

use std::ops::Range;

use rayon::prelude::*;

use super::Neighbours;

/// `keep` places for each anchor.
pub(super) struct Hits {
    pub(super) items: Vec<u32>,
    pub(super) scores: Vec<f32>,
    pub(super) counts: Vec<usize>,
    pub(super) keep: usize,
}

/// The places of one group of anchors.
pub(super) struct HitsGroup<'a> {
    pub(super) items: &'a mut [u32],
    pub(super) scores: &'a mut [f32],
    pub(super) counts: &'a mut [usize],
    pub(super) keep: usize,
}

impl Hits {
    /// Room for the hits of `anchors`; none if that is more than memory can address.
    pub(super) fn new(anchors: usize, keep: usize) -> Option<Self> {
        let cells = anchors.checked_mul(keep)?;
        Some(Self { items: vec![0; cells], scores: vec![0.0; cells], counts: vec![0; anchors], keep })
    }

    pub(super) fn part(&mut self, anchors: Range<usize>) -> HitsGroup<'_> {
        let cells = anchors.start * self.keep..anchors.end * self.keep;
        HitsGroup {
            items: &mut self.items[cells.clone()],
            scores: &mut self.scores[cells],
            counts: &mut self.counts[anchors],
            keep: self.keep,
        }
    }

    pub(super) fn groups(&mut self, size: usize) -> impl IndexedParallelIterator<Item = HitsGroup<'_>> {
        self.part(0..self.counts.len()).groups(size)
    }

    /// Closes the gaps that anchors with fewer than `keep` hits leave.
    pub(super) fn close(mut self) -> Neighbours {
        let mut starts = Vec::with_capacity(self.counts.len() + 1);
        starts.push(0);
        let mut end = 0;
        for (anchor, &count) in self.counts.iter().enumerate() {
            let from = anchor * self.keep;
            if from != end {
                self.items.copy_within(from..from + count, end);
                self.scores.copy_within(from..from + count, end);
            }
            end += count;
            starts.push(end);
        }
        self.items.truncate(end);
        self.scores.truncate(end);
        Neighbours { starts, items: self.items, scores: self.scores }
    }
}

impl<'a> HitsGroup<'a> {
    pub(super) fn groups(self, size: usize) -> impl IndexedParallelIterator<Item = HitsGroup<'a>> {
        let keep = self.keep;
        let items = self.items.par_chunks_mut(size * keep);
        let scores = self.scores.par_chunks_mut(size * keep);
        let counts = self.counts.par_chunks_mut(size);
        let all = items.zip(scores).zip(counts).with_max_len(1);
        all.map(move |((items, scores), counts)| HitsGroup { items, scores, counts, keep })
    }
}
