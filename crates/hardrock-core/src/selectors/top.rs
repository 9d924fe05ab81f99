//! The hardest survivors.
//!
//! ## Rule
//! Takes the k live candidates with the best judging scores; ties go to the lower item.
//!
//! ## Seen in
//! Naive Top-K, NV-Retriever, sentence-transformers (`sampling_strategy="top"`).

use serde::{Deserialize, Serialize};

use crate::{Result, Row, Selector};

/// No parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Top {}

impl Top {
    /// Nothing can be wrong.
    pub fn check(self) -> Result<Self> {
        Ok(self)
    }
}

impl Selector for Top {
    fn select(&self, row: &Row<'_>, k: usize, _: u64, _: u64, out: &mut Vec<usize>) -> Result<()> {
        out.extend(row.live().take(k));
        Ok(())
    }
}
