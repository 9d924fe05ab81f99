//! Structured groups with filler: variants of one thing share a batch with others that have nothing to do with them.
//!
//! ## Rule
//! A group's examples, in random order, are cut into bundles of `members`; a remainder of one, and every example without a
//! group, is filler. A batch takes `groups` bundles in random order and fills up with filler; where one kind runs out, the
//! other takes its place. Every example is used exactly once an epoch.
//!
//! ## Seen in
//! Generative negative mining (20 groups of 2 variants with 160 random pairs)

use serde::{Deserialize, Serialize};

use super::{Batcher, Draw, Examples, at_least, needed, shuffle};
use crate::{ABSENT, Error, Result};

/// Parameters as written in TOML: `{ groups = { size = 200, groups = 20, members = 2 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Groups {
    /// Examples of a batch, at least `groups` x `members`.
    pub size: u32,
    /// Bundles of a batch, at least 1.
    pub groups: u32,
    /// Examples of a bundle, at least 2.
    pub members: u32,
}

impl Default for Groups {
    fn default() -> Self {
        Self { size: 200, groups: 20, members: 2 }
    }
}

impl Groups {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        at_least(1, "groups", "groups", self.groups)?;
        at_least(2, "groups", "members", self.members)?;
        if u64::from(self.size) < u64::from(self.groups) * u64::from(self.members) {
            let must = "at least groups x members";
            let got = format!("{} with {} x {}", self.size, self.groups, self.members);
            return Err(Error::Parameter { stage: "groups", field: "size", must, got });
        }
        Ok(self)
    }
}

impl Batcher for Groups {
    fn epoch(&self, examples: &Examples<'_>, draw: Draw) -> Result<Vec<Vec<u32>>> {
        let of = needed(examples.groups, examples.len(), "groups", "the group of each example")?;
        // Stable by group, so that a group's examples stand together in random order.
        let mut order = examples.shuffled(draw);
        order.sort_by_key(|e| of[*e as usize]);
        let (mut bundles, mut filler) = (Vec::new(), Vec::new());
        for group in order.chunk_by(|a, b| of[*a as usize] == of[*b as usize]) {
            let grouped = group.first().is_some_and(|e| of[*e as usize] != ABSENT);
            for bundle in group.chunks(self.members as usize) {
                if grouped && bundle.len() > 1 {
                    bundles.push(bundle.to_vec());
                } else {
                    filler.extend_from_slice(bundle);
                }
            }
        }
        shuffle(&mut bundles, &mut draw.rng(1));
        shuffle(&mut filler, &mut draw.rng(2));
        let (mut bundles, mut filler) = (bundles.into_iter().peekable(), filler.into_iter().peekable());
        let mut batches = Vec::new();
        while bundles.peek().is_some() || filler.peek().is_some() {
            let mut batch: Vec<u32> = bundles.by_ref().take(self.groups as usize).flatten().collect();
            while batch.len() < self.size as usize {
                let Some(next) = filler.next() else { break };
                batch.push(next);
            }
            while bundles.peek().is_some_and(|b| batch.len() + b.len() <= self.size as usize) {
                batch.extend(bundles.next().into_iter().flatten());
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}
