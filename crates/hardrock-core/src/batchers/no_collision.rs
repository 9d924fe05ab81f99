//! Random batches in which no example's positive is a labelled positive of another example's anchor.
//!
//! Examples that would collide wait for the next batch, so none is left out; where many share a positive, the last batches
//! of an epoch are smaller.
//!
//! ## Seen in
//! sentence-transformers (`NO_DUPLICATES`, which compares texts only and drops what does not fit at the end)

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Batcher, Draw, Examples, SIZE, at_least};
use crate::{Error, Result};

/// Parameters as written in TOML: `{ no_collision = { size = 256 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoCollision {
    /// Examples of a batch, at least 2.
    pub size: u32,
}

impl Default for NoCollision {
    fn default() -> Self {
        Self { size: SIZE }
    }
}

impl NoCollision {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        at_least(2, "no_collision", "size", self.size).map(|()| self)
    }
}

impl Batcher for NoCollision {
    fn epoch(&self, examples: &Examples<'_>, draw: Draw) -> Result<Vec<Vec<u32>>> {
        let what = "the labelled positives of the anchors";
        let known = examples.known.ok_or(Error::Missing { stage: "no_collision", what })?;
        let mut waiting: VecDeque<u32> = examples.shuffled(draw).into();
        let mut batches = Vec::new();
        // Asked for members only, never walked through: their order reaches no result.
        let (mut positives, mut wanted) = (HashSet::new(), HashSet::new());
        while !waiting.is_empty() {
            let mut batch = Vec::with_capacity(self.size as usize);
            let mut passed = VecDeque::new();
            positives.clear();
            wanted.clear();
            while batch.len() < self.size as usize {
                let Some(example) = waiting.pop_front() else { break };
                let (anchor, positive) =
                    (examples.anchors[example as usize], examples.positives[example as usize]);
                let own = known.of(anchor);
                let collides = wanted.contains(&positive)
                    || positives.contains(&positive)
                    || own.iter().any(|item| positives.contains(item));
                if collides {
                    passed.push_back(example);
                    continue;
                }
                positives.insert(positive);
                wanted.insert(positive);
                wanted.extend(own);
                batch.push(example);
            }
            // Those that were passed over come first in the next batch, in their order.
            while let Some(example) = passed.pop_back() {
                waiting.push_front(example);
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}
