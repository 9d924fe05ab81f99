//! A read data set on the disk, so that the next run need not read the sources again.
//!
//! `dataset.bin` holds everything but the texts, which lie beside it since they were read. Little-endian throughout: the magic,
//! the length of a JSON head, the head, the arrays in the order below, the BLAKE3 hash of all that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::blob::Blob;
use super::column::Column;
use super::dataset::{ANCHORS, Dataset, ITEMS};
use super::ids::Ids;
use super::judgements::{Given, Judgements};
use super::table::Table;
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"HRDATA\0\x01";
const NAME: &str = "dataset.bin";
/// Bytes of the hash at the end.
const HASH: u64 = 32;

/// What the arrays are made of.
#[derive(Serialize, Deserialize)]
struct Head {
    level: i32,
    notices: BTreeMap<String, u64>,
    anchors: TableHead,
    items: TableHead,
    judgements: u64,
    given: Option<u64>,
    labels: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct TableHead {
    records: u64,
    id_bytes: u64,
    blob_hash: [u8; 32],
    /// Names of the columns in order; `true` = labels.
    columns: Vec<(String, bool)>,
    rows_read: u64,
    /// Whether the records are some rows of their file, whose numbers follow.
    some_rows: bool,
}

/// Removes a saved data set's head: its texts are about to be replaced, and it must not vouch for the new ones.
pub(crate) fn forget(folder: &Path) -> Result<()> {
    let path = folder.join(NAME);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound && folder.is_dir() => {
            Err(Error::io("replace", &path)(e))
        }
        _ => Ok(()),
    }
}

impl Dataset {
    /// Whether a data set was saved in `folder`.
    pub fn is_saved(folder: &Path) -> bool {
        folder.join(NAME).is_file()
    }

    /// Saves the data set in `folder`; texts that lie elsewhere are copied there. The file appears under its name when it
    /// is whole.
    pub fn save(&self, folder: &Path) -> Result<()> {
        forget(folder)?;
        for (table, name) in [(&self.anchors, ANCHORS), (&self.items, ITEMS)] {
            let (from, to) = (table.texts.path(), folder.join(name));
            if from != to {
                let part = folder.join(format!("{name}.part"));
                std::fs::copy(from, &part).map_err(Error::io("write", &part))?;
                std::fs::rename(&part, &to).map_err(Error::io("write", &to))?;
            }
            // The texts must be on the disk before the file that vouches for them.
            let file = File::open(&to).map_err(Error::io("read", &to))?;
            file.sync_all().map_err(Error::io("write", &to))?;
        }
        let path = folder.join(NAME);
        let part = folder.join(format!("{NAME}.part"));
        let file = File::create(&part).map_err(Error::io("create", &part))?;
        let mut out =
            Hashed { inner: BufWriter::with_capacity(1 << 20, file), hasher: blake3::Hasher::new() };
        self.write(&mut out)
            .and_then(|()| out.inner.get_ref().sync_all())
            .map_err(Error::io("write", &part))?;
        std::fs::rename(&part, &path).map_err(Error::io("write", &path))
    }

    fn write(&self, out: &mut Hashed<BufWriter<File>>) -> std::io::Result<()> {
        let mut labels = BTreeMap::new();
        for (name, column) in self.anchors.columns.iter().chain(&self.items.columns) {
            if let Column::Label { names, .. } = column {
                labels.insert(name.clone(), names.to_vec());
            }
        }
        let head = Head {
            level: self.level,
            notices: self.notices.clone(),
            anchors: TableHead::of(&self.anchors),
            items: TableHead::of(&self.items),
            judgements: self.judgements.len() as u64,
            given: self.given.as_ref().map(|g| g.len() as u64),
            labels,
        };
        let head = serde_json::to_vec(&head)?;
        out.write_all(MAGIC)?;
        out.write_all(&(head.len() as u64).to_le_bytes())?;
        out.write_all(&head)?;
        for table in [&self.anchors, &self.items] {
            let (ids, ends) = table.ids.parts();
            out.write_all(ids.as_bytes())?;
            put(out, ends, u64::to_le_bytes)?;
            let (starts, titles, _) = table.texts.parts();
            put(out, starts, u64::to_le_bytes)?;
            put(out, titles, u32::to_le_bytes)?;
            put(out, &table.hashes, u64::to_le_bytes)?;
            put(out, table.rows.as_deref().unwrap_or_default(), u32::to_le_bytes)?;
            for column in table.columns.values() {
                match column {
                    Column::Label { values, .. } => put(out, values, u32::to_le_bytes)?,
                    Column::Number(values) => put(out, values, |v| v.unwrap_or(f64::NAN).to_le_bytes())?,
                }
            }
        }
        let (starts, items, grades) = self.judgements.parts();
        put(out, starts, u64::to_le_bytes)?;
        put(out, items, u32::to_le_bytes)?;
        put(out, grades, i32::to_le_bytes)?;
        if let Some(given) = &self.given {
            let (starts, items, scores) = given.parts();
            put(out, starts, u64::to_le_bytes)?;
            put(out, items, u32::to_le_bytes)?;
            put(out, scores, f32::to_le_bytes)?;
        }
        let hash = out.hasher.finalize();
        out.inner.write_all(hash.as_bytes())?;
        out.inner.flush()
    }

