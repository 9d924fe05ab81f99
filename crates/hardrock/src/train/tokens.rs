//! The token ids of a table's texts, in memory.

use std::sync::atomic::AtomicBool;

use super::vocabulary::Reader;
use crate::Result;
use crate::mine::Progress;
use crate::read::Table;

/// Texts that are read at once.
const TEXTS: usize = 4096;

/// Ragged rows of token ids, one per record.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    ids: Vec<u32>,
    starts: Vec<usize>,
}

impl Tokens {
    /// Reads all records of a table.
    pub(crate) fn read(
        table: &Table,
        reader: &Reader,
        progress: &dyn Progress,
        cancel: &AtomicBool,
    ) -> Result<Self> {
        let mut out = Self { ids: Vec::new(), starts: vec![0] };
        for from in (0..table.len()).step_by(TEXTS) {
            crate::mine::check(cancel)?;
            let range = from..table.len().min(from + TEXTS);
            let count = range.len() as u64;
            let mut texts = Vec::with_capacity(range.len());
            table.for_each(range, &mut |_, text| texts.push(text.to_owned()))?;
            for ids in reader.encode(&texts)? {
                out.ids.extend_from_slice(&ids);
                out.starts.push(out.ids.len());
            }
            progress.advance(count);
        }
        Ok(out)
    }

    /// The tokens of a record.
    pub(crate) fn of(&self, record: u32) -> &[u32] {
        &self.ids[self.starts[record as usize]..self.starts[record as usize + 1]]
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// All rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.starts.windows(2).map(|ends| &self.ids[ends[0]..ends[1]])
    }
}
