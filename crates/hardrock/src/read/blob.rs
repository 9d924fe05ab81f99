//! Texts in a file instead of in memory: written once from front to back, then read by position.
//!
//! Memory holds 12 bytes per text (where it begins, how long its title is). Positioned reads need no lock, so any number of
//! threads can read at once; the operating system's page cache does what a memory map would do.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Bytes written or read at a time.
const BLOCK: usize = 1 << 20;

/// Finished texts, `[len]`, each a title and a text joined by a blank as models read them.
pub struct Blob {
    file: File,
    path: PathBuf,
    /// Where each text begins, `[len + 1]`; the last entry is the file's length.
    starts: Vec<u64>,
    /// Bytes of each title, `[len]`; 0 = none.
    titles: Vec<u32>,
    hash: [u8; 32],
}

impl Blob {
    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.titles.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.titles.is_empty()
    }

    /// Bytes of all texts together.
    pub fn bytes(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    /// Bytes of text `i`; 0 for a number out of range.
    pub fn size(&self, i: u32) -> u64 {
        self.bounds(i).map_or(0, |(a, b)| b - a)
    }

    /// Title and text `i` as one, joined by a blank. A number out of range is an error.
    pub fn text(&self, i: u32) -> Result<String> {
        let (start, end) = self.bounds(i).ok_or_else(|| self.out_of_range(i))?;
        let mut bytes = vec![0; (end - start) as usize];
        self.file.read_exact_at(&mut bytes, start).map_err(Error::io("read", &self.path))?;
        String::from_utf8(bytes).map_err(|_| self.damaged())
    }

    /// Title and text `i` apart; the title is empty where there is none.
    pub fn record(&self, i: u32) -> Result<(String, String)> {
        let mut title = self.text(i)?;
        let length = self.titles.get(i as usize).copied().unwrap_or_default() as usize;
        if length == 0 {
            return Ok((String::new(), title));
        }
        if !title.is_char_boundary(length) {
            return Err(self.damaged());
        }
        let rest = title.split_off(length);
        Ok((title, rest.strip_prefix(' ').unwrap_or_default().to_owned()))
    }

    /// Calls `each` with the number and the text (title and text as one) of every record in `range`, in order, by large
    /// sequential reads.
    pub fn for_each(&self, range: Range<usize>, each: &mut dyn FnMut(usize, &str)) -> Result<()> {
        let end = range.end.min(self.len());
        let mut first = range.start;
        let mut buffer = Vec::new();
        while first < end {
            let start = self.starts[first];
            // At least one text, then as many as fit a block.
            let fitting = self.starts[first + 1..=end].partition_point(|&e| e - start <= BLOCK as u64);
            let last = first + fitting.max(1);
            buffer.resize((self.starts[last] - start) as usize, 0);
            self.file.read_exact_at(&mut buffer, start).map_err(Error::io("read", &self.path))?;
            let text = std::str::from_utf8(&buffer).map_err(|_| self.damaged())?;
            for i in first..last {
                let (a, b) = ((self.starts[i] - start) as usize, (self.starts[i + 1] - start) as usize);
                each(i, text.get(a..b).ok_or_else(|| self.damaged())?);
            }
            first = last;
        }
        Ok(())
    }

    /// The file that holds the texts.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The parts to store beside the file: begins, title lengths, BLAKE3 hash of the file.
    pub(crate) fn parts(&self) -> (&[u64], &[u32], &[u8; 32]) {
        (&self.starts, &self.titles, &self.hash)
    }

    /// Opens a stored file; its length and hash must be those given.
    pub(crate) fn open(path: &Path, starts: Vec<u64>, titles: Vec<u32>, hash: [u8; 32]) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let blob = Self { file, path: path.to_owned(), starts, titles, hash };
        let length = blob.file.metadata().map_err(Error::io("read", path))?.len();
        let in_order = blob.starts.first() == Some(&0) && blob.starts.is_sorted();
        if blob.starts.len() != blob.titles.len() + 1 || !in_order || length != blob.bytes() {
            return Err(blob.damaged());
        }
        if super::input::content_hash(path)? != blake3::Hash::from_bytes(hash).to_hex().as_str() {
            return Err(blob.damaged());
        }
        Ok(blob)
    }

    fn bounds(&self, i: u32) -> Option<(u64, u64)> {
        Some((*self.starts.get(i as usize)?, *self.starts.get(i as usize + 1)?))
    }

    fn out_of_range(&self, i: u32) -> Error {
        Error::input(&self.path, None, format!("there is no text {i}, only {}", self.len()), "")
    }

    fn damaged(&self) -> Error {
        Error::input(
            &self.path,
            None,
            "the stored texts are damaged",
            "remove the work folder and run the command again",
        )
    }
}

/// Texts on their way into a file; [`BlobWriter::finish`] gives the file its name.
pub(crate) struct BlobWriter {
    file: Option<File>,
    part: PathBuf,
    path: PathBuf,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    at: u64,
    starts: Vec<u64>,
    titles: Vec<u32>,
}

