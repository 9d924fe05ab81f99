//! What turns 8-bit numbers back into vectors.
//!
//! Two ways are known. A scale for each row: `x = code * scale`; this is what `hardrock embed --dtype int8` writes. A range for
//! each column, cut into 255 steps: `x = least + (code + 128.5) * (most - least) / 255` (0.5 for unsigned codes), the middle of the
//! step; this undoes sentence-transformers' `quantize_embeddings`, whose argument `ranges` `[2, dimensions]` it is and which
//! rounds down. Codes without either are numbers as they are.

use std::path::{Path, PathBuf};

use super::{Element, Layout, Source, npy};
use crate::{Error, Result};

/// How codes become numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scale {
    /// A factor for each row.
    Rows(Vec<f32>),
    /// The number that a code of 0 stands for, and the distance between two codes, for each column.
    Columns(Vec<[f32; 2]>),
}

/// Says which of the two numbers lie beside the codes: names of tensors, and of files as `NAME.scales.npy`.
pub(super) const NAMES: [&str; 2] = ["scales", "ranges"];

/// The files beside `path` that may hold its scales.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    let npy = path.extension().is_some_and(|e| e == "npy");
    let file = |name| path.with_extension(format!("{name}.npy"));
    NAMES.into_iter().filter(|_| npy).map(file).filter(|p| p.is_file()).collect()
}

impl Scale {
    /// Reads the scales of an array of codes from the file beside it, if there is one.
    pub(super) fn beside(path: &Path, layout: &Layout) -> Result<Option<Self>> {
        let Some(path) = files(path).into_iter().next() else { return Ok(None) };
        let file = std::fs::File::open(&path).map_err(Error::io("open", &path))?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        let source = Source { path: &path, file: &file, length };
        let (own, axes) = npy::array(&source)?;
        let count = axes.iter().try_fold(1usize, |all, &axis| all.checked_mul(axis));
        source.check(&Layout { rows: count.unwrap_or(usize::MAX), dim: 1, ..own })?;
        let name = if path.to_string_lossy().ends_with("ranges.npy") { "ranges" } else { "scales" };
        if own.fortran && axes.len() > 1 {
            return Err(
                source.error("columns lie together", "numpy.save(path, numpy.ascontiguousarray(array))")
            );
        }
        Self::read(&source, name, own.element, &axes, own.offset, layout).map(Some)
    }

    /// Reads the numbers `[axes]` that begin at byte `offset`.
    pub(super) fn read(
        source: &Source<'_>,
        name: &str,
        element: Element,
        axes: &[usize],
        offset: u64,
        layout: &Layout,
    ) -> Result<Self> {
        let (rows, dim) = (layout.rows, layout.dim);
        if !matches!(element, Element::F16 | Element::Bf16 | Element::F32 | Element::F64) {
            return Err(source.error(format!("the {name} are whole numbers"), "save them as 32-bit floats"));
        }
        let fits = match name {
            "ranges" => axes == [2, dim],
            _ => axes == [rows] || axes == [rows, 1],
        };
        if !fits {
            return Err(source.error(
                format!("{name} of shape {axes:?} for {rows} vectors of {dim} dimensions"),
                "scales have the shape [vectors], ranges [2, dimensions]",
            ));
        }
        let mut values = vec![0.0; axes.iter().product()];
        element.read(source.file, source.path, offset, &mut values)?;
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            return Err(source.error(
                format!("number {} of the {name} is {}", at + 1, values[at]),
                "make the codes again: every scale must be finite",
            ));
        }
        if name != "ranges" {
            return Ok(Self::Rows(values));
        }
        let (least, most) = values.split_at(dim);
        let first = if layout.element == Element::U8 { 0.5 } else { 128.5 };
        let column = |(&least, &most): (&f32, &f32)| {
            let step = (most - least) / 255.0;
            [least + first * step, step]
        };
        Ok(Self::Columns(least.iter().zip(most).map(column).collect()))
    }

    /// Turns the codes of the rows from `start` on, as numbers, into vectors of `dim` columns.
    pub(super) fn apply(&self, start: usize, dim: usize, rows: &mut [f32]) {
        for (at, row) in rows.chunks_mut(dim).enumerate() {
            match self {
                Self::Rows(scales) => {
                    let scale = scales[start + at];
                    row.iter_mut().for_each(|x| *x *= scale);
                }
                Self::Columns(columns) => {
                    for (x, [zero, step]) in row.iter_mut().zip(columns) {
                        *x = step.mul_add(*x, *zero);
                    }
                }
            }
        }
    }
}
