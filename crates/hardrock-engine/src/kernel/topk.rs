//! What survives of one anchor's row of scores: a buffer that is cut back to the best `k` when it is full.
//!
//! ## Why a strict bar keeps ties exact
//! The order is score descending, then document ascending, and documents are offered in ascending order. Once
//! the buffer was cut, it holds `k` documents whose worst score is the bar. A later document with exactly the
//! bar's score comes after all `k` of them in the order, so it is not among the best `k`: it may be refused
//! unseen. The bar only rises, so refusing is final. The cut itself keeps everything above the k-th score and,
//! of those equal to it, the first ones in the buffer, which are the lowest documents, because the buffer is
//! filled in ascending order and the cut keeps its order.

use super::DOCUMENTS;

/// Survivors of one anchor.
pub(crate) struct Best {
    keep: usize,
    limit: usize,
    scores: Vec<f32>,
    items: Vec<u32>,
}

/// Reused space of a cut.
#[derive(Default)]
pub(crate) struct Scratch {
    keys: Vec<u32>,
    order: Vec<u64>,
}

impl Best {
    /// Survivors a buffer takes before it is cut back to `keep`, if there are `documents` in all. Rare cuts and
    /// a bar that rises soon pull in opposite directions; between these the time is flat.
    fn limit(keep: usize, documents: usize) -> usize {
        keep.saturating_add(keep.max(128)).min(documents.max(keep))
    }

    /// Bytes of a buffer.
    pub(crate) fn bytes(keep: usize, documents: usize) -> usize {
        (Self::limit(keep, documents) + DOCUMENTS) * 8
    }

    /// For the best `keep >= 1` of `documents`.
    pub(crate) fn new(keep: usize, documents: usize) -> Self {
        let limit = Self::limit(keep, documents);
        Best {
            keep,
            limit,
            scores: Vec::with_capacity(limit + DOCUMENTS),
            items: Vec::with_capacity(limit + DOCUMENTS),
        }
    }

    /// Takes the documents `first + j` for the bits `j` of `above`, in ascending order over all calls.
    /// Returns the new bar if the buffer was cut.
    pub(crate) fn offer(
        &mut self,
        scores: &[f32; DOCUMENTS],
        mut above: u32,
        first: u32,
        scratch: &mut Scratch,
    ) -> Option<f32> {
        if above == u32::MAX {
            // The first panels, which all pass.
            self.scores.extend_from_slice(scores);
            self.items.extend(first..first + DOCUMENTS as u32);
            above = 0;
        }
        while above != 0 {
            let lane = above.trailing_zeros();
            above &= above - 1;
            self.scores.push(scores[lane as usize]);
            self.items.push(first + lane);
        }
        (self.scores.len() > self.limit).then(|| self.cut(scratch))
    }

    /// Takes one document, in ascending order over all calls. NaN and negative infinity are no scores.
    pub(crate) fn push(&mut self, score: f32, item: u32, scratch: &mut Scratch) {
        if score > f32::NEG_INFINITY {
            self.scores.push(score);
            self.items.push(item);
            if self.scores.len() > self.limit {
                self.cut(scratch);
            }
        }
    }

    /// Cuts back to the best `keep` and returns the worst score of them. More than `keep` must be held.
    fn cut(&mut self, scratch: &mut Scratch) -> f32 {
        let keys = &mut scratch.keys;
        keys.clear();
        keys.extend(self.scores.iter().map(|&s| key(s)));
        let (_, &mut worst, _) = keys.select_nth_unstable_by(self.keep - 1, |a, b| b.cmp(a));
        let mut ties = self.keep - keys[..self.keep].iter().filter(|&&x| x > worst).count();
        let mut kept = 0;
        for at in 0..self.scores.len() {
            let (score, item) = (self.scores[at], self.items[at]);
            let mine = key(score);
            let stays = mine > worst || (mine == worst && ties > 0);
            ties -= usize::from(stays && mine == worst);
            self.scores[kept] = score;
            self.items[kept] = item;
            kept += usize::from(stays);
        }
        self.scores.truncate(kept);
        self.items.truncate(kept);
        unkey(worst)
    }

    /// Writes the survivors best first and returns how many there are, at most `keep`.
    pub(crate) fn finish(&mut self, scratch: &mut Scratch, items: &mut [u32], scores: &mut [f32]) -> usize {
        if self.scores.len() > self.keep {
            self.cut(scratch);
        }
        let order = &mut scratch.order;
        order.clear();
        let pairs = self.scores.iter().zip(&self.items);
        order.extend(pairs.map(|(&s, &item)| u64::from(!key(s)) << 32 | u64::from(item)));
        order.sort_unstable();
        for ((&o, item), score) in order.iter().zip(items).zip(scores) {
            *item = o as u32;
            *score = unkey(!((o >> 32) as u32));
        }
        order.len()
    }
}

/// A number that orders like the score, with both zeros equal.
fn key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The score of a key.
fn unkey(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_order_like_scores_and_join_the_zeros() {
        let rising = [f32::NEG_INFINITY, -2.0, -1e-40, 0.0, 1e-40, 0.5, f32::INFINITY];
        for pair in rising.windows(2) {
            assert!(key(pair[0]) < key(pair[1]));
        }
        assert_eq!(key(-0.0), key(0.0));
        for s in rising {
            assert_eq!(unkey(key(s)), s);
        }
    }

    proptest! {
        #[test]
        fn the_best_are_those_of_a_full_sort(
            scores in proptest::collection::vec(prop_oneof![3 => -2i8..3, 1 => Just(-0i8), 1 => any::<i8>()], 1..1500),
            keep in 1usize..80,
        ) {
            // Few distinct scores: ties at the k-th place are the rule, zeros come with both signs.
            let scores: Vec<f32> = scores
                .iter()
                .enumerate()
                .map(|(i, &s)| if s == 0 && i % 2 == 0 { -0.0 } else { f32::from(s) })
                .collect();
            let mut best = Best::new(keep, scores.len());
            let mut scratch = Scratch::default();
            let mut bar = f32::NEG_INFINITY;
            for (p, chunk) in scores.chunks(DOCUMENTS).enumerate() {
                let mut row = [f32::NAN; DOCUMENTS];
                row[..chunk.len()].copy_from_slice(chunk);
                let above = row.iter().enumerate().fold(0, |m, (j, &s)| m | u32::from(s > bar) << j);
                bar = best.offer(&row, above, (p * DOCUMENTS) as u32, &mut scratch).unwrap_or(bar);
            }
            let mut want: Vec<u32> = (0..scores.len() as u32).collect();
            want.sort_by(|&a, &b| {
                scores[b as usize].partial_cmp(&scores[a as usize]).unwrap().then(a.cmp(&b))
            });
            want.truncate(keep);
            let (mut items, mut values) = (vec![0; keep], vec![0.0; keep]);
            let n = best.finish(&mut scratch, &mut items, &mut values);
            prop_assert_eq!(&items[..n], &want[..]);
            for (v, &i) in values.iter().zip(&want) {
                prop_assert_eq!(*v, scores[i as usize]);
            }
        }
    }
}
