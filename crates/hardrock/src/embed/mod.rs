//! Texts become vectors: each text once, however often and by whichever run it is asked for.

mod cache;
mod file;
mod kept;
mod sparse;
mod write;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use cache::{Cache, CachedRows};
pub use file::{EmbedOptions, Embedded, Side, embed_file};
use kept::{Dense, Keep, Words};
pub use sparse::{SparseCache, SparseCachedRows, SparseTable};
pub use write::Element;

use crate::mine::Progress;
use crate::models::{Embedder, SparseEmbedder};
use crate::read::Table;
use crate::store::{Key, Store};
use crate::{Error, Result};

/// What encoding did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Encoded {
    /// Texts that were encoded now.
    pub new: u64,
    /// Wall seconds of encoding.
    pub seconds: f64,
}

/// Opens the vectors of a model in a work folder.
pub fn open_cache(store: &Store, embedder: &dyn Embedder) -> Result<Cache> {
    let key = Key::new("embeddings").with("model", embedder.fingerprint());
    Cache::open(store.stage("embeddings", &key)?.folder(), embedder.dim())
}

/// Opens the sparse vectors of a model in a work folder.
pub fn open_sparse_cache(store: &Store, embedder: &dyn SparseEmbedder) -> Result<SparseCache> {
    let key = Key::new("sparse-embeddings").with("model", embedder.fingerprint());
    SparseCache::open(store.stage("embeddings", &key)?.folder(), embedder.vocabulary())
}

/// Records of a table and how their texts are to be read.
pub struct Wanted<'a> {
    /// Where the texts are.
    pub table: &'a Table,
    /// The records.
    pub records: &'a [u32],
    /// Stands before each text.
    pub prompt: &'a str,
    /// What they are, for progress: `documents`, `queries`.
    pub name: &'a str,
}

/// Texts of a piece at first; a piece is what a crash can lose.
const FIRST: usize = 512;

/// Pieces grow until they take this long.
const AIM: Duration = Duration::from_secs(2);

/// Bytes of vectors in the longest piece.
const LONGEST: usize = 64 << 20;

impl Wanted<'_> {
    /// Keys of the texts, in the records' order.
    fn keys(&self, cancel: &AtomicBool) -> Result<Vec<cache::TextKey>> {
        let mut keys = Vec::with_capacity(self.records.len());
        if self.records.len() == self.table.len() {
            // All of them, so they can be read in large pieces.
            self.table
                .for_each(0..self.table.len(), &mut |_, text| keys.push(cache::key(self.prompt, text)))?;
            return Ok(keys);
        }
        for &record in self.records {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            keys.push(cache::key(self.prompt, &self.table.text(record)?));
        }
        Ok(keys)
    }

    /// Positions among the records whose vectors are not there, each text once.
    fn missing(&self, kept: &impl Keep, keys: &[cache::TextKey]) -> Vec<usize> {
        let mut seen = HashSet::new();
        (0..keys.len()).filter(|&i| kept.find(&keys[i]).is_none() && seen.insert(keys[i])).collect()
    }

    /// Encodes the texts at some positions and keeps their vectors.
    fn make(
        &self,
        at: &[usize],
        keys: &[cache::TextKey],
        kept: &mut impl Keep,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let read = |&i: &usize| Ok(format!("{}{}", self.prompt, self.table.text(self.records[i])?));
        let texts: Vec<String> = at.iter().map(read).collect::<Result<_>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let names: Vec<cache::TextKey> = at.iter().map(|&i| keys[i]).collect();
        kept.make(&names, &texts, &|i| self.table.id(self.records[at[i]]).to_owned(), cancel)
    }
}

/// Sees to it that every wanted text has its vector in the cache. Answers the cache's row of each record, in the
/// records' order, and what was done.
///
/// Finished pieces are on the disk whatever happens next; a killed run loses the piece in flight.
pub fn encode(
    wanted: &Wanted<'_>,
    embedder: &dyn Embedder,
    cache: &mut Cache,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<(Vec<u32>, Encoded)> {
    encode_kept(wanted, &mut Dense { embedder, cache }, progress, cancel)
}

/// The same for sparse vectors.
pub fn encode_sparse(
    wanted: &Wanted<'_>,
    embedder: &dyn SparseEmbedder,
    cache: &mut SparseCache,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<(Vec<u32>, Encoded)> {
    encode_kept(wanted, &mut Words { embedder, cache }, progress, cancel)
}

fn encode_kept(
    wanted: &Wanted<'_>,
    kept: &mut impl Keep,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<(Vec<u32>, Encoded)> {
    let start = Instant::now();
    let keys = wanted.keys(cancel)?;
    let missing = wanted.missing(kept, &keys);
    if !missing.is_empty() {
        progress.stage(&format!("encode {}", wanted.name), missing.len() as u64, "texts");
    }
    let longest = (LONGEST / kept.row_bytes()).max(1);
    let (mut rest, mut size) = (missing.as_slice(), FIRST.min(longest));
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        let begun = Instant::now();
        wanted.make(piece, &keys, kept, cancel)?;
        progress.advance(piece.len() as u64);
        if begun.elapsed() < AIM / 2 {
            size = (2 * size).min(longest);
        }
        rest = tail;
    }
    let row = |key| {
        kept.find(key).ok_or_else(|| Error::usage("a vector is gone from the cache", "run the command again"))
    };
    let rows = keys.iter().map(row).collect::<Result<Vec<u32>>>()?;
    let seconds = start.elapsed().as_secs_f64();
    Ok((rows, Encoded { new: missing.len() as u64, seconds }))
}

/// How long encoding would take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Texts without a vector.
    pub missing: u64,
    /// Texts encoded per second in the sample; 0 without a sample.
    pub rate: f64,
}

/// Counts what is missing and encodes a sample of it, spread over the texts, for about `seconds`; the sample is kept.
pub fn sample(
    wanted: &Wanted<'_>,
    embedder: &dyn Embedder,
    cache: &mut Cache,
    seconds: f64,
    cancel: &AtomicBool,
) -> Result<Outlook> {
    sample_kept(wanted, &mut Dense { embedder, cache }, seconds, cancel)
}

/// The same for sparse vectors.
pub fn sample_sparse(
    wanted: &Wanted<'_>,
    embedder: &dyn SparseEmbedder,
    cache: &mut SparseCache,
    seconds: f64,
    cancel: &AtomicBool,
) -> Result<Outlook> {
    sample_kept(wanted, &mut Words { embedder, cache }, seconds, cancel)
}

fn sample_kept(
    wanted: &Wanted<'_>,
    kept: &mut impl Keep,
    seconds: f64,
    cancel: &AtomicBool,
) -> Result<Outlook> {
    /// Texts between two looks at the clock.
    const STEP: usize = 64;
    let keys = wanted.keys(cancel)?;
    let missing = wanted.missing(kept, &keys);
    let steps = missing.len().div_ceil(STEP);
    let (start, mut done) = (Instant::now(), 0);
    for step in 0..steps {
        // Every `steps`-th text, so that a sorted file does not show only its short ones.
        let spread: Vec<usize> = missing.iter().skip(step).step_by(steps).copied().collect();
        wanted.make(&spread, &keys, kept, cancel)?;
        done += spread.len();
        if start.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    let rate = if done > 0 { done as f64 / start.elapsed().as_secs_f64().max(1e-9) } else { 0.0 };
    Ok(Outlook { missing: (missing.len() - done) as u64, rate })
}

#[cfg(test)]
mod tests;
