//! What there is to learn from: pairs, what counts as the same document, what is known to be positive, hard negatives.

use hardrock_core::Rng;
use hashbrown::HashMap;

use crate::read::{Dataset, NO_TEXT};

/// Stage number of the draw of held-out anchors.
const HOLD_OUT: u64 = 0x686f_6c64;

/// The examples of a job; documents with the same text are one, under the first's number.
#[derive(Debug, Default)]
pub(crate) struct Examples {
    /// Anchor and document.
    pub(crate) pairs: Vec<(u32, u32)>,
    /// Per document: the first with its text.
    pub(crate) same: Vec<u32>,
    /// Per anchor: its positives and those of anchors with its text, sorted.
    pub(crate) known: Vec<Vec<u32>>,
    /// Per anchor: hard negatives, hardest first.
    pub(crate) negatives: Vec<Vec<u32>>,
    /// Held-out anchors, ascending.
    pub(crate) held_out: Vec<u32>,
}

impl Examples {
    /// The pairs of `anchors`, of which a `share` of at most `most` is held out.
    pub(crate) fn new(
        dataset: &Dataset,
        level: i32,
        anchors: &[u32],
        (share, most): (f32, usize),
        seed: u64,
    ) -> Self {
        let mut first: HashMap<u64, u32> = HashMap::new();
        let same: Vec<u32> = (0..dataset.items.len() as u32)
            .map(|item| match dataset.items.text_hash(item) {
                NO_TEXT => item,
                text => *first.entry(text).or_insert(item),
            })
            .collect();
        let mut by_text: HashMap<u64, Vec<u32>> = HashMap::new();
        let own = |anchor: u32| dataset.judgements.positives(anchor, level).map(|item| same[item as usize]);
        let text = |anchor: u32| dataset.anchors.text_hash(anchor);
        for anchor in (0..dataset.anchors.len() as u32).filter(|&a| text(a) != NO_TEXT) {
            by_text.entry(text(anchor)).or_default().extend(own(anchor));
        }
        let known = (0..dataset.anchors.len() as u32).map(|anchor| {
            let mut known: Vec<u32> = match by_text.get(&text(anchor)) {
                Some(shared) => shared.clone(),
                None => own(anchor).collect(),
            };
            known.sort_unstable();
            known.dedup();
            known
        });
        let known: Vec<Vec<u32>> = known.collect();
        // Anchors with one text are held out together, and none of them by its place in the file.
        let draw = |anchor: u32| Rng::at(seed, HOLD_OUT, text(anchor)).next_u64();
        let mut drawn: Vec<(u64, u32)> = anchors.iter().map(|&anchor| (draw(anchor), anchor)).collect();
        drawn.sort_unstable();
        let wanted =
            ((f64::from(share) * drawn.len() as f64).round() as usize).min(most).min(drawn.len() / 2);
        let mut held_out: Vec<u32> = drawn[..wanted].iter().map(|&(_, anchor)| anchor).collect();
        if let Some(&(last, _)) = wanted.checked_sub(1).and_then(|at| drawn.get(at)) {
            held_out
                .extend(drawn[wanted..].iter().take_while(|(at, _)| *at == last).map(|&(_, anchor)| anchor));
        }
        held_out.sort_unstable();
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for &anchor in anchors.iter().filter(|anchor| held_out.binary_search(anchor).is_err()) {
            let start = pairs.len();
            pairs.extend(own(anchor).map(|item| (anchor, item)));
            pairs[start..].sort_unstable();
        }
        pairs.dedup();
        let negatives = vec![Vec::new(); dataset.anchors.len()];
        Self { pairs, same, known, negatives, held_out }
    }

    /// Takes mined negatives of an anchor: those that are no known positive under another number.
    pub(crate) fn set_negatives(&mut self, anchor: u32, mined: impl Iterator<Item = u32>) {
        let known = &self.known[anchor as usize];
        let mut out: Vec<u32> = Vec::new();
        for item in mined.map(|item| self.same[item as usize]) {
            if known.binary_search(&item).is_err() && !out.contains(&item) {
                out.push(item);
            }
        }
        self.negatives[anchor as usize] = out;
    }
}