    /// Opens what [`Dataset::save`] left in `folder`. Anything damaged is an error, the texts included (they are read once).
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        let mut input =
            Hashed { inner: BufReader::with_capacity(1 << 20, file), hasher: blake3::Hasher::new() };
        read(&mut input, length, folder).map_err(|e| match e {
            Failure::Told(e) => *e,
            Failure::Io(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Error::io("read", &path)(e),
            _ => Error::input(
                &path,
                None,
                "the saved data set is damaged",
                "remove the work folder and run the command again",
            ),
        })
    }
}

impl TableHead {
    fn of(table: &Table) -> Self {
        let columns = table.columns.iter().map(|(n, c)| (n.clone(), matches!(c, Column::Label { .. })));
        Self {
            records: table.len() as u64,
            id_bytes: table.ids.parts().0.len() as u64,
            blob_hash: *table.texts.parts().2,
            columns: columns.collect(),
            rows_read: table.rows_read,
            some_rows: table.rows.is_some(),
        }
    }

    /// Bytes of the table's arrays; `None` on overflow.
    fn bytes(&self) -> Option<u64> {
        let columns: u64 = self.columns.iter().map(|&(_, label)| if label { 4 } else { 8 }).sum();
        let rows = if self.some_rows { 4 } else { 0 };
        // Ends 8, begins 8 (and one more), titles 4, hashes 8.
        self.records.checked_mul(28 + rows + columns)?.checked_add(8)?.checked_add(self.id_bytes)
    }
}

impl Head {
    /// Bytes of all arrays; `None` on overflow.
    fn bytes(&self) -> Option<u64> {
        let starts = self.anchors.records.checked_add(1)?.checked_mul(8)?;
        let rows = |n: u64| n.checked_mul(8)?.checked_add(starts);
        let given = self.given.map_or(Some(0), rows)?;
        self.anchors
            .bytes()?
            .checked_add(self.items.bytes()?)?
            .checked_add(rows(self.judgements)?)?
            .checked_add(given)
    }
}

/// Why a saved data set could not be opened.
enum Failure {
    Io(std::io::Error),
    Damaged,
    Told(Box<Error>),
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Told(Box::new(e))
    }
}

fn read(
    input: &mut Hashed<BufReader<File>>,
    length: u64,
    folder: &Path,
) -> std::result::Result<Dataset, Failure> {
    let mut magic = [0; 8];
    input.read_exact(&mut magic)?;
    let head_length = u64::from_le_bytes(array(input)?);
    // Lengths are believed only when they add up to the file's own, so that damage cannot ask for all memory.
    if magic != *MAGIC || head_length > length {
        return Err(Failure::Damaged);
    }
    let mut head = vec![0; head_length as usize];
    input.read_exact(&mut head)?;
    let head: Head = serde_json::from_slice(&head).map_err(|_| Failure::Damaged)?;
    let expected = head.bytes().and_then(|b| b.checked_add(16 + head_length + HASH));
    if expected != Some(length) {
        return Err(Failure::Damaged);
    }
    let labels: BTreeMap<&str, Arc<Vec<String>>> =
        head.labels.iter().map(|(k, v)| (k.as_str(), Arc::new(v.clone()))).collect();
    let anchors = Parts::read(input, &head.anchors, &labels)?;
    let items = Parts::read(input, &head.items, &labels)?;
    let rows = head.anchors.records + 1;
    let judgements = (
        get(input, rows, u64::from_le_bytes)?,
        get(input, head.judgements, u32::from_le_bytes)?,
        get(input, head.judgements, i32::from_le_bytes)?,
    );
    let given = match head.given {
        None => None,
        Some(n) => Some((
            get(input, rows, u64::from_le_bytes)?,
            get(input, n, u32::from_le_bytes)?,
            get(input, n, f32::from_le_bytes)?,
        )),
    };
    let hash = input.hasher.finalize();
    if array::<32>(input)? != *hash.as_bytes() {
        return Err(Failure::Damaged);
    }
    let given = match given {
        None => None,
        Some((a, b, c)) => Some(Given::from_parts(a, b, c).ok_or(Failure::Damaged)?),
    };
    let (a, b, c) = judgements;
    Ok(Dataset {
        anchors: anchors.table(folder, ANCHORS, head.anchors.blob_hash)?,
        items: items.table(folder, ITEMS, head.items.blob_hash)?,
        judgements: Judgements::from_parts(a, b, c).ok_or(Failure::Damaged)?,
        level: head.level,
        given,
        notices: head.notices,
    })
}

