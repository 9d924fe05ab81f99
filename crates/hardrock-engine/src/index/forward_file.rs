//! The forward index as a file, read by position so that memory stays bounded.
//!
//! ## Layout (little endian)
//! `MAGIC`, the rows (6 bytes a posting: term `u32`, count `u16`), the tail, then 32 bytes: offset, length and checksum
//! of the tail as `u64`, `MAGIC` again. The tail holds the token options' key (length `u32`, bytes), the numbers of
//! documents and terms (`u64`), document lengths, row lengths, document frequencies and term lengths (`u32` each), and the
//! terms' bytes. A file cut short has no `MAGIC` at its end.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::forward::{RowBuffer, Tally};
use super::{IndexError, Result, Terms, Tokenizer};

const MAGIC: &[u8; 8] = b"hrfwd\0\0\x01";
/// Bytes of a posting.
pub(super) const POSTING: u64 = 6;
const FOOTER: u64 = 32;

/// Rows of an open file.
#[derive(Debug)]
pub(super) struct FileRows {
    file: File,
    path: PathBuf,
}

impl FileRows {
    pub(super) fn new(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| IndexError::Io { path: path.to_owned(), source })?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Reads a range of postings; every term is below `terms`.
    pub(super) fn read(&self, postings: Range<u64>, terms: usize, buffer: &mut RowBuffer) -> Result<()> {
        let RowBuffer { bytes, terms: ids, counts } = buffer;
        bytes.resize(((postings.end - postings.start) * POSTING) as usize, 0);
        read_at(&self.file, bytes, MAGIC.len() as u64 + postings.start * POSTING)
            .map_err(|source| IndexError::Io { path: self.path.clone(), source })?;
        ids.clear();
        counts.clear();
        for posting in bytes.as_chunks::<6>().0 {
            ids.push(u32::from_le_bytes([posting[0], posting[1], posting[2], posting[3]]));
            counts.push(u16::from_le_bytes([posting[4], posting[5]]));
        }
        if ids.iter().any(|&id| id as usize >= terms) {
            return Err(self.corrupt("a row names a term that the vocabulary does not hold"));
        }
        Ok(())
    }

    fn corrupt(&self, what: impl Into<String>) -> IndexError {
        IndexError::Corrupt { path: self.path.clone(), what: what.into() }
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                bytes = &mut bytes[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

/// Writes rows as they come, then the tail.
pub(super) struct RowWriter<W> {
    out: W,
    postings: u64,
    bytes: Vec<u8>,
}

impl<W: Write> RowWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self { out, postings: 0, bytes: Vec::new() })
    }

    pub(super) fn rows(&mut self, terms: &[u32], counts: &[u16]) -> io::Result<()> {
        self.bytes.clear();
        for (term, count) in terms.iter().zip(counts) {
            self.bytes.extend_from_slice(&term.to_le_bytes());
            self.bytes.extend_from_slice(&count.to_le_bytes());
        }
        self.postings += terms.len() as u64;
        self.out.write_all(&self.bytes)
    }

    pub(super) fn finish(mut self, tokenizer: &Tokenizer, terms: &Terms, tally: &Tally) -> io::Result<W> {
        let key = tokenizer.options().key();
        let mut tail = Vec::new();
        let mut put = |number: usize| tail.extend_from_slice(&(number as u32).to_le_bytes());
        put(key.len());
        tail.extend_from_slice(key.as_bytes());
        tail.extend_from_slice(&(tally.lens.len() as u64).to_le_bytes());
        tail.extend_from_slice(&(terms.len() as u64).to_le_bytes());
        let mut put = |number: usize| tail.extend_from_slice(&(number as u32).to_le_bytes());
        tally.lens.iter().for_each(|&len| put(len as usize));
        tally.starts.windows(2).for_each(|ends| put((ends[1] - ends[0]) as usize));
        tally.df.iter().for_each(|&df| put(df as usize));
        terms.iter().for_each(|term| put(term.len()));
        terms.iter().for_each(|term| tail.extend_from_slice(term.as_bytes()));
        self.out.write_all(&tail)?;
        let offset = MAGIC.len() as u64 + self.postings * POSTING;
        for number in [offset, tail.len() as u64, checksum(&tail)] {
            self.out.write_all(&number.to_le_bytes())?;
        }
        self.out.write_all(MAGIC)?;
        Ok(self.out)
    }
}

/// FNV-1a over 8-byte words: finds a damaged tail, guards against nothing else.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| step(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, &byte| step(hash, u64::from(byte)))
}

/// Cuts fields off the front of the tail.
struct Tail<'a>(&'a [u8]);

impl<'a> Tail<'a> {
    fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(head)
    }

    fn long(&mut self) -> Option<u64> {
        self.bytes(8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)
    }

    fn short(&mut self) -> Option<u32> {
        self.bytes(4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes)
    }

    fn shorts(&mut self, count: u64) -> Option<Vec<u32>> {
        let bytes = self.bytes(count.checked_mul(4)?)?;
        Some(bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }
}

