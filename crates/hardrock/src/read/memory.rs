//! How much memory a data set's tables take beside the texts on the disk.

use super::{Dataset, Table};

impl Table {
    /// Bytes of ids, offsets, hashes and columns in memory.
    pub fn memory(&self) -> u64 {
        let records = self.len() as u64;
        let ids = self.ids.parts().0.len() as u64;
        // Id ends and text starts of 8 bytes, title lengths of 4, hashes of 8; the id index keeps a number and a tag at
        // most 8/7 to 16/7 full.
        ids + records * (8 + 8 + 4 + 8 + 12 + 4 + 8 * self.columns.len() as u64)
    }
}

impl Dataset {
    /// Bytes of both tables and the judgements in memory.
    pub fn memory(&self) -> u64 {
        // Text hashes and known positives are copied for the filters.
        let copies = 8 * (self.items.len() + self.anchors.len()) as u64 + 16 * self.judgements.len() as u64;
        self.items.memory() + self.anchors.memory() + 8 * self.judgements.len() as u64 + copies
    }
}
