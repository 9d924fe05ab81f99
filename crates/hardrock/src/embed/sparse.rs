//! Sparse vectors that a model has made before: the sibling of [`super::cache`], with the same rules.
//!
//! A file holds `keys` (`U8 [n][16]`), `lengths` (`U32 [n]`), and row after row `words` (`U32`) and `weights` (`F32`).

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardrock_engine::encoders::transformer::masked_lm::SparseVectors;
use hardrock_engine::index::{IndexError, SparseRows, SparseVector};
use hashbrown::HashTable;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use super::cache::{ENDING, SUM, TextKey, hash};
use crate::atomic::write_atomically;
use crate::sources::NO_ROW;
use crate::{Error, Result};

/// Files that are held open; the others are opened for each read.
const OPEN: usize = 256;

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: Option<File>,
    /// First bytes of words and weights.
    offsets: [u64; 2],
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    shard: u32,
    length: u32,
    /// Numbers before it in its file.
    before: u64,
}

/// A cache that is open for reading and writing.
#[derive(Debug)]
pub struct SparseCache {
    folder: PathBuf,
    vocabulary: usize,
    shards: Vec<Shard>,
    keys: Vec<TextKey>,
    places: Vec<Place>,
    /// Row of each key.
    table: HashTable<u32>,
}

/// What a whole file says of its rows.
struct Whole {
    keys: Vec<TextKey>,
    lengths: Vec<u32>,
    offsets: [u64; 2],
}

fn numbers(data: &[u8]) -> impl Iterator<Item = u32> + '_ {
    data.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b))
}

fn checksum(parts: [&[u8]; 4]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}

