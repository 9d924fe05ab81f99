//! Writes vectors for other programs: `.npy`, `.safetensors`, `.parquet`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use half::{bf16, f16};
use hardrock_engine::index::rows::Rows;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::atomic::{AtomicFile, Sealed};
use crate::read::Table;
use crate::{Error, Result};

/// A number as it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Element {
    /// 32 bits, as the model made it.
    #[default]
    F32,
    /// 16 bits, rounded to nearest.
    F16,
    /// 16 bits with the range of 32, rounded to nearest; safetensors only.
    Bf16,
    /// 8 bits and a scale for each vector, by which its largest number is 127.
    Int8,
}

impl Element {
    /// How safetensors names it, and its bytes.
    fn tensor(self) -> (&'static str, usize) {
        match self {
            Self::F32 => ("F32", 4),
            Self::F16 => ("F16", 2),
            Self::Bf16 => ("BF16", 2),
            Self::Int8 => ("I8", 1),
        }
    }

    /// Appends numbers, row by row, as they lie in a file.
    fn encode(self, values: &[f32], dim: usize, bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(values.iter().flat_map(|x| x.to_le_bytes())),
            Self::F16 => bytes.extend(values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes())),
            Self::Bf16 => bytes.extend(values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes())),
            Self::Int8 => {
                for row in values.chunks(dim) {
                    let scale = scale_of(row);
                    // In double precision a quotient never rounds beyond 127, not even of denormals.
                    let code = |&x: &f32| match scale > 0.0 {
                        true => (f64::from(x) / f64::from(scale)).round().clamp(-127.0, 127.0) as i8,
                        false => 0,
                    };
                    bytes.extend(row.iter().map(code).map(i8::cast_unsigned));
                }
            }
        }
    }
}

/// What a code of 1 stands for in this row.
fn scale_of(row: &[f32]) -> f32 {
    row.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0
}

/// What a file is told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Npy,
    Safetensors,
    Parquet,
}

impl Format {
    pub(super) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(Error::usage(
                format!("the name of {} does not say which format to write", path.display()),
                "end it in .npy, .safetensors or .parquet",
            )),
        }
    }

    /// Says whether numbers of this kind have a place in the format.
    pub(super) fn holds(self, element: Element) -> Result<()> {
        let (problem, help) = match (self, element) {
            (Self::Parquet, Element::F16 | Element::Bf16 | Element::Int8) => {
                ("--dtype: Parquet has 32-bit numbers", "write .npy or .safetensors, or leave --dtype out")
            }
            (Self::Npy, Element::Bf16) => {
                ("--dtype bf16: .npy has no such numbers", "write .safetensors, or take f16")
            }
            _ => return Ok(()),
        };
        Err(Error::usage(problem, help))
    }
}

/// Rows read and written at once.
const PIECE: usize = 4096;

/// Writes the vectors `rows[order]`, and the ids where the format has no place for them as `NAME.ids.txt`. Answers
/// the files, the vectors' first. Existing files are replaced only with `force`.
pub(super) fn write(
    path: &Path,
    element: Element,
    table: &Table,
    rows: &dyn Rows,
    force: bool,
) -> Result<Vec<PathBuf>> {
    let format = Format::of(path)?;
    if format == Format::Parquet {
        return Ok(vec![write_parquet(path, table, rows, force)?]);
    }
    let ids_path = path.with_extension("ids.txt");
    let mut ids = AtomicFile::create(&ids_path, force)?;
    for record in 0..table.len() as u32 {
        let id = table.id(record);
        if id.contains(['\n', '\r']) {
            return Err(Error::usage(
                format!("the id `{}` has a line break in it", id.escape_debug()),
                "write .parquet, which keeps ids beside vectors",
            ));
        }
        writeln!(ids, "{id}").map_err(Error::io("write", &ids_path))?;
    }
    let mut out = AtomicFile::create(path, force)?;
    let scales = if element == Element::Int8 { scales(rows)? } else { Vec::new() };
    let mut beside = None;
    let head = match format {
        Format::Npy => {
            if element == Element::Int8 {
                let path = path.with_extension("scales.npy");
                let mut file = AtomicFile::create(&path, force)?;
                let head = npy_head("<f4", &format!("({},)", rows.len()));
                file.write_all(&[head, scales].concat()).map_err(Error::io("write", &path))?;
                beside = Some(file);
            }
            let descr = match element {
                Element::F32 => "<f4",
                Element::F16 => "<f2",
                Element::Int8 => "|i1",
                Element::Bf16 => return Err(Error::usage("--dtype bf16: .npy has no such numbers", "")),
            };
            npy_head(descr, &format!("({}, {})", rows.len(), rows.dim()))
        }
        _ => [safetensors_head(element, rows, scales.len()), scales].concat(),
    };
    out.write_all(&head).map_err(Error::io("write", path))?;
    let mut bytes = Vec::new();
    for_pieces(rows, |values| {
        bytes.clear();
        element.encode(values, rows.dim(), &mut bytes);
        out.write_all(&bytes).map_err(Error::io("write", path))
    })?;
    // All are whole before any has its name.
    let (out, ids) = (out.seal()?, ids.seal()?);
    let beside = beside.map(AtomicFile::seal).transpose()?;
    let ids = ids.publish()?;
    let beside = beside.map(Sealed::publish).transpose()?;
    Ok([out.publish()?, ids].into_iter().chain(beside).collect())
}

