//! A window over each anchor's mined negatives that moves on from epoch to epoch.
//!
//! ## Rule
//! Of n mined negatives, epoch e uses `width` of them from position e x `step`, around the end to the start again, none
//! twice. So that all are seen in turn, and a step holds no more columns than it must.
//!
//! ## Seen in
//! Tevatron (`negative_passage_no_shuffle`, window by epoch), FlagEmbedding (drawn anew, with repetition)

use serde::{Deserialize, Serialize};

use super::at_least;
use crate::Result;

/// Parameters as written in TOML: `{ width = 7, step = 7 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// Negatives of an anchor in one step, at least 1.
    pub width: u32,
    /// How far the window moves each epoch; 0 = always the first ones.
    pub step: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { width: 7, step: 7 }
    }
}

impl Rotation {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        at_least(1, "rotation", "width", self.width).map(|()| self)
    }

    /// Positions, in an anchor's list of `mined` negatives, that this epoch uses: `width` different ones, or all there are.
    pub fn positions(&self, mined: usize, epoch: u64) -> impl Iterator<Item = usize> {
        let start = (epoch * u64::from(self.step)).checked_rem(mined as u64).unwrap_or(0) as usize;
        (0..mined.min(self.width as usize)).map(move |at| (start + at) % mined)
    }
}