impl BlobWriter {
    /// Begins `folder/name`; until it is finished it bears the ending `.part`.
    pub(crate) fn create(folder: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join(name);
        let part = folder.join(format!("{name}.part"));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part)
            .map_err(Error::io("create", &part))?;
        Ok(Self {
            file: Some(file),
            part,
            path,
            buffer: Vec::with_capacity(BLOCK + (BLOCK >> 2)),
            hasher: blake3::Hasher::new(),
            at: 0,
            starts: vec![0],
            titles: Vec::new(),
        })
    }

    /// Adds a title (empty = none) and a text. A title above 4 GiB is cut in what [`Blob::record`] gives, never in the text.
    pub(crate) fn push(&mut self, title: &str, text: &str) -> Result<()> {
        let before = self.buffer.len();
        self.buffer.extend_from_slice(title.as_bytes());
        if !title.is_empty() && !text.is_empty() {
            self.buffer.push(b' ');
        }
        self.buffer.extend_from_slice(text.as_bytes());
        self.at += (self.buffer.len() - before) as u64;
        self.starts.push(self.at);
        self.titles.push(u32::try_from(title.len()).unwrap_or(0));
        if self.buffer.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    /// How many texts there are so far.
    pub(crate) fn len(&self) -> usize {
        self.titles.len()
    }

    fn flush(&mut self) -> Result<()> {
        self.hasher.update(&self.buffer);
        if let Some(file) = &mut self.file {
            file.write_all(&self.buffer).map_err(Error::io("write", &self.part))?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and gives the file its name.
    pub(crate) fn finish(mut self) -> Result<Blob> {
        self.flush()?;
        let Some(file) = self.file.take() else {
            return Err(Error::input(&self.path, None, "the text file is already finished", ""));
        };
        std::fs::rename(&self.part, &self.path).map_err(Error::io("write", &self.path))?;
        let mut starts = std::mem::take(&mut self.starts);
        let mut titles = std::mem::take(&mut self.titles);
        starts.shrink_to_fit();
        titles.shrink_to_fit();
        let hash = *self.hasher.finalize().as_bytes();
        Ok(Blob { file, path: self.path.clone(), starts, titles, hash })
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Left behind by an error: nothing more can be done about a failing removal here.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blob(folder: &Path, docs: &[(String, String)]) -> Blob {
        let mut writer = BlobWriter::create(folder, "texts").unwrap();
        for (title, text) in docs {
            writer.push(title, text).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn title_and_text_come_back_apart_and_joined() {
        let dir = tempfile::tempdir().unwrap();
        let docs = [("Dune", "A novel"), ("", "only text"), ("only title", ""), ("", " x")];
        let blob = blob(dir.path(), &docs.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let joined: Vec<String> = (0..4).map(|i| blob.text(i).unwrap()).collect();
        assert_eq!(joined, ["Dune A novel", "only text", "only title", " x"]);
        for (i, (title, text)) in docs.iter().enumerate() {
            assert_eq!(blob.record(i as u32).unwrap(), ((*title).to_owned(), (*text).to_owned()));
        }
        assert!(blob.text(4).unwrap_err().to_string().ends_with("there is no text 4, only 4"));
    }

    #[test]
    fn an_unfinished_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        drop(BlobWriter::create(dir.path(), "texts").unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn texts_larger_than_a_block_are_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let long = "é".repeat(BLOCK);
        let docs = ["a", &long, "b", &long].map(|t| (String::new(), t.to_owned()));
        let blob = blob(dir.path(), &docs);
        let mut seen = Vec::new();
        blob.for_each(0..9, &mut |i, t| seen.push((i, t.len()))).unwrap();
        assert_eq!(seen, [(0, 1), (1, 2 * BLOCK), (2, 1), (3, 2 * BLOCK)]);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let blob = blob(dir.path(), &[("a".into(), "b".into())]);
        let (starts, titles, hash) = blob.parts();
        assert!(Blob::open(blob.path(), starts.to_vec(), titles.to_vec(), *hash).is_ok());
        std::fs::write(blob.path(), "a c").unwrap();
        assert!(Blob::open(blob.path(), starts.to_vec(), titles.to_vec(), *hash).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn sequential_and_single_reads_agree(docs in proptest::collection::vec(("\\PC{0,8}", "\\PC{0,30}"), 0..20), from in 0usize..20) {
            let dir = tempfile::tempdir().unwrap();
            let blob = blob(dir.path(), &docs);
            let mut seen = Vec::new();
            blob.for_each(from..docs.len(), &mut |i, t| seen.push((i, t.to_owned()))).unwrap();
            let single: Vec<_> = (from..docs.len()).map(|i| (i, blob.text(i as u32).unwrap())).collect();
            prop_assert_eq!(seen, single);
            for (i, doc) in docs.iter().enumerate() {
                prop_assert_eq!(&blob.record(i as u32).unwrap(), doc);
            }
        }
    }
}
