//! The lists of a graph on disk: for each document its nearest others, in records of one length that are read by position.
//!
//! ## File
//! A record per document, in the documents' order: `keep` numbers of neighbours (`u32`, best first, `u32::MAX` behind the
//! last), then their `keep` scores (`f32`), little-endian. The file ends with the BLAKE3 hash of its records.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hardrock_core::AnchorId;
use hardrock_engine::index::Neighbours;

use crate::atomic::AtomicFile;
use crate::{Error, Result};

/// Stands where a document has fewer neighbours than there are places.
const NONE: u32 = u32::MAX;

/// Bytes of a neighbour: its number and its score.
const CELL: usize = 8;

/// One document's neighbours, best first.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct List {
    /// Numbers of documents.
    pub items: Vec<u32>,
    /// How near each is.
    pub scores: Vec<f32>,
}

/// Lists that are whole and open for reading.
#[derive(Debug)]
pub(super) struct Lists<'a> {
    path: PathBuf,
    file: File,
    /// Documents that have a list, ascending.
    documents: &'a [AnchorId],
    keep: usize,
}

impl<'a> Lists<'a> {
    /// Opens the file; none where it is missing, of other documents, or damaged.
    pub(super) fn open(path: &Path, documents: &'a [AnchorId], keep: usize) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path)(e)),
        };
        let records = (documents.len() * keep * CELL) as u64;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        if length != records + blake3::OUT_LEN as u64 {
            return Ok(None);
        }
        let mut reader = BufReader::with_capacity(1 << 18, &file);
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader((&mut reader).take(records)).map_err(Error::io("read", path))?;
        let mut sum = [0; blake3::OUT_LEN];
        reader.read_exact(&mut sum).map_err(Error::io("read", path))?;
        if hasher.finalize().as_bytes() != &sum {
            tracing::warn!(path = %path.display(), "damaged graph, made again");
            return Ok(None);
        }
        Ok(Some(Self { path: path.to_owned(), file, documents, keep }))
    }

    /// The list of a document; empty where it has none.
    pub(super) fn of(&self, document: u32) -> Result<List> {
        match self.documents.binary_search(&AnchorId(document)) {
            Ok(row) => Ok(self.read(row..row + 1)?.pop().unwrap_or_default()),
            Err(_) => Ok(List::default()),
        }
    }

    /// The lists of some documents, by their places among those that have one.
    pub(super) fn read(&self, rows: std::ops::Range<usize>) -> Result<Vec<List>> {
        let record = self.keep * CELL;
        let mut bytes = vec![0; rows.len() * record];
        self.file
            .read_exact_at(&mut bytes, (rows.start * record) as u64)
            .map_err(Error::io("read", &self.path))?;
        let list = |record: &[u8]| {
            let (items, scores) = record.split_at(self.keep * 4);
            let items = items.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b));
            let items: Vec<u32> = items.take_while(|&item| item != NONE).collect();
            let scores = scores.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
            List { scores: scores.take(items.len()).collect(), items }
        };
        Ok(bytes.chunks_exact(record).map(list).collect())
    }
}

/// Lists on their way to disk.
pub(super) struct Writer {
    path: PathBuf,
    file: AtomicFile,
    hasher: blake3::Hasher,
    keep: usize,
}

impl Writer {
    /// Begins the file; it appears under its name when [`Writer::publish`] went well.
    pub(super) fn create(path: &Path, keep: usize) -> Result<Self> {
        let file = AtomicFile::create(path, true)?;
        Ok(Self { path: path.to_owned(), file, hasher: blake3::Hasher::new(), keep })
    }

    /// Adds the lists of the next documents.
    pub(super) fn push(&mut self, found: &Neighbours) -> Result<()> {
        let mut record = Vec::with_capacity(self.keep * CELL);
        for row in 0..found.len() {
            let (items, scores) = found.row(row);
            record.clear();
            let places = |n: usize| std::iter::repeat_n(NONE, self.keep.saturating_sub(n));
            let numbers = items.iter().copied().chain(places(items.len()));
            record.extend(numbers.flat_map(u32::to_le_bytes));
            record.extend(scores.iter().flat_map(|s| s.to_le_bytes()));
            record.resize(self.keep * CELL, 0);
            self.hasher.update(&record);
            self.file.write_all(&record).map_err(Error::io("write", &self.path))?;
        }
        Ok(())
    }

    /// Makes the file whole and gives it its name.
    pub(super) fn publish(mut self) -> Result<()> {
        let sum = self.hasher.finalize();
        self.file.write_all(sum.as_bytes()).map_err(Error::io("write", &self.path))?;
        self.file.seal()?.publish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_as_written_and_a_damaged_file_counts_as_missing() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("graph.bin");
        let documents = [AnchorId(2), AnchorId(5), AnchorId(6)];
        assert!(Lists::open(&path, &documents, 2)?.is_none());
        let mut writer = Writer::create(&path, 2)?;
        writer.push(&Neighbours { starts: vec![0, 2], items: vec![9, 5], scores: vec![0.5, -0.25] })?;
        writer.push(&Neighbours { starts: vec![0, 0, 1], items: vec![2], scores: vec![1.0] })?;
        writer.publish()?;
        let lists = Lists::open(&path, &documents, 2)?.unwrap();
        assert_eq!(lists.of(2)?, List { items: vec![9, 5], scores: vec![0.5, -0.25] });
        assert_eq!(lists.of(5)?, List::default(), "a document may have no neighbour");
        assert_eq!(lists.of(6)?, List { items: vec![2], scores: vec![1.0] });
        assert_eq!(lists.of(3)?, List::default(), "a document without a list");
        assert_eq!(lists.read(1..3)?.len(), 2);
        assert!(Lists::open(&path, &documents[..2], 2)?.is_none(), "other documents");

        let mut bytes = std::fs::read(&path).unwrap();
        bytes[17] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Lists::open(&path, &documents, 2)?.is_none());
        Ok(())
    }
}
