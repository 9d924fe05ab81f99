//! What `kin` and `near` look up: the similarity of a candidate to a positive.

use std::sync::{Arc, Mutex};

use hardrock_core::{ItemId, Likeness, Overlap};
use hardrock_engine::index::{Shingler, Shingles, TfIdf};

use crate::read::Table;
use crate::sources::{shingler, with_rows};
use crate::{Error, Result};

/// Turns an error of ours into the one that a pure stage can carry.
fn core_error(stage: &'static str) -> impl Fn(Error) -> hardrock_core::Error {
    move |e| hardrock_core::Error::Outside { stage, message: e.to_string() }
}

/// Cosine of tf-idf vectors, from the inverted index's rows.
#[derive(Debug)]
pub(super) struct TfIdfLikeness(pub(super) Arc<TfIdf>);

impl Likeness for TfIdfLikeness {
    fn name(&self) -> &'static str {
        "tf-idf cosine"
    }

    fn likeness(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) -> hardrock_core::Result<()> {
        let mut work = || -> Result<()> {
            let row = self.0.document(item.0)?;
            with_rows(|rows| {
                for (slot, other) in out.iter_mut().zip(others) {
                    *slot = self.0.cosine(&row, other.0, rows)?;
                }
                Ok(())
            })
        };
        work().map_err(core_error("kin"))
    }
}

/// Shards of the shingle cache: enough that threads seldom meet.
const SHARDS: usize = 64;

/// Exact Jaccard similarity of word shingles, made from the texts where they are needed and kept while there is room.
pub(super) struct ShingleOverlap<'a> {
    items: &'a Table,
    shingler: Shingler,
    shards: Vec<Mutex<Shard>>,
    budget: usize,
}

#[derive(Default)]
struct Shard {
    sets: hashbrown::HashMap<u32, Arc<Shingles>>,
    bytes: usize,
}

impl<'a> ShingleOverlap<'a> {
    /// `budget` in bytes bounds the sets that are kept.
    pub(super) fn new(items: &'a Table, budget: usize) -> Result<Self> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Ok(Self { items, shingler: shingler()?, shards, budget: budget / SHARDS })
    }

    fn set(&self, item: ItemId) -> Result<Arc<Shingles>> {
        let shard = &self.shards[item.index() % SHARDS];
        let locked = || shard.lock().map_err(|_| Error::usage("a thread of this run failed", ""));
        if let Some(set) = locked()?.sets.get(&item.0) {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(self.shingler.shingles(&self.items.text(item.0)?));
        let mut shard = locked()?;
        let size = 64 + 8 * set.as_slice().len();
        // A full shard starts anew: which sets are kept changes the time, never the answer.
        if shard.bytes + size > self.budget {
            *shard = Shard::default();
        }
        shard.bytes += size;
        shard.sets.insert(item.0, Arc::clone(&set));
        Ok(set)
    }
}

impl Overlap for ShingleOverlap<'_> {
    fn jaccard(&self, item: ItemId, others: &[ItemId], out: &mut [f32]) -> hardrock_core::Result<()> {
        let mut work = || -> Result<()> {
            let set = self.set(item)?;
            for (slot, &other) in out.iter_mut().zip(others) {
                *slot = set.jaccard(&*self.set(other)?) as f32;
            }
            Ok(())
        };
        work().map_err(core_error("near"))
    }
}
