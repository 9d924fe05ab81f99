//! Draws the anchors that the report shows, in one pass and bounded memory.

use std::collections::BTreeMap;

use crate::candidates::AnchorCandidates;

/// The anchors to show: those with the lowest keyed hashes, so that the draw depends on the seed and the ids alone.
#[derive(Debug)]
pub struct Draw {
    seed: u64,
    wanted: usize,
    drawn: BTreeMap<[u8; 32], (u64, AnchorCandidates)>,
    seen: u64,
}

impl Draw {
    /// Draws `wanted` anchors.
    pub fn new(seed: u64, wanted: usize) -> Self {
        Self { seed, wanted, drawn: BTreeMap::new(), seen: 0 }
    }

    /// Looks at one anchor.
    pub fn see(&mut self, anchor: &AnchorCandidates) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(anchor.query_id.as_bytes());
        let key = *hasher.finalize().as_bytes();
        let full = self.drawn.len() >= self.wanted;
        if self.wanted > 0 && (!full || self.drawn.last_key_value().is_some_and(|(last, _)| key < *last)) {
            self.drawn.insert(key, (self.seen, anchor.clone()));
            if full {
                self.drawn.pop_last();
            }
        }
        self.seen += 1;
    }

    /// The drawn anchors in file order.
    pub fn finish(self) -> Vec<AnchorCandidates> {
        let mut drawn: Vec<_> = self.drawn.into_values().collect();
        drawn.sort_by_key(|(place, _)| *place);
        drawn.into_iter().map(|(_, anchor)| anchor).collect()
    }
}
