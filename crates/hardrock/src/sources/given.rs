//! The negatives that the input file already has, so that somebody's mined file can be judged again.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId};
use hardrock_engine::index::Neighbours;

use super::Source;
use crate::Result;
use crate::read::Given;

/// Negatives of the input, in file order.
#[derive(Debug)]
pub struct GivenSource<'a> {
    /// What the reader found.
    pub given: &'a Given,
    /// The anchors to be mined for, in order.
    pub judged: &'a [AnchorId],
}

impl Source for GivenSource<'_> {
    fn propose(&self, anchors: Range<usize>, depth: usize, _: &AtomicBool) -> Result<Neighbours> {
        let mut out = Neighbours::default();
        out.starts.push(0);
        let mut seen = hashbrown::HashSet::new();
        for anchor in anchors {
            seen.clear();
            let (items, scores) = self.given.of(self.judged[anchor].0);
            let fresh = items.iter().zip(scores).filter(|(item, _)| seen.insert(**item)).take(depth);
            for (&item, &score) in fresh {
                out.items.push(item);
                out.scores.push(score);
            }
            out.starts.push(out.items.len());
        }
        Ok(out)
    }

    fn score(&self, anchor: AnchorId, items: &[ItemId], out: &mut [f32]) -> Result<()> {
        let (have, scores) = self.given.of(anchor.0);
        for (slot, item) in out.iter_mut().zip(items) {
            *slot = have.iter().position(|&i| i == item.0).map_or(f32::NAN, |at| scores[at]);
        }
        Ok(())
    }

    fn exactness(&self) -> String {
        "as given in the input".into()
    }
}
