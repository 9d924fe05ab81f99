//! Vectors that a model has made before, found again by the text.
//!
//! A cache is a folder of safetensors files, each with `keys` (`U8 [n][16]`, a hash of prompt and text) and `vectors`
//! (`F32 [n][dim]`). A file is written whole, under a name that its own keys give, with a checksum in its metadata;
//! a damaged one is put away and its texts are encoded again. What the vectors depend on besides the text names the
//! folder.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hardrock_engine::index::rows::{self, Rows};
use hashbrown::HashTable;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use crate::atomic::write_atomically;
use crate::{Error, Result};

/// Names a text together with its prompt.
pub(super) type TextKey = [u8; 16];

/// The key of a text as the model reads it.
pub(super) fn key(prompt: &str, text: &str) -> TextKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(prompt.as_bytes());
    hasher.update(text.as_bytes());
    let hash = hasher.finalize();
    std::array::from_fn(|i| hash.as_bytes()[i])
}

/// Files that are held open; the others are opened for each read.
const OPEN: usize = 256;

/// A file of the cache.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: Option<File>,
    /// Number of its first row among all rows of the cache.
    first: usize,
    rows: usize,
    /// First byte of the vectors.
    offset: u64,
}

/// A cache that is open for reading and writing.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    dim: usize,
    shards: Vec<Shard>,
    keys: Vec<TextKey>,
    /// Row of each key.
    table: HashTable<u32>,
}

impl Cache {
    /// Opens the cache in an existing folder and checks every file of it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] where a file holds vectors of another dimension.
    pub fn open(folder: &Path, dim: usize) -> Result<Self> {
        let entries = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io("read", folder))?.path();
            if path.extension().is_some_and(|e| e == ENDING) {
                paths.push(path);
            }
        }
        // Row numbers never reach a result, but a run should be the same run twice.
        paths.sort();
        let read: Vec<Option<(Shard, Vec<TextKey>)>> =
            paths.par_iter().map(|path| open_shard(path, dim)).collect::<Result<_>>()?;
        let mut cache = Self {
            folder: folder.to_owned(),
            dim,
            shards: Vec::new(),
            keys: Vec::new(),
            table: HashTable::new(),
        };
        for (shard, keys) in read.into_iter().flatten() {
            cache.add(shard, &keys);
        }
        Ok(cache)
    }

    /// The row of a text's vector, if it is there.
    pub(super) fn find(&self, key: &TextKey) -> Option<u32> {
        self.table.find(hash(key), |&row| self.keys.get(row as usize) == Some(key)).copied()
    }

    /// Writes new vectors `[keys][dim]`, durably.
    pub(super) fn push(&mut self, keys: &[TextKey], vectors: &[f32]) -> Result<()> {
        let name = blake3::hash(keys.as_flattened()).to_hex();
        let path = self.folder.join(&name[..16]).with_extension(ENDING);
        let vectors: Vec<u8> = vectors.iter().flat_map(|x| x.to_le_bytes()).collect();
        let sum = checksum(keys.as_flattened(), &vectors);
        let format = Error::format(&path);
        let views = [
            ("keys", TensorView::new(Dtype::U8, vec![keys.len(), size_of::<TextKey>()], keys.as_flattened())),
            ("vectors", TensorView::new(Dtype::F32, vec![keys.len(), self.dim], &vectors)),
        ];
        let bytes = views
            .into_iter()
            .map(|(name, view)| Ok((name, view?)))
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
            .and_then(|views| serialize(views, Some(HashMap::from([(SUM.to_owned(), sum)]))))
            .map_err(format)?;
        write_atomically(&path, &[&bytes])?;
        match open_shard(&path, self.dim)? {
            Some((shard, keys)) => self.add(shard, &keys),
            None => return Err(Error::usage(format!("{} cannot be read back", path.display()), "")),
        }
        Ok(())
    }

    fn add(&mut self, mut shard: Shard, keys: &[TextKey]) {
        shard.first = self.keys.len();
        if self.shards.len() < OPEN {
            shard.file = File::open(&shard.path).ok();
        }
        for key in keys {
            let row = self.keys.len() as u32;
            self.keys.push(*key);
            if self.find(key).is_none() {
                self.table.insert_unique(hash(key), row, |&row| self.keys.get(row as usize).map_or(0, hash));
            }
        }
        self.shards.push(shard);
    }

    /// Ends looking up and writing: what is left reads rows.
    pub fn into_rows(self) -> CachedRows {
        let len = self.keys.len();
        CachedRows { shards: self.shards, dim: self.dim, len }
    }
}

/// All vectors of a cache by their row numbers, as the model made them.
#[derive(Debug)]
pub struct CachedRows {
    shards: Vec<Shard>,
    dim: usize,
    len: usize,
}

impl Rows for CachedRows {
    fn len(&self) -> usize {
        self.len
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, start: usize, out: &mut [f32]) -> rows::Result<()> {
        let wrap = |e: Error| rows::Error::Read(Box::new(e));
        let (mut at, mut rest) = (start, out);
        while !rest.is_empty() {
            let found = self.shards.partition_point(|s| s.first + s.rows <= at);
            let Some(shard) = self.shards.get(found) else {
                return Err(wrap(Error::usage(format!("the cache has no row {at}"), "")));
            };
            let within = at - shard.first;
            let count = (shard.rows - within).min(rest.len() / self.dim);
            let (piece, tail) = rest.split_at_mut(count * self.dim);
            shard.read(within, self.dim, piece).map_err(wrap)?;
            (at, rest) = (at + count, tail);
        }
        Ok(())
    }
}