/// Reads a file where its checksum is right and its words are below the vocabulary.
fn whole(bytes: &[u8], vocabulary: usize) -> Option<Whole> {
    let (header, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let file = SafeTensors::deserialize(bytes).ok()?;
    let get = |name: &str, kind| file.tensor(name).ok().filter(|t| t.dtype() == kind).map(|t| t.data());
    let (keys, lengths) = (get("keys", Dtype::U8)?, get("lengths", Dtype::U32)?);
    let (words, weights) = (get("words", Dtype::U32)?, get("weights", Dtype::F32)?);
    let sum = metadata.metadata().as_ref()?.get(SUM)?;
    let keys_read: Vec<TextKey> = keys.as_chunks().0.to_vec();
    let lengths_read: Vec<u32> = numbers(lengths).collect();
    let total: u64 = lengths_read.iter().map(|&n| u64::from(n)).sum();
    let right = *sum == checksum([keys, lengths, words, weights])
        && keys_read.len() == lengths_read.len()
        && total * 4 == words.len() as u64
        && words.len() == weights.len()
        && numbers(words).all(|word| (word as usize) < vocabulary);
    let at = |name: &str| Some((8 + header + metadata.info(name)?.data_offsets.0) as u64);
    let offsets = [at("words")?, at("weights")?];
    right.then_some(Whole { keys: keys_read, lengths: lengths_read, offsets })
}

impl SparseCache {
    /// Opens the cache in an existing folder and checks every file of it; a damaged one is put aside.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path, vocabulary: usize) -> Result<Self> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
            let path = entry.map_err(Error::io("read", folder))?.path();
            if path.extension().is_some_and(|e| e == ENDING) {
                paths.push(path);
            }
        }
        // Row numbers never reach a result, but a run should be the same run twice.
        paths.sort();
        let read = |path: &PathBuf| -> Result<Option<Whole>> {
            let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
            let read = whole(&bytes, vocabulary);
            if read.is_none() {
                tracing::warn!(path = %path.display(), "damaged vectors, made again");
                std::fs::rename(path, path.with_extension("damaged")).map_err(Error::io("rename", path))?;
            }
            Ok(read)
        };
        let read: Vec<Option<Whole>> = paths.par_iter().map(read).collect::<Result<_>>()?;
        let mut cache = Self {
            folder: folder.to_owned(),
            vocabulary,
            shards: Vec::new(),
            keys: Vec::new(),
            places: Vec::new(),
            table: HashTable::new(),
        };
        for (path, whole) in paths.into_iter().zip(read) {
            if let Some(whole) = whole {
                cache.add(path, &whole);
            }
        }
        Ok(cache)
    }

    fn add(&mut self, path: PathBuf, whole: &Whole) {
        let shard = self.shards.len();
        let file = if shard < OPEN { File::open(&path).ok() } else { None };
        self.shards.push(Shard { path, file, offsets: whole.offsets });
        let mut before = 0;
        for (key, &length) in whole.keys.iter().zip(&whole.lengths) {
            let row = self.keys.len() as u32;
            self.keys.push(*key);
            self.places.push(Place { shard: shard as u32, length, before });
            before += u64::from(length);
            if self.find(key).is_none() {
                self.table.insert_unique(hash(key), row, |&row| self.keys.get(row as usize).map_or(0, hash));
            }
        }
    }

    /// The row of a text's vector, if it is there.
    pub(super) fn find(&self, key: &TextKey) -> Option<u32> {
        self.table.find(hash(key), |&row| self.keys.get(row as usize) == Some(key)).copied()
    }

    /// Writes new vectors, one per key, durably.
    pub(super) fn push(&mut self, keys: &[TextKey], vectors: &SparseVectors) -> Result<()> {
        let name = blake3::hash(keys.as_flattened()).to_hex();
        let path = self.folder.join(&name[..16]).with_extension(ENDING);
        let lengths: Vec<u8> =
            (0..vectors.len()).flat_map(|row| (vectors.row(row).0.len() as u32).to_le_bytes()).collect();
        let words: Vec<u8> = vectors.words.iter().flat_map(|x| x.to_le_bytes()).collect();
        let weights: Vec<u8> = vectors.weights.iter().flat_map(|x| x.to_le_bytes()).collect();
        let keys_bytes = keys.as_flattened();
        let sum = checksum([keys_bytes, &lengths, &words, &weights]);
        let views = [
            ("keys", TensorView::new(Dtype::U8, vec![keys.len(), size_of::<TextKey>()], keys_bytes)),
            ("lengths", TensorView::new(Dtype::U32, vec![vectors.len()], &lengths)),
            ("words", TensorView::new(Dtype::U32, vec![vectors.words.len()], &words)),
            ("weights", TensorView::new(Dtype::F32, vec![vectors.weights.len()], &weights)),
        ];
        let bytes = views
            .into_iter()
            .map(|(name, view)| Ok((name, view?)))
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
            .and_then(|views| serialize(views, Some(HashMap::from([(SUM.to_owned(), sum)]))))
            .map_err(Error::format(&path))?;
        write_atomically(&path, &[&bytes])?;
        let unread = || Error::usage(format!("{} cannot be read back", path.display()), "");
        let read = whole(&bytes, self.vocabulary).ok_or_else(unread)?;
        self.add(path, &read);
        Ok(())
    }

    /// Ends looking up and writing; what is left reads rows.
    pub fn into_rows(self) -> SparseCachedRows {
        SparseCachedRows { shards: self.shards, places: self.places, vocabulary: self.vocabulary }
    }
}

/// All sparse vectors of a cache by their row numbers.
#[derive(Debug)]
pub struct SparseCachedRows {
    shards: Vec<Shard>,
    places: Vec<Place>,
    vocabulary: usize,
}

/// The sparse vectors of a table, in the table's order.
#[derive(Debug)]
pub struct SparseTable {
    rows: Arc<SparseCachedRows>,
    order: Vec<u32>,
    starts: Vec<u64>,
}