/// The arrays of a table.
struct Parts {
    ids: Ids,
    starts: Vec<u64>,
    titles: Vec<u32>,
    hashes: Vec<u64>,
    rows: Option<Vec<u32>>,
    rows_read: u64,
    columns: BTreeMap<String, Column>,
}

impl Parts {
    fn read(
        input: &mut Hashed<BufReader<File>>,
        head: &TableHead,
        labels: &BTreeMap<&str, Arc<Vec<String>>>,
    ) -> std::result::Result<Self, Failure> {
        let mut ids = vec![0; head.id_bytes as usize];
        input.read_exact(&mut ids)?;
        let ids = String::from_utf8(ids).map_err(|_| Failure::Damaged)?;
        let ends = get(input, head.records, u64::from_le_bytes)?;
        let starts = get(input, head.records + 1, u64::from_le_bytes)?;
        let titles = get(input, head.records, u32::from_le_bytes)?;
        let hashes = get(input, head.records, u64::from_le_bytes)?;
        let rows = match head.some_rows {
            true => Some(get(input, head.records, u32::from_le_bytes)?),
            false => None,
        };
        let mut columns = BTreeMap::new();
        for (name, label) in &head.columns {
            let column = if *label {
                let names = labels.get(name.as_str()).cloned().ok_or(Failure::Damaged)?;
                Column::Label { values: get(input, head.records, u32::from_le_bytes)?, names }
            } else {
                let values = get(input, head.records, f64::from_le_bytes)?;
                Column::Number(values.into_iter().map(|v| (!v.is_nan()).then_some(v)).collect())
            };
            columns.insert(name.clone(), column);
        }
        let ids = Ids::from_parts(ids, ends).ok_or(Failure::Damaged)?;
        Ok(Self { ids, starts, titles, hashes, rows, rows_read: head.rows_read, columns })
    }

    fn table(self, folder: &Path, name: &str, hash: [u8; 32]) -> std::result::Result<Table, Failure> {
        let texts = Blob::open(&folder.join(name), self.starts, self.titles, hash)?;
        let Self { ids, hashes, columns, rows, rows_read, .. } = self;
        Ok(Table { ids, texts, hashes, columns, rows, rows_read })
    }
}

/// Passes bytes on and hashes them.
struct Hashed<T> {
    inner: T,
    hasher: blake3::Hasher,
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }
}

fn array<const N: usize>(input: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Values per block that is turned into bytes at a time.
const BLOCK: usize = 1 << 14;

fn put<T: Copy, const N: usize>(
    out: &mut impl Write,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> std::io::Result<()> {
    let mut block = Vec::with_capacity(BLOCK * N);
    for chunk in values.chunks(BLOCK) {
        block.clear();
        chunk.iter().for_each(|&v| block.extend_from_slice(&bytes(v)));
        out.write_all(&block)?;
    }
    Ok(())
}

/// Reads `count` values; the count was checked against the file's length.
fn get<T, const N: usize>(
    input: &mut impl Read,
    count: u64,
    value: impl Fn([u8; N]) -> T,
) -> std::io::Result<Vec<T>> {
    let mut values = Vec::with_capacity(count as usize);
    let mut block = vec![0; BLOCK * N];
    let mut left = count as usize;
    while left > 0 {
        let n = left.min(BLOCK);
        let bytes = &mut block[..n * N];
        input.read_exact(bytes)?;
        for chunk in bytes.chunks_exact(N) {
            let mut one = [0; N];
            one.copy_from_slice(chunk);
            values.push(value(one));
        }
        left -= n;
    }
    Ok(values)
}