impl Shard {
    fn read(&self, row: usize, dim: usize, out: &mut [f32]) -> Result<()> {
        let mut bytes = vec![0; size_of_val(out)];
        let at = self.offset + (row * dim * size_of::<f32>()) as u64;
        let done = match &self.file {
            Some(file) => file.read_exact_at(&mut bytes, at),
            None => File::open(&self.path).and_then(|file| file.read_exact_at(&mut bytes, at)),
        };
        done.map_err(Error::io("read", &self.path))?;
        for (x, b) in out.iter_mut().zip(bytes.as_chunks().0) {
            *x = f32::from_le_bytes(*b);
        }
        Ok(())
    }
}

/// Ending of the cache's files.
pub(super) const ENDING: &str = "safetensors";

/// Name of the checksum in a file's metadata.
pub(super) const SUM: &str = "blake3";

fn checksum(keys: &[u8], vectors: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(keys);
    hasher.update(vectors);
    hasher.finalize().to_hex().to_string()
}

/// A key is a hash already: any eight bytes of it will do.
pub(super) fn hash(key: &TextKey) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| key[i]))
}

/// Reads a file of the cache; `None` where it is damaged and has been put away.
fn open_shard(path: &Path, dim: usize) -> Result<Option<(Shard, Vec<TextKey>)>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let Some((keys, got, offset)) = whole(&bytes) else {
        let aside = path.with_extension("damaged");
        tracing::warn!(path = %path.display(), "damaged vectors, made again");
        std::fs::rename(path, &aside).map_err(Error::io("rename", path))?;
        return Ok(None);
    };
    if got != dim {
        return Err(Error::input(
            path,
            None,
            format!("vectors of {got} dimensions, but the model makes {dim}"),
            "the model has changed behind its name; remove this folder",
        ));
    }
    let shard = Shard { path: path.to_owned(), file: None, first: 0, rows: keys.len(), offset };
    Ok(Some((shard, keys)))
}

/// Keys, dimension and first byte of the vectors, where the checksum is right.
fn whole(bytes: &[u8]) -> Option<(Vec<TextKey>, usize, u64)> {
    let (header, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let file = SafeTensors::deserialize(bytes).ok()?;
    let (keys, vectors) = (file.tensor("keys").ok()?, file.tensor("vectors").ok()?);
    let sum = metadata.metadata().as_ref()?.get(SUM)?;
    let &[rows, dim] = vectors.shape() else { return None };
    let right = keys.dtype() == Dtype::U8
        && vectors.dtype() == Dtype::F32
        && keys.shape() == [rows, size_of::<TextKey>()]
        && *sum == checksum(keys.data(), vectors.data());
    // The header's own length stands before it in eight bytes.
    let offset = 8 + header + metadata.info("vectors")?.data_offsets.0;
    right.then(|| (keys.data().as_chunks().0.to_vec(), dim, offset as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_found_by_prompt_and_text_after_opening_again() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let keys = [key("q: ", "a"), key("", "a"), key("q", ": a")];
        assert_eq!(keys[0], keys[2], "prompt and text are one string to the model");
        let mut cache = Cache::open(folder.path(), 2)?;
        cache.push(&keys[..1], &[1.0, 2.0])?;
        cache.push(&keys[1..2], &[3.0, 4.0])?;
        let check = |cache: Cache| -> Result<()> {
            let row = |k| cache.find(k).map(|r| r as usize);
            let (a, b) = (row(&keys[0]).unwrap(), row(&keys[1]).unwrap());
            assert_eq!(row(&key("", "b")), None);
            let rows = cache.into_rows();
            let mut both = [0.0; 4];
            rows.read(0, &mut both)?;
            assert_eq!(
                (&both[2 * a..2 * a + 2], &both[2 * b..2 * b + 2]),
                (&[1.0, 2.0][..], &[3.0, 4.0][..])
            );
            assert!(rows.read(1, &mut both).is_err());
            Ok(())
        };
        check(cache)?;
        check(Cache::open(folder.path(), 2)?)?;
        let wrong = Cache::open(folder.path(), 3).unwrap_err();
        assert!(wrong.to_string().contains("2 dimensions"), "{wrong}");
        Ok(())
    }

    #[test]
    fn a_damaged_file_is_put_away_and_its_texts_count_as_new() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let keys = [key("", "a"), key("", "b")];
        for damage in 0..3 {
            let mut cache = Cache::open(folder.path(), 1)?;
            cache.push(&keys, &[1.0, 2.0])?;
            let path = cache.shards[0].path.clone();
            let mut bytes = std::fs::read(&path).unwrap();
            match damage {
                0 => *bytes.last_mut().unwrap() ^= 1,
                1 => bytes.truncate(40),
                _ => bytes.clear(),
            }
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(Cache::open(folder.path(), 1)?.find(&keys[0]), None);
            assert!(!path.exists());
        }
        Ok(())
    }
}