impl SparseTable {
    /// `order[i]` is the row of record `i`; a record without one is empty.
    pub fn new(rows: Arc<SparseCachedRows>, order: Vec<u32>) -> Self {
        let mut starts = Vec::with_capacity(order.len() + 1);
        let mut end = 0;
        starts.push(0);
        for &row in &order {
            end += rows.places.get(row as usize).map_or(0, |place| u64::from(place.length));
            starts.push(end);
        }
        Self { rows, order, starts }
    }

    /// How many records have an empty vector.
    pub fn empties(&self) -> u64 {
        self.starts.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
    }

    /// Reads the vector of a record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn vector(&self, record: usize, out: &mut SparseVector) -> Result<()> {
        out.words.clear();
        out.weights.clear();
        let row = self.order.get(record).copied().unwrap_or(NO_ROW);
        let Some(place) = self.rows.places.get(row as usize) else { return Ok(()) };
        let Some(shard) = self.rows.shards.get(place.shard as usize) else { return Ok(()) };
        let opened;
        let file = match &shard.file {
            Some(file) => file,
            None => {
                opened = File::open(&shard.path).map_err(Error::io("read", &shard.path))?;
                &opened
            }
        };
        let mut bytes = vec![0; place.length as usize * 4];
        let read = |offset: u64, bytes: &mut [u8]| {
            file.read_exact_at(bytes, offset + place.before * 4).map_err(Error::io("read", &shard.path))
        };
        read(shard.offsets[0], &mut bytes)?;
        out.words.extend(numbers(&bytes));
        read(shard.offsets[1], &mut bytes)?;
        out.weights.extend(numbers(&bytes).map(f32::from_bits));
        Ok(())
    }
}

impl SparseRows for SparseTable {
    fn vocabulary(&self) -> usize {
        self.rows.vocabulary
    }

    fn starts(&self) -> &[u64] {
        &self.starts
    }

    fn read(&self, document: usize, out: &mut SparseVector) -> hardrock_engine::index::Result<()> {
        self.vector(document, out).map_err(|e| IndexError::Texts(Box::new(e)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::key;
    use super::*;

    #[test]
    fn vectors_are_found_again_in_the_tables_order_and_damaged_files_are_put_away() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let keys = [key("", "a"), key("", "b"), key("", "c")];
        let two = SparseVectors { starts: vec![0, 2, 2], words: vec![4, 9], weights: vec![0.5, 2.0] };
        let one = SparseVectors { starts: vec![0, 1], words: vec![0], weights: vec![1.25] };
        let mut cache = SparseCache::open(folder.path(), 10)?;
        cache.push(&keys[..2], &two)?;
        cache.push(&keys[2..], &one)?;
        let cache = SparseCache::open(folder.path(), 10)?;
        let order: Vec<u32> =
            [2, 0, 1].iter().map(|&i: &usize| cache.find(&keys[i]).unwrap()).chain([NO_ROW]).collect();
        let table = SparseTable::new(Arc::new(cache.into_rows()), order);
        assert_eq!((table.starts(), table.empties()), (&[0, 1, 3, 3, 3][..], 2));
        let mut row = SparseVector::default();
        table.vector(1, &mut row)?;
        assert_eq!(row, SparseVector { words: vec![4, 9], weights: vec![0.5, 2.0] });
        table.vector(0, &mut row)?;
        assert_eq!(row, SparseVector { words: vec![0], weights: vec![1.25] });
        for record in [2, 3, 4] {
            table.vector(record, &mut row)?;
            assert!(row.words.is_empty());
        }

        // Words beyond the vocabulary are as bad as a wrong bit.
        assert!(SparseCache::open(folder.path(), 9)?.find(&keys[0]).is_none());
        let left = SparseCache::open(folder.path(), 10)?;
        assert!(left.find(&keys[2]).is_some() && left.find(&keys[0]).is_none());
        let path = left.shards[0].path.clone();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(SparseCache::open(folder.path(), 10)?.find(&keys[2]).is_none());
        assert!(!path.exists());
        Ok(())
    }
}
