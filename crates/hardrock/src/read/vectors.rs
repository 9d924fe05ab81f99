//! Given embeddings: `.npy`, `.safetensors` and Parquet files, read where they lie.
//!
//! A [`VectorFile`] never holds its vectors: every read is a positioned read of the rows asked for, so memory
//! stays with the caller and no map of the file hides what it costs. Parquet cannot be read by position; its
//! vectors are unpacked once into a nameless file in the work folder.
//!
//! `FILE#NAME` picks a tensor of a safetensors file or a column of a Parquet file. Numbers may have 64, 32 or 16 bits, or 8 with
//! scales (`scale.rs`).

mod npy;
mod parquet;
pub(crate) mod safetensors;
mod scale;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use hardrock_engine::index::rows::{self, Rows};
use rayon::prelude::*;
use scale::Scale;

use crate::read::Ids;
use crate::{Error, Result};

/// How a number lies in the file, little end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    Bf16,
    F32,
    F64,
    I8,
    U8,
    I32,
    I64,
}

impl Element {
    /// Bytes of a number.
    pub(crate) fn size(self) -> usize {
        match self {
            Element::I8 | Element::U8 => 1,
            Element::F16 | Element::Bf16 => 2,
            Element::F32 | Element::I32 => 4,
            Element::F64 | Element::I64 => 8,
        }
    }

    /// Turns bytes into numbers; `out` says how many.
    fn decode(self, bytes: &[u8], out: &mut [f32]) {
        fn each<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
            for (x, b) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
                *x = value(*b);
            }
        }
        match self {
            Element::F16 => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            Element::Bf16 => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
            Element::F32 => each(bytes, out, f32::from_le_bytes),
            Element::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
            Element::I8 => each(bytes, out, |b| f32::from(i8::from_le_bytes(b))),
            Element::U8 => each(bytes, out, |b| f32::from(u8::from_le_bytes(b))),
            Element::I32 => each(bytes, out, |b| i32::from_le_bytes(b) as f32),
            Element::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
        }
    }

    /// Reads numbers that lie together, from byte `at`; `out` says how many.
    pub(crate) fn read(self, file: &File, path: &Path, mut at: u64, out: &mut [f32]) -> Result<()> {
        /// Bytes read at once, so that decoding finds them in the cache.
        const PIECE: usize = 1 << 16;
        let mut bytes = vec![0u8; PIECE.min(out.len() * self.size())];
        for out in out.chunks_mut(PIECE / self.size()) {
            let bytes = &mut bytes[..out.len() * self.size()];
            file.read_exact_at(bytes, at).map_err(Error::io("read", path))?;
            self.decode(bytes, out);
            at += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Where the numbers of a file lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    /// First byte of the numbers.
    offset: u64,
    rows: usize,
    dim: usize,
    element: Element,
    /// Columns lie together instead of rows.
    fortran: bool,
}

impl Layout {
    /// Bytes of all numbers; `None` if no file can be that long.
    fn bytes(&self) -> Option<u64> {
        let values = (self.rows as u64).checked_mul(self.dim as u64)?;
        values.checked_mul(self.element.size() as u64)
    }
}

/// A file of vectors, open for reading by rows. Rows come as they lie in the file, not normalised.
pub struct VectorFile {
    path: PathBuf,
    file: File,
    layout: Layout,
    /// Of 8-bit numbers.
    scale: Option<Scale>,
    ids: Option<Ids>,
}

/// What a pass over all vectors found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norms {
    /// Shortest length of a row that is not zero; infinite without such a row.
    pub shortest: f64,
    /// Longest length of a row, 0 without rows.
    pub longest: f64,
    /// Rows that are all zero.
    pub zeros: usize,
}

impl Norms {
    /// Whether every row that is not zero has unit length, to the precision of half floats.
    pub fn normalised(&self) -> bool {
        self.longest > 0.0 && self.longest < 1.0 + 2e-3 && self.shortest > 1.0 - 2e-3
    }
}

/// The file of a path that may carry `#NAME`.
pub fn file_of(path: &Path) -> PathBuf {
    split(path).0
}

/// Takes `FILE#NAME` apart, unless there is a file of that whole name.
fn split(path: &Path) -> (PathBuf, Option<String>) {
    match path.to_str().and_then(|p| p.rsplit_once('#')) {
        Some((file, name)) if !path.exists() => (PathBuf::from(file), Some(name.to_owned())),
        _ => (path.to_owned(), None),
    }
}

