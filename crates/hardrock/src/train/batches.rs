//! What a step sees: pairs in an order of their epoch, the documents of all of them as columns, each once.

use hardrock_core::{Mark, Reason, Rng};

use super::examples::Examples;

/// Stage number of the order of pairs.
const ORDER: u64 = 0x6f72_6465;

/// One step's rows and columns.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Anchors, one row each.
    pub(crate) anchors: Vec<u32>,
    /// Documents, one column each: the positives in the rows' order, then mined negatives.
    pub(crate) documents: Vec<u32>,
    /// Columns that are some row's positive: the first so many.
    pub(crate) positives: usize,
    /// `[rows][columns]`.
    pub(crate) marks: Vec<Mark>,
    /// Cells that do not count because the document is a known positive of the anchor.
    pub(crate) masked: u64,
}

/// The pairs of an epoch in its order: the same for any number of threads, and for a run that goes on from a checkpoint.
pub(crate) fn order(pairs: usize, seed: u64, epoch: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..pairs as u32).collect();
    let mut rng = Rng::at(seed, ORDER, epoch as u64);
    for at in (1..order.len()).rev() {
        order.swap(at, rng.below(at as u64 + 1) as usize);
    }
    order
}

/// Makes batches; keeps what it needs between two of them.
#[derive(Debug)]
pub(crate) struct Batcher {
    /// Column of each document, `NONE` outside of the batch.
    places: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Batcher {
    /// For a corpus of so many documents.
    pub(crate) fn new(documents: usize) -> Self {
        Self { places: vec![NONE; documents] }
    }

    /// The batch of these pairs. Each anchor brings `negatives` of its mined ones; the window moves on with the epochs.
    pub(crate) fn make(
        &mut self,
        examples: &Examples,
        chosen: &[u32],
        negatives: usize,
        epoch: usize,
        batch: &mut Batch,
    ) {
        batch.anchors.clear();
        batch.documents.clear();
        let add = |item: u32, documents: &mut Vec<u32>, places: &mut [u32]| {
            let place = &mut places[item as usize];
            if *place == NONE {
                *place = documents.len() as u32;
                documents.push(item);
            }
        };
        for &pair in chosen {
            let (anchor, item) = examples.pairs[pair as usize];
            batch.anchors.push(anchor);
            add(item, &mut batch.documents, &mut self.places);
        }
        batch.positives = batch.documents.len();
        for &anchor in &batch.anchors {
            let mined = &examples.negatives[anchor as usize];
            for turn in 0..negatives.min(mined.len()) {
                let item = mined[(epoch * negatives + turn) % mined.len()];
                add(item, &mut batch.documents, &mut self.places);
            }
        }
        let columns = batch.documents.len();
        batch.marks.clear();
        batch.marks.resize(batch.anchors.len() * columns, Mark::LIVE);
        batch.masked = 0;
        for (row, &pair) in batch.marks.chunks_mut(columns.max(1)).zip(chosen) {
            let (anchor, item) = examples.pairs[pair as usize];
            for &known in &examples.known[anchor as usize] {
                if let Some(mark) = row.get_mut(self.places[known as usize] as usize) {
                    *mark = Mark::dropped(Reason::Known);
                    batch.masked += u64::from(known != item);
                }
            }
            row[self.places[item as usize] as usize] = Mark::POSITIVE;
        }
        for &item in &batch.documents {
            self.places[item as usize] = NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Examples {
        Examples {
            pairs: vec![(0, 5), (1, 6), (2, 5), (0, 7)],
            same: (0..10).collect(),
            known: vec![vec![5, 7], vec![6], vec![5]],
            negatives: vec![vec![8, 9, 1], vec![5], vec![]],
            held_out: vec![],
        }
    }

    #[test]
    fn a_positive_of_the_anchor_is_never_its_negative_and_documents_stand_once() {
        let (examples, mut batch) = (examples(), Batch::default());
        let mut batcher = Batcher::new(10);
        for epoch in 0..2 {
            batcher.make(&examples, &[0, 1, 2, 3], 2, epoch, &mut batch);
            assert_eq!(batch.anchors, [0, 1, 2, 0]);
            let mined: &[u32] = if epoch == 0 { &[8, 9] } else { &[1, 8] };
            assert_eq!(batch.documents, [&[5, 6, 7], mined].concat());
            assert_eq!(batch.positives, 3);
            let (p, n, k) = (Mark::POSITIVE, Mark::LIVE, Mark::dropped(Reason::Known));
            let want = [[p, n, k, n, n], [n, p, n, n, n], [p, n, n, n, n], [k, n, p, n, n]];
            assert_eq!(batch.marks, want.concat());
            assert_eq!(batch.masked, 2);
        }
    }

    #[test]
    fn every_pair_comes_once_an_epoch_and_epochs_differ() {
        let mut first = order(100, 7, 0);
        assert_ne!(first, order(100, 7, 1));
        assert_eq!(first, order(100, 7, 0));
        first.sort_unstable();
        assert_eq!(first, (0..100).collect::<Vec<u32>>());
    }
}
