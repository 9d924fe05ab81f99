//! Hugging Face's `.safetensors`: the length of the header, the header in JSON, the numbers.
//!
//! The crate of that name wants the whole file in memory or mapped, so the header is read here.

use std::collections::BTreeMap;

use super::{Element, Layout, Source};
use crate::Result;

/// What the header says of one tensor.
#[derive(serde::Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The layout of the tensor `name`, or of the only one with two axes.
pub(super) fn layout(source: &Source<'_>, name: Option<&str>) -> Result<Layout> {
    let length = source.header(0, 8)?;
    let length = u64::from_le_bytes(std::array::from_fn(|i| length[i]));
    let header = source.header(8, length)?;
    let again = "save the tensor again with safetensors";
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&header)
        .map_err(|e| source.error(format!("safetensors header: {e}"), again))?;
    let mut tensors = BTreeMap::new();
    for (key, value) in header {
        if key != "__metadata__" {
            let tensor: Tensor = serde_json::from_value(value)
                .map_err(|e| source.error(format!("safetensors header, tensor `{key}`: {e}"), again))?;
            tensors.insert(key, tensor);
        }
    }
    let names = tensors.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let mut fitting = tensors.iter().filter(|(key, tensor)| match name {
        Some(name) => *key == name,
        None => tensor.shape.len() == 2,
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
    let element = match tensor.dtype.as_str() {
        "F16" => Element::F16,
        "BF16" => Element::Bf16,
        "F32" => Element::F32,
        "F64" => Element::F64,
        other => {
            let problem = format!("tensor `{key}` has type {other}; known are F16, BF16, F32 and F64");
            return Err(source.error(problem, "save it as F32"));
        }
    };
    let &[rows, dim] = &tensor.shape[..] else {
        let problem =
            format!("tensor `{key}` has shape {:?}; vectors have two axes, [rows, dimensions]", tensor.shape);
        return Err(source.error(problem, "save one row per record"));
    };
    let [from, to] = tensor.data_offsets;
    let offset = from.checked_add(8 + length);
    let layout = Layout { offset: offset.unwrap_or(u64::MAX), rows, dim, element, fortran: false };
    if to.checked_sub(from) != layout.bytes() {
        let problem = format!("tensor `{key}` of shape [{rows}, {dim}] does not fill its bytes {from}..{to}");
        return Err(source.error(problem, again));
    }
    Ok(layout)
}