/// Opens `path` and reads everything but the rows.
pub(super) fn open(path: &Path, tokenizer: &Tokenizer) -> Result<(FileRows, Terms, Tally)> {
    let mut rows = FileRows::new(path)?;
    let io = |source| IndexError::Io { path: path.to_owned(), source };
    let size = rows.file.metadata().map_err(io)?.len();
    let cut = || rows.corrupt("not a whole forward index");
    let mut footer = [0u8; FOOTER as usize];
    if size < FOOTER + MAGIC.len() as u64 {
        return Err(cut());
    }
    read_at(&rows.file, &mut footer, size - FOOTER).map_err(io)?;
    let mut fields = Tail(&footer);
    let (Some(offset), Some(len), Some(sum)) = (fields.long(), fields.long(), fields.long()) else {
        return Err(cut());
    };
    if fields.0 != MAGIC || offset.checked_add(len).and_then(|end| end.checked_add(FOOTER)) != Some(size) {
        return Err(cut());
    }
    let mut tail = Vec::new();
    rows.file.seek(SeekFrom::Start(offset)).map_err(io)?;
    (&mut rows.file).take(len).read_to_end(&mut tail).map_err(io)?;
    if checksum(&tail) != sum {
        return Err(rows.corrupt("the checksum of its last part does not fit"));
    }
    let mut fields = Tail(&tail);
    let key = fields.short().and_then(|len| fields.bytes(u64::from(len)));
    let wanted = tokenizer.options().key();
    if key != Some(wanted.as_bytes()) {
        let found = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
        return Err(rows.corrupt(format!("made with other token options ({found}, wanted {wanted})")));
    }
    let (terms, tally) = read_tail(fields).ok_or_else(|| rows.corrupt("its last part is inconsistent"))?;
    let postings = tally.starts.last().copied().unwrap_or(0);
    if postings.checked_mul(POSTING).and_then(|b| b.checked_add(MAGIC.len() as u64)) != Some(offset) {
        return Err(rows.corrupt("it does not hold as many rows as it says"));
    }
    Ok((rows, terms, tally))
}

fn read_tail(mut fields: Tail<'_>) -> Option<(Terms, Tally)> {
    let (docs, vocabulary) = (fields.long()?, fields.long()?);
    let lens = fields.shorts(docs)?;
    let sizes = fields.shorts(docs)?;
    let df = fields.shorts(vocabulary)?;
    let mut starts = Vec::with_capacity(sizes.len() + 1);
    starts.push(0u64);
    let mut end = 0u64;
    starts.extend(sizes.iter().map(|&size| {
        end += u64::from(size);
        end
    }));
    let mut terms = Terms::default();
    let lengths = fields.shorts(vocabulary)?;
    for (id, len) in lengths.into_iter().enumerate() {
        let term = std::str::from_utf8(fields.bytes(u64::from(len))?).ok()?;
        (terms.intern(term).ok()? as usize == id).then_some(())?;
    }
    Some((terms, Tally { starts, lens, df }))
}

#[cfg(test)]
mod tests {
    use crate::index::{Forward, TokenOptions, Tokenizer, Watch};

    fn tokenizer(stem: &str) -> Tokenizer {
        Tokenizer::new(TokenOptions { stem: stem.into(), ..TokenOptions::plain() }).unwrap()
    }

    #[test]
    fn damage_is_named_and_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        Forward::build_in_file(&vec!["one two", "two three"], tokenizer("none"), &path, &Watch::default())
            .unwrap();
        let whole = std::fs::read(&path).unwrap();
        let open = || Forward::open(&path, tokenizer("none"), 0).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(open(), Ok(()));

        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(open().unwrap_err().contains("not a whole forward index"), "cut at {cut}");
        }
        let rows_end = 8 + 4 * 6;
        for at in rows_end..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(open().is_err(), "bit flipped at {at}");
        }
    }

    #[test]
    fn a_row_with_a_wild_term_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        Forward::build_in_file(&vec!["one two"], tokenizer("none"), &path, &Watch::default()).unwrap();
        let mut damaged = std::fs::read(&path).unwrap();
        damaged[11] = 0x7f;
        std::fs::write(&path, &damaged).unwrap();
        let index = Forward::open(&path, tokenizer("none"), 0).unwrap();
        let error = index.row(0, &mut Default::default()).unwrap_err().to_string();
        assert!(error.contains("names a term"), "{error}");
    }

    #[test]
    fn other_token_options_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        Forward::build_in_file(&vec!["one two"], tokenizer("none"), &path, &Watch::default()).unwrap();
        let error = Forward::open(&path, tokenizer("english"), 0).unwrap_err().to_string();
        assert!(error.contains("made with other token options") && error.contains("stem=none"), "{error}");
    }
}