/// The scales of all rows, as bytes.
fn scales(rows: &dyn Rows) -> Result<Vec<u8>> {
    let mut scales = Vec::with_capacity(rows.len() * 4);
    for_pieces(rows, |values| {
        scales.extend(values.chunks(rows.dim()).flat_map(|row| scale_of(row).to_le_bytes()));
        Ok(())
    })?;
    Ok(scales)
}

fn for_pieces(rows: &dyn Rows, mut each: impl FnMut(&[f32]) -> Result<()>) -> Result<()> {
    let mut values = vec![0.0; PIECE.min(rows.len()) * rows.dim()];
    for start in (0..rows.len()).step_by(PIECE) {
        let values = &mut values[..PIECE.min(rows.len() - start) * rows.dim()];
        rows.read(start, values)?;
        each(values)?;
    }
    Ok(())
}

/// The head of a `.npy` file, version 1.0: padded so that the numbers begin at a multiple of 64 bytes.
fn npy_head(descr: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend((length as u16).to_le_bytes());
    head.extend(text.bytes());
    head.resize(10 + length - 1, b' ');
    head.push(b'\n');
    head
}

/// The head of a safetensors file with the tensor `vectors`, behind `scales` bytes of the tensor of that name where there are
/// any. The numbers follow without ever being in memory as a whole, which the library's own writer would ask for.
fn safetensors_head(element: Element, rows: &dyn Rows, scales: usize) -> Vec<u8> {
    let (name, size) = element.tensor();
    let (n, dim) = (rows.len(), rows.dim());
    let end = scales + n * dim * size;
    let mut tensors = vec![format!(
        r#""vectors":{{"dtype":"{name}","shape":[{n},{dim}],"data_offsets":[{scales},{end}]}}"#
    )];
    if element == Element::Int8 {
        tensors.insert(0, format!(r#""scales":{{"dtype":"F32","shape":[{n}],"data_offsets":[0,{scales}]}}"#));
    }
    let mut text = format!("{{{}}}", tensors.join(","));
    while text.len() % 8 != 0 {
        text.push(' ');
    }
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.extend(text.bytes());
    head
}

fn write_parquet(path: &Path, table: &Table, rows: &dyn Rows, force: bool) -> Result<PathBuf> {
    let dim = i32::try_from(rows.dim())
        .map_err(|_| Error::usage(format!("{} dimensions are too many", rows.dim()), "write .npy"))?;
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("vector", DataType::FixedSizeList(Arc::clone(&item), dim), false),
    ]));
    let level = ZstdLevel::try_new(1).map_err(Error::format(path))?;
    // Coordinates hardly repeat: a dictionary would be built and thrown away.
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_column_dictionary_enabled("vector.list.element".into(), false)
        .build();
    let out = AtomicFile::create(path, force)?;
    let mut writer =
        ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties)).map_err(Error::format(path))?;
    let mut record = 0;
    for_pieces(rows, |values| {
        let n = (values.len() / rows.dim()) as u32;
        let ids: ArrayRef =
            Arc::new(StringArray::from_iter_values((record..record + n).map(|r| table.id(r))));
        record += n;
        let values: ArrayRef = Arc::new(Float32Array::from(values.to_vec()));
        let vectors = FixedSizeListArray::try_new(Arc::clone(&item), dim, values, None);
        let vectors: ArrayRef = Arc::new(vectors.map_err(Error::format(path))?);
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![ids, vectors]).map_err(Error::format(path))?;
        writer.write(&batch).map_err(Error::format(path))
    })?;
    let out = writer.into_inner().map_err(Error::format(path))?;
    out.seal()?.publish()
}
