//! Vectors of earlier steps, as further negatives; and how stale they are.

use std::collections::{HashSet, VecDeque};

use crate::losses::fits;
use crate::{Error, ItemId, Result};

/// The last `capacity` vectors that were pushed, oldest first, each with its document and the step that made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    dim: usize,
    capacity: usize,
    entries: VecDeque<(u64, ItemId)>,
    vectors: VecDeque<f32>,
}

impl Queue {
    /// An empty queue for `capacity` vectors of `dim` numbers, both at least 1.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn new(capacity: usize, dim: usize) -> Result<Self> {
        for (field, got) in [("capacity", capacity), ("dim", dim)] {
            if got == 0 {
                let (stage, must) = ("queue", "at least 1");
                return Err(Error::Parameter { stage, field, must, got: "0".to_owned() });
            }
        }
        Ok(Self { dim, capacity, entries: VecDeque::new(), vectors: VecDeque::new() })
    }

    /// Adds the vectors `[items, dim]` of one step; the oldest make room.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn push(&mut self, step: u64, items: &[ItemId], vectors: &[f32]) -> Result<()> {
        fits("vectors for the queue", items.len() * self.dim, vectors.len())?;
        self.entries.extend(items.iter().map(|i| (step, *i)));
        self.vectors.extend(vectors);
        let over = self.entries.len().saturating_sub(self.capacity);
        self.entries.drain(..over);
        self.vectors.drain(..over * self.dim);
        Ok(())
    }

    /// The documents, oldest first.
    pub fn items(&self) -> Vec<ItemId> {
        self.entries.iter().map(|(_, item)| *item).collect()
    }

    /// Their vectors `[items, dim]`: a frozen side of a block, since their encoder has moved on.
    pub fn vectors(&self) -> Vec<f32> {
        self.vectors.iter().copied().collect()
    }

    /// Mean age of the entries at step `now` [steps]; `None` where the queue is empty.
    pub fn age(&self, now: u64) -> Option<f64> {
        let sum: f64 = self.entries.iter().map(|(step, _)| now.saturating_sub(*step) as f64).sum();
        (!self.entries.is_empty()).then(|| sum / self.entries.len() as f64)
    }
}

/// Share of the first `k` fresh negatives that stand among the first `k` stale ones, in `[0, 1]`: 1 = nothing has changed.
/// `None` where there are no fresh ones.
pub fn overlap(stale: &[ItemId], fresh: &[ItemId], k: usize) -> Option<f64> {
    let (stale, fresh) = (&stale[..k.min(stale.len())], &fresh[..k.min(fresh.len())]);
    let known: HashSet<ItemId> = stale.iter().copied().collect();
    let common = fresh.iter().filter(|i| known.contains(i)).count();
    (!fresh.is_empty()).then(|| common as f64 / fresh.len() as f64)
}
