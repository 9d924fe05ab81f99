//! Examples in random order; the last batch may be smaller.

use serde::{Deserialize, Serialize};

use super::{Batcher, Draw, Examples, SIZE, at_least, cut};
use crate::Result;

/// Parameters as written in TOML: `{ random = { size = 256 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Random {
    /// Examples of a batch, at least 2.
    pub size: u32,
}

impl Default for Random {
    fn default() -> Self {
        Self { size: SIZE }
    }
}

impl Random {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        at_least(2, "random", "size", self.size).map(|()| self)
    }
}

impl Batcher for Random {
    fn epoch(&self, examples: &Examples<'_>, draw: Draw) -> Result<Vec<Vec<u32>>> {
        Ok(cut(&examples.shuffled(draw), self.size))
    }
}
