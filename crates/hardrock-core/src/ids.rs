//! Dense numbers for things that carry string ids outside.

use serde::{Deserialize, Serialize};

/// A document of the corpus: its position in reading order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub u32);

/// An anchor (query): its position in reading order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnchorId(pub u32);

impl ItemId {
    /// As an index into per-item arrays.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl AnchorId {
    /// As an index into per-anchor arrays.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
