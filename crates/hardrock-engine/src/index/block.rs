//! Impacts of at most 65,536 neighbouring documents, turned round: documents by term.
//!
//! A block's accumulator has 65,536 cells (256 KiB: stays in a core's L2 cache) and its document numbers are `u16`,
//! so that adding a posting needs no bounds check and reads 6 bytes.

use std::ops::Range;

use super::Result;

/// Where a block's postings come from.
pub(super) trait Postings: Sync {
    /// Terms are below this.
    fn vocabulary(&self) -> usize;

    /// Calls `f` with the terms of each document, in the documents' order.
    ///
    /// # Errors
    /// Those of the medium.
    fn terms(&self, docs: Range<usize>, f: impl FnMut(&[u32])) -> Result<()>;

    /// Calls `f(document, term, impact)` for the same terms in the same order; an impact is at least 0.
    ///
    /// # Errors
    /// Those of the medium.
    fn impacts(&self, docs: Range<usize>, f: impl FnMut(usize, u32, f32)) -> Result<()>;
}

/// What is searched for.
pub(super) trait Query: Sync {
    /// Ascending terms, each with the factor of its impacts.
    fn factors(&self) -> impl Iterator<Item = (u32, f32)>;
}

/// Most documents of a block.
pub(super) const BLOCK: usize = 1 << 16;

/// Where the accumulated scores of one query and one block stand.
pub(super) type Accumulator = [f32; BLOCK];

/// Postings of neighbouring documents by term.
pub(super) struct Block {
    docs: Range<usize>,
    /// One bit per term of the vocabulary: does the block hold it?
    present: Vec<u64>,
    /// Number of present terms before each word of `present`.
    ranks: Vec<u32>,
    /// `[present terms + 1]` offsets into `ids` and `impacts`.
    starts: Vec<u32>,
    ids: Vec<u16>,
    impacts: Vec<f32>,
}

/// Bytes that a block takes: postings, documents' share, and the vocabulary's share.
pub(super) fn block_bytes(postings: u64, vocabulary: usize) -> u64 {
    let terms = (vocabulary as u64).min(postings);
    postings * 6 + terms * 4 + (vocabulary as u64).div_ceil(64) * 12
}

impl Block {
    /// Turns the rows of `docs` round.
    pub(super) fn build(from: &impl Postings, docs: Range<usize>) -> Result<Self> {
        let vocabulary = from.vocabulary();
        let mut counts = vec![0u32; vocabulary];
        let mut postings = 0;
        from.terms(docs.clone(), |terms| {
            postings += terms.len();
            for &term in terms {
                counts[term as usize] += 1;
            }
        })?;

        let words = vocabulary.div_ceil(64);
        let (mut present, mut ranks) = (vec![0u64; words], Vec::with_capacity(words));
        let mut starts = vec![0u32];
        let mut end = 0u32;
        for (word, counts) in counts.chunks_mut(64).enumerate() {
            ranks.push(starts.len() as u32 - 1);
            for (bit, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
                present[word] |= 1 << bit;
                // From here on the count is the place of the term's next posting.
                let begin = end;
                end += *count;
                *count = begin;
                starts.push(end);
            }
        }

        let (mut ids, mut impacts) = (vec![0u16; postings], vec![0f32; postings]);
        from.impacts(docs.clone(), |doc, term, impact| {
            let place = &mut counts[term as usize];
            ids[*place as usize] = (doc - docs.start) as u16;
            impacts[*place as usize] = impact;
            *place += 1;
        })?;
        Ok(Self { docs, present, ranks, starts, ids, impacts })
    }

    fn postings(&self, term: u32) -> (&[u16], &[f32]) {
        let (word, bit) = (term as usize / 64, term % 64);
        if self.present[word] >> bit & 1 == 0 {
            return (&[], &[]);
        }
        let below = (self.present[word] & ((1 << bit) - 1)).count_ones();
        let rank = (self.ranks[word] + below) as usize;
        let range = self.starts[rank] as usize..self.starts[rank + 1] as usize;
        (&self.ids[range.clone()], &self.impacts[range])
    }

    /// Adds the query's impacts to `scores` (all 0 before and after), and offers every document to `best`.
    /// Blocks must come by ascending documents: `best` relies on it for its ties.
    pub(super) fn search(&self, query: &impl Query, scores: &mut Accumulator, best: &mut Best) {
        let mut touched = 0;
        for (term, factor) in query.factors() {
            let (ids, impacts) = self.postings(term);
            touched += ids.len();
            for (&id, &impact) in ids.iter().zip(impacts) {
                scores[usize::from(id)] += factor * impact;
            }
        }
        if touched == 0 {
            return;
        }
        let first = self.docs.start as u32;
        // A scan of all cells costs about as much as walking a sixteenth as many postings again.
        if touched * 16 < self.docs.len() {
            for (term, _) in query.factors() {
                for &id in self.postings(term).0 {
                    let score = std::mem::take(&mut scores[usize::from(id)]);
                    // Documents come in any order here, so one that equals the bar may still win its tie.
                    if score > 0.0 && score >= best.bar {
                        best.push(score, first + u32::from(id));
                    }
                }
            }
        } else {
            let width = self.docs.len().next_multiple_of(CHUNK).min(BLOCK);
            for (number, chunk) in scores[..width].as_chunks_mut::<CHUNK>().0.iter_mut().enumerate() {
                if chunk.iter().fold(false, |any, &score| any | (score > best.bar)) {
                    for (i, &score) in chunk.iter().enumerate() {
                        if score > best.bar {
                            best.push(score, first + (number * CHUNK + i) as u32);
                        }
                    }
                }
                chunk.fill(0.0);
            }
        }
    }
}

/// Cells compared at once: the compare has no branch, so that it becomes vector code.
const CHUNK: usize = 64;

/// The `k` best documents so far: highest score, then lowest id.
pub(super) struct Best {
    k: usize,
    room: usize,
    /// Score bits above, inverted document below: positive floats order like their bits, so one compare settles ties too.
    keys: Vec<u64>,
    /// Score of the k-th best once `k` are known, else 0.
    bar: f32,
}

impl Best {
    /// # Panics
    /// Never; `k` of 0 keeps nothing.
    pub(super) fn new(k: usize) -> Self {
        Self { k, room: k + k.clamp(256, 4096), keys: Vec::new(), bar: 0.0 }
    }

    /// Goes on from the keys of earlier blocks.
    pub(super) fn resume(&mut self, keys: &[u64]) {
        self.keys.clear();
        self.keys.extend_from_slice(keys);
        self.bar = 0.0;
        if self.k > 0 && self.keys.len() >= self.k {
            self.cut();
        }
    }

    fn push(&mut self, score: f32, doc: u32) {
        self.keys.push(u64::from(score.to_bits()) << 32 | u64::from(!doc));
        if self.keys.len() >= self.room {
            self.cut();
        }
    }

    fn cut(&mut self) {
        match self.k.checked_sub(1) {
            Some(last) if last < self.keys.len() => {
                let (_, &mut worst, _) = self.keys.select_nth_unstable_by(last, |a, b| b.cmp(a));
                self.bar = f32::from_bits((worst >> 32) as u32);
                self.keys.truncate(self.k);
            }
            Some(_) => {}
            None => self.keys.clear(),
        }
    }

    /// The keys so far, at most `k`, best first.
    pub(super) fn finish(&mut self) -> &[u64] {
        self.cut();
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        &self.keys
    }

    /// Document and score of a key.
    pub(super) fn open(key: u64) -> (u32, f32) {
        (!(key as u32), f32::from_bits((key >> 32) as u32))
    }
}