/// The file of ids beside a file of vectors, if there is one: `docs.ids.txt` or `docs.npy.ids.txt` for `docs.npy`.
pub fn ids_file(path: &Path) -> Option<PathBuf> {
    let file = file_of(path);
    let mut long = file.clone().into_os_string();
    long.push(".ids.txt");
    [file.with_extension("ids.txt"), PathBuf::from(long)].into_iter().find(|p| p.is_file())
}

/// The files beside a file of vectors that are read with it: ids, and the scales of 8-bit numbers.
pub fn side_files(path: &Path) -> Vec<PathBuf> {
    ids_file(path).into_iter().chain(scale::files(&file_of(path))).collect()
}

impl VectorFile {
    /// Opens a file of vectors, told by its content. Ids come from the column `id` or `_id` of a Parquet file, or
    /// from [`ids_file`]; without them rows are in the order of the texts. 8-bit numbers are scaled by what lies beside them: the
    /// tensor `scales` or `ranges`, or the file `NAME.scales.npy` or `NAME.ranges.npy`. `work` is an existing folder for the
    /// unpacked vectors of Parquet, which need 4 bytes per number there while the file is open.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] for another format or type, a truncated file, ragged or missing rows, or
    /// ids that do not fit.
    pub fn open(path: &Path, work: &Path) -> Result<Self> {
        let (path, name) = split(path);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        let mut magic = [0u8; 16];
        let got = magic.len().min(usize::try_from(length).unwrap_or(magic.len()));
        file.read_exact_at(&mut magic[..got], 0).map_err(Error::io("read", &path))?;
        let source = Source { path: &path, file: &file, length };
        if magic.starts_with(b"PAR1") {
            let (file, layout, ids) = parquet::unpack(&source, name.as_deref(), work)?;
            let ids = ids.map_or_else(|| read_ids(&path, layout.rows), |ids| Ok(Some(ids)))?;
            return Ok(VectorFile { path, file, layout, scale: None, ids });
        }
        let (layout, scale) = if magic.starts_with(npy::MAGIC) {
            (npy::layout(&source)?, None)
        } else if magic[8] == b'{' {
            safetensors::layout(&source, name.as_deref())?
        } else {
            let help = match magic {
                [0x1f, 0x8b, ..] => "unpack it first (gunzip): vectors are read by position",
                [0x28, 0xb5, 0x2f, 0xfd, ..] => "unpack it first (unzstd): vectors are read by position",
                [b'P', b'K', ..] => "an .npz archive: save the one array with numpy.save",
                _ => "give a .npy, .safetensors or .parquet file",
            };
            return Err(source.error("no vectors: neither npy, safetensors nor Parquet", help));
        };
        source.check(&layout)?;
        let scale = match (scale, layout.element) {
            (None, Element::I8 | Element::U8) => Scale::beside(&path, &layout)?,
            (scale, _) => scale,
        };
        let ids = read_ids(&path, layout.rows)?;
        Ok(VectorFile { path, file, layout, scale, ids })
    }

    /// The file, without `#NAME`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ids of the rows, in their order, if the file has them.
    pub fn ids(&self) -> Option<&Ids> {
        self.ids.as_ref()
    }

    /// Reads everything once and measures the rows, on the current rayon pool.
    ///
    /// # Errors
    /// [`Error::Input`] with the first row that holds NaN or infinity; [`Error::Io`].
    pub fn check(&self) -> Result<Norms> {
        /// Numbers that a task reads.
        const PIECE: usize = 1 << 16;
        let dim = self.layout.dim;
        let rows = (PIECE / dim).max(1);
        let starts = (0..self.layout.rows).into_par_iter().step_by(rows);
        let pieces = starts.map(|start| -> Result<Norms> {
            let mut norms = Norms { shortest: f64::INFINITY, longest: 0.0, zeros: 0 };
            let mut values = vec![0.0; rows.min(self.layout.rows - start) * dim];
            self.values(start, &mut values)?;
            for (at, row) in values.chunks(dim).enumerate() {
                let norm = rows::norm(row);
                if !norm.is_finite() {
                    return Err(self.not_finite(start + at, row));
                }
                norms.longest = norms.longest.max(norm);
                if norm > 0.0 {
                    norms.shortest = norms.shortest.min(norm);
                } else {
                    norms.zeros += 1;
                }
            }
            Ok(norms)
        });
        // Collected in order, so that the row named in an error is the first, however many threads look.
        let pieces: Vec<Result<Norms>> = pieces.collect();
        let start = Norms { shortest: f64::INFINITY, longest: 0.0, zeros: 0 };
        pieces.into_iter().try_fold(start, |all, piece| {
            let piece = piece?;
            Ok(Norms {
                shortest: all.shortest.min(piece.shortest),
                longest: all.longest.max(piece.longest),
                zeros: all.zeros + piece.zeros,
            })
        })
    }

