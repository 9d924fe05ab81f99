//! NumPy's `.npy`, versions 1 to 3.
//!
//! Format: magic, version, length of the header, and the header, a Python dictionary with `descr`,
//! `fortran_order` and `shape`. Source: numpy's `numpy/lib/format.py`.

use super::{Element, Layout, Source};
use crate::Result;

/// First bytes of every file.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// What the header says of vectors.
pub(super) fn layout(source: &Source<'_>) -> Result<Layout> {
    let (layout, axes) = array(source)?;
    match axes[..] {
        [rows, dim] => Ok(Layout { rows, dim, ..layout }),
        _ => {
            let shape: Vec<String> = axes.iter().map(usize::to_string).collect();
            let comma = if axes.len() == 1 { "," } else { "" };
            let problem = format!("an array of shape ({}{comma})", shape.join(", "));
            let problem = problem + "; vectors have two axes, (rows, dimensions)";
            Err(source.error(problem, "save one row per record"))
        }
    }
}

/// What the header says of any array: its axes, and a layout without rows and columns.
pub(super) fn array(source: &Source<'_>) -> Result<(Layout, Vec<usize>)> {
    let start = source.header(0, 10)?;
    let (offset, length) = match start[6] {
        1 => (10, u64::from(u16::from_le_bytes([start[8], start[9]]))),
        2 | 3 => {
            let more = source.header(8, 4)?;
            (12, u64::from(u32::from_le_bytes([more[0], more[1], more[2], more[3]])))
        }
        version => {
            let problem = format!("npy version {version}, known are 1 to 3");
            return Err(source.error(problem, "save the array again with numpy.save"));
        }
    };
    let header = source.header(offset, length)?;
    let header = String::from_utf8_lossy(&header);
    let broken =
        |what: &str| source.error(format!("npy header: {what}"), "save the array again with numpy.save");

    let Some(descr) = value(&header, "descr") else { return Err(broken("no `descr`")) };
    let kind = quoted(descr).unwrap_or(descr.split('}').next().unwrap_or_default());
    let element = match kind {
        "<f2" => Element::F16,
        "<f4" => Element::F32,
        "<f8" => Element::F64,
        "|i1" | "<i1" => Element::I8,
        "|u1" | "<u1" => Element::U8,
        other => {
            let problem = format!("numbers of type `{other}`; known are <f2, <f4, <f8, |i1 and |u1");
            return Err(source.error(problem, "numpy.save(path, array.astype('<f4'))"));
        }
    };
    let fortran = match value(&header, "fortran_order") {
        Some(v) if v.starts_with("True") => true,
        Some(v) if v.starts_with("False") => false,
        _ => return Err(broken("no `fortran_order`")),
    };
    let shape = value(&header, "shape").and_then(|v| v.strip_prefix('(')).and_then(|v| v.split_once(')'));
    let Some((shape, _)) = shape else { return Err(broken("no `shape`")) };
    let axes: Option<Vec<usize>> = shape
        .split(',')
        .map(str::trim)
        .filter(|axis| !axis.is_empty())
        .map(|axis| axis.parse().ok())
        .collect();
    let Some(axes) = axes else { return Err(broken("no `shape`")) };
    Ok((Layout { offset: offset + length, rows: 0, dim: 0, element, fortran }, axes))
}

/// What follows a key of the dictionary.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) =
        header.split_once(&format!("'{key}'")).or_else(|| header.split_once(&format!("\"{key}\"")))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// The inside of a quoted string.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|&c| c == '\'' || c == '"')?;
    text[1..].split(quote).next()
}
