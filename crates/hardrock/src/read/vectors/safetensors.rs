//! Hugging Face's `.safetensors`: the length of the header, the header in JSON, the numbers.
//!
//! The crate of that name wants the whole file in memory or mapped, so the header is read here.

use std::collections::BTreeMap;

use super::scale::{self, Scale};
use super::{Element, Layout, Source};
use crate::Result;

/// What to do about a header that cannot be read.
const AGAIN: &str = "save the tensor again with safetensors";

/// What the header says of one tensor.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Entry {
    /// Type of its numbers, as the format names it: `F32`, `BF16` ….
    pub(crate) dtype: String,
    /// Lengths of the axes, outermost first.
    pub(crate) shape: Vec<usize>,
    /// First byte and the one after the last, from the first number of the file.
    data_offsets: [u64; 2],
}

impl Entry {
    /// The type of its numbers, if it is one of those that become f32.
    pub(crate) fn element(&self) -> Option<Element> {
        Some(match self.dtype.as_str() {
            "F16" => Element::F16,
            "BF16" => Element::Bf16,
            "F32" => Element::F32,
            "F64" => Element::F64,
            "I8" => Element::I8,
            "U8" => Element::U8,
            "I32" => Element::I32,
            "I64" => Element::I64,
            _ => return None,
        })
    }

    /// Its numbers, if they fill exactly their bytes and a memory could hold them.
    pub(crate) fn count(&self, element: Element) -> Option<usize> {
        let count = self.shape.iter().try_fold(1usize, |all, &axis| all.checked_mul(axis))?;
        let bytes = (count as u64).checked_mul(element.size() as u64)?;
        (self.data_offsets[1].checked_sub(self.data_offsets[0]) == Some(bytes)).then_some(count)
    }
}

/// The tensors of a file by name, and where its numbers begin.
pub(crate) struct Header {
    pub(crate) tensors: BTreeMap<String, Entry>,
    start: u64,
}

impl Header {
    /// Reads and parses the header; nothing of what it promises is checked yet.
    pub(crate) fn read(source: &Source<'_>) -> Result<Self> {
        let length = source.header(0, 8)?;
        let length = u64::from_le_bytes(std::array::from_fn(|i| length[i]));
        let header = source.header(8, length)?;
        let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&header)
            .map_err(|e| source.error(format!("safetensors header: {e}"), AGAIN))?;
        let mut tensors = BTreeMap::new();
        for (key, value) in header {
            if key != "__metadata__" {
                let tensor: Entry = serde_json::from_value(value)
                    .map_err(|e| source.error(format!("safetensors header, tensor `{key}`: {e}"), AGAIN))?;
                tensors.insert(key, tensor);
            }
        }
        Ok(Self { tensors, start: 8 + length })
    }

    /// The file's byte where the tensor begins, and the one after it; at the end of all files if it promises more
    /// than a file can hold.
    pub(crate) fn bytes(&self, entry: &Entry) -> [u64; 2] {
        entry.data_offsets.map(|at| at.saturating_add(self.start))
    }
}

/// The layout of the tensor `name`, or of the only one with two axes that is not of the scales; and the scales of 8-bit numbers.
pub(super) fn layout(source: &Source<'_>, name: Option<&str>) -> Result<(Layout, Option<Scale>)> {
    let header = Header::read(source)?;
    let tensors = &header.tensors;
    let names = tensors.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let mut fitting = tensors.iter().filter(|(key, tensor)| match name {
        Some(name) => *key == name,
        None => tensor.shape.len() == 2 && !scale::NAMES.contains(&key.as_str()),
    });
    let (key, tensor) = match (fitting.next(), fitting.next()) {
        (Some(one), None) => one,
        (None, _) => {
            let wanted =
                name.map_or("no tensor with two axes".to_owned(), |name| format!("no tensor `{name}`"));
            return Err(source.error(format!("{wanted}; the file has {names}"), "name one: FILE#TENSOR"));
        }
        (Some(_), Some(_)) => {
            let problem = format!("several tensors could be the vectors: {names}");
            return Err(source.error(problem, "name one: FILE#TENSOR"));
        }
    };
    let element = match tensor.element() {
        Some(element) if !matches!(element, Element::I32 | Element::I64) => element,
        _ => {
            let problem =
                format!("tensor `{key}` has type {}; known are F16, BF16, F32, F64, I8 and U8", tensor.dtype);
            return Err(source.error(problem, "save it as F32"));
        }
    };
    let &[rows, dim] = &tensor.shape[..] else {
        let problem =
            format!("tensor `{key}` has shape {:?}; vectors have two axes, [rows, dimensions]", tensor.shape);
        return Err(source.error(problem, "save one row per record"));
    };
    if tensor.count(element).is_none() {
        let [from, to] = tensor.data_offsets;
        let problem = format!("tensor `{key}` of shape [{rows}, {dim}] does not fill its bytes {from}..{to}");
        return Err(source.error(problem, AGAIN));
    }
    let [offset, _] = header.bytes(tensor);
    let layout = Layout { offset, rows, dim, element, fortran: false };
    if !matches!(element, Element::I8 | Element::U8) {
        return Ok((layout, None));
    }
    source.check(&layout)?;
    let beside = scale::NAMES.into_iter().find_map(|name| tensors.get_key_value(name));
    let Some((name, tensor)) = beside else { return Ok((layout, None)) };
    let element = tensor.element().filter(|&element| tensor.count(element).is_some());
    let [offset, end] = header.bytes(tensor);
    match element {
        Some(element) if end <= source.length => {
            Ok((layout, Some(Scale::read(source, name, element, &tensor.shape, offset, &layout)?)))
        }
        _ => Err(source.error(format!("the tensor `{name}` does not fill its bytes"), AGAIN)),
    }
}