    fn not_finite(&self, row: usize, values: &[f32]) -> Error {
        let at = values.iter().position(|x| !x.is_finite()).unwrap_or(0);
        let value = values.get(at).copied().unwrap_or(f32::NAN);
        let id = self.ids.as_ref().map_or(String::new(), |ids| format!(" (id `{}`)", ids.get(row as u32)));
        Error::input(
            &self.path,
            row as u64 + 1,
            format!("value {} of {} in the vector{id} is {value}", at + 1, values.len()),
            "encode that record again; every value must be a finite 32-bit float",
        )
    }

    /// Reads rows from `start`; `out` is a whole number of them.
    fn values(&self, start: usize, out: &mut [f32]) -> Result<()> {
        self.numbers(start, out)?;
        if let Some(scale) = &self.scale {
            scale.apply(start, self.layout.dim, out);
        }
        Ok(())
    }

    /// The rows as they lie in the file.
    fn numbers(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let Layout { offset, rows, dim, element, fortran } = self.layout;
        let size = element.size();
        if !fortran {
            return self.run(offset + (start * dim * size) as u64, out);
        }
        let count = out.len() / dim;
        let mut column = vec![0.0; count];
        for d in 0..dim {
            self.run(offset + ((d * rows + start) * size) as u64, &mut column)?;
            for (x, &value) in out.iter_mut().skip(d).step_by(dim).zip(&column) {
                *x = value;
            }
        }
        Ok(())
    }

    /// Reads numbers that lie together.
    fn run(&self, at: u64, out: &mut [f32]) -> Result<()> {
        self.layout.element.read(&self.file, &self.path, at, out)
    }
}

impl Rows for VectorFile {
    fn len(&self) -> usize {
        self.layout.rows
    }

    fn dim(&self) -> usize {
        self.layout.dim
    }

    fn read(&self, start: usize, out: &mut [f32]) -> rows::Result<()> {
        self.values(start, out).map_err(|e| rows::Error::Read(Box::new(e)))
    }
}

/// A file being opened.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) file: &'a File,
    /// In bytes.
    pub(crate) length: u64,
}

impl Source<'_> {
    pub(crate) fn error(&self, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::input(self.path, None, problem, help)
    }

    fn truncated(&self) -> Error {
        self.error(
            format!("the file ends inside its header, after {} bytes", self.length),
            "copy or save the file again",
        )
    }

    /// `count` bytes from `at`, if the file is that long and `count` is sane for a header.
    fn header(&self, at: u64, count: u64) -> Result<Vec<u8>> {
        /// Longest header that is read; that of safetensors is limited to this by its own library.
        const LONGEST: u64 = 100_000_000;
        if count > LONGEST || at.checked_add(count).is_none_or(|end| end > self.length) {
            return Err(self.truncated());
        }
        let mut bytes = vec![0; count as usize];
        self.file.read_exact_at(&mut bytes, at).map_err(Error::io("read", self.path))?;
        Ok(bytes)
    }

    /// Whether the numbers that the header promises are there.
    fn check(&self, layout: &Layout) -> Result<()> {
        if layout.dim == 0 {
            return Err(self.error("vectors of 0 dimensions", "encode the records again"));
        }
        match layout.bytes().and_then(|bytes| bytes.checked_add(layout.offset)) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(self.error(
                format!(
                    "truncated: the header promises {} vectors of {} dimensions, the file has {} bytes after it",
                    layout.rows,
                    layout.dim,
                    self.length.saturating_sub(layout.offset)
                ),
                "copy or save the file again",
            )),
        }
    }
}

/// Reads the ids beside a file of vectors: one a line, as many as rows.
fn read_ids(path: &Path, rows: usize) -> Result<Option<Ids>> {
    let Some(path) = ids_file(path) else { return Ok(None) };
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count() as u64 + 1;
        Error::input(&path, line, "not UTF-8", "write the ids as UTF-8, one a line")
    })?;
    let mut ids = Ids::new();
    for (line, id) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        if id.is_empty() {
            return Err(Error::input(&path, line, "an empty id", "write one id a line, as many as vectors"));
        }
        if !ids.intern(id).1 {
            return Err(Error::input(
                &path,
                line,
                format!("the id `{id}` stands twice"),
                "give every vector its own id",
            ));
        }
    }
    if ids.len() != rows {
        let problem = format!("{} ids for {rows} vectors", ids.len());
        return Err(Error::input(&path, None, problem, "write one id a line, in the order of the vectors"));
    }
    Ok(Some(ids))
}

#[cfg(test)]
mod tests;
