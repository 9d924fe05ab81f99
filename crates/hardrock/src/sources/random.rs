//! Documents drawn uniformly from the corpus: the easy end of a mixture, and the control of an experiment.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use hardrock_core::{AnchorId, ItemId, Rng};
use hardrock_engine::index::Neighbours;

use super::Source;
use crate::Result;

/// Stage number of this source's draws.
const STAGE: u64 = 0x7261_6e64;

/// Uniform draws without replacement, keyed by (seed, anchor).
#[derive(Debug)]
pub struct RandomSource<'a> {
    /// Documents in the corpus.
    pub documents: usize,
    /// Seed of the run.
    pub seed: u64,
    /// Per anchor: a hash of its string id.
    pub keys: &'a [u64],
    /// The anchors to be mined for, in order.
    pub judged: &'a [AnchorId],
}

/// `count` distinct numbers below `documents`, in the order drawn (all of them when there are not more).
pub(crate) fn draw(rng: &mut Rng, documents: usize, count: usize, skip: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut drawn = Vec::with_capacity(count.min(documents));
    let mut seen = hashbrown::HashSet::with_capacity(count * 2);
    while drawn.len() < count && seen.len() < documents {
        let item = rng.below(documents as u64) as u32;
        if seen.insert(item) && !skip(item) {
            drawn.push(item);
        }
    }
    drawn
}

impl Source for RandomSource<'_> {
    fn propose(&self, anchors: Range<usize>, depth: usize, _: &AtomicBool) -> Result<Neighbours> {
        let mut out = Neighbours::default();
        out.starts.push(0);
        for anchor in anchors {
            let mut rng = Rng::at(self.seed, STAGE, self.keys[self.judged[anchor].index()]);
            let items = draw(&mut rng, self.documents, depth, |_| false);
            out.scores.extend(std::iter::repeat_n(0.0, items.len()));
            out.items.extend(items);
            out.starts.push(out.items.len());
        }
        Ok(out)
    }

    fn score(&self, _: AnchorId, _: &[ItemId], out: &mut [f32]) -> Result<()> {
        out.fill(f32::NAN);
        Ok(())
    }

    fn exactness(&self) -> String {
        "uniform draws, seeded".into()
    }
}
