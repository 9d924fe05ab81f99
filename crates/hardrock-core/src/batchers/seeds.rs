//! Seeds with some of their neighbours: small nests of likeness in an otherwise random batch.
//!
//! ## Rule
//! The next example that is not used yet is a seed; `nest` - 1 of its unused neighbours, drawn at random, join it, and
//! random unused examples where it has too few. Every example is used exactly once an epoch.
//!
//! ## Seen in
//! OpenShape, whose released sampler draws seeds with replacement, so that an epoch does not cover the data

use serde::{Deserialize, Serialize};

use super::{Batcher, Draw, Examples, SIZE, at_least, cut, needed, shuffle};
use crate::{Error, Result};

/// Parameters as written in TOML: `{ seeds = { size = 256, nest = 8 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seeds {
    /// Examples of a batch, at least 2.
    pub size: u32,
    /// A seed and its neighbours, at least 1.
    pub nest: u32,
}

impl Default for Seeds {
    fn default() -> Self {
        Self { size: SIZE, nest: 8 }
    }
}

impl Seeds {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        at_least(2, "seeds", "size", self.size)?;
        at_least(1, "seeds", "nest", self.nest)?;
        Ok(self)
    }
}

impl Batcher for Seeds {
    fn epoch(&self, examples: &Examples<'_>, draw: Draw) -> Result<Vec<Vec<u32>>> {
        let what = "the nearest other examples of each example";
        let neighbours = needed(examples.neighbours, examples.len(), "seeds", what)?;
        let seeds = examples.shuffled(draw);
        let mut used = vec![false; examples.len()];
        let mut order = Vec::with_capacity(examples.len());
        // Strangers come from the far end, so that they are not the next seeds.
        let (mut next, mut last) = (0, seeds.len());
        while let Some(&seed) = seeds[next..].iter().find(|s| !used[**s as usize]) {
            next += seeds[next..].iter().position(|s| *s == seed).unwrap_or(0) + 1;
            used[seed as usize] = true;
            order.push(seed);
            let mut near = neighbours[seed as usize].clone();
            if let Some(bad) = near.iter().find(|n| **n as usize >= examples.len()) {
                let what = "number of a neighbour, below the number of examples";
                return Err(Error::Shape { what, expected: examples.len(), got: *bad as usize });
            }
            shuffle(&mut near, &mut draw.rng(u64::from(seed) + 1));
            let mut room = self.nest as usize - 1;
            for n in near {
                if room > 0 && !used[n as usize] {
                    used[n as usize] = true;
                    order.push(n);
                    room -= 1;
                }
            }
            while room > 0 && last > next {
                last -= 1;
                let stranger = seeds[last];
                if !used[stranger as usize] {
                    used[stranger as usize] = true;
                    order.push(stranger);
                    room -= 1;
                }
            }
        }
        // Whole nests stay together: a batch holds as many as fit.
        let fit = (self.size / self.nest).max(1) * self.nest;
        Ok(cut(&order, fit.min(self.size)))
    }
}
