//! A model's tensors in safetensors files, read by position when they are asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use hardrock_engine::encoders::{self, Tensor, Tensors};

use super::folder::Folder;
use crate::read::input::open_file;
use crate::read::vectors::Source;
use crate::read::vectors::safetensors::{Entry, Header};
use crate::{Error, Result};

/// What to do about weights that lie in a pickle, which is a program and no data.
const CONVERT: &str = "convert them once: python -c \"from transformers import AutoModel; \
    AutoModel.from_pretrained('FOLDER').save_pretrained('FOLDER', safe_serialization=True)\"";

/// The index of weights in several files.
#[derive(serde::Deserialize)]
struct Index {
    /// File of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// One file, with its header.
struct Shard {
    path: PathBuf,
    file: File,
    length: u64,
    header: Header,
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let file = open_file(&path)?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        let header = Header::read(&Source { path: &path, file: &file, length })?;
        Ok(Self { path, file, length, header })
    }

    /// The numbers of a tensor as f32.
    fn read(&self, name: &str, entry: &Entry) -> Result<Tensor> {
        let error = |problem: String, help: &str| Err(Error::input(&self.path, None, problem, help));
        let Some(element) = entry.element() else {
            let problem = format!(
                "tensor `{name}` has type {}; known are F64, F32, F16, BF16, I8, I32 and I64",
                entry.dtype
            );
            return error(problem, "save the model in float32, float16 or bfloat16");
        };
        let Some(count) = entry.count(element) else {
            let problem = format!("tensor `{name}` of shape {:?} does not fill its bytes", entry.shape);
            return error(problem, "fetch or save the model again");
        };
        let [from, to] = self.header.bytes(entry);
        if to > self.length {
            let problem =
                format!("truncated: tensor `{name}` ends at byte {to}, the file at {}", self.length);
            return error(problem, "fetch or copy the file again");
        }
        let mut values = vec![0.0; count];
        element.read(&self.file, &self.path, from, &mut values)?;
        Ok(Tensor { shape: entry.shape.clone(), values })
    }
}

/// A tensor's type, shape and bytes, as in its file.
pub(super) type Raw<'a> = (&'a str, &'a [usize], Vec<u8>);

/// The tensors of a model, or of one module of it.
pub(super) struct Weights {
    shards: Vec<Shard>,
    /// Shard of each tensor.
    places: BTreeMap<String, usize>,
}

impl Weights {
    /// Opens the weights in the part `part` of a model's folder: `model.safetensors`, or what
    /// `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`Error::Input`] where there are none, or none but a pickle; for a damaged header or index.
    pub(super) fn open(folder: &Folder, part: &str) -> Result<Self> {
        let at = |name: &str| Folder::join(part, name);
        let mut files = vec![at("model.safetensors")];
        if !folder.has(&files[0]) {
            let index: Option<Index> = folder.json(&at("model.safetensors.index.json"))?;
            let Some(index) = index else { return Err(missing(folder, part)) };
            files = index.weight_map.into_values().map(|file| at(&file)).collect();
            files.sort_unstable();
            files.dedup();
        }
        let shards = files.iter().map(|file| Shard::open(folder.file(file)?)).collect::<Result<Vec<_>>>()?;
        let mut places = BTreeMap::new();
        for (shard, from) in shards.iter().enumerate() {
            places.extend(from.header.tensors.keys().map(|name| (name.clone(), shard)));
        }
        Ok(Self { shards, places })
    }

    /// The names of all tensors, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }
}

impl Weights {
    /// The bytes of a tensor as they stand in its file, with the type and shape they have there; none for a name that the
    /// model does not have.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn raw(&self, name: &str) -> Result<Option<Raw<'_>>> {
        let Some(shard) = self.places.get(name).map(|&shard| &self.shards[shard]) else { return Ok(None) };
        let Some(entry) = shard.header.tensors.get(name) else { return Ok(None) };
        let [from, to] = shard.header.bytes(entry).map(|at| at.min(shard.length));
        let mut file = &shard.file;
        let mut bytes = Vec::new();
        let read = file
            .seek(SeekFrom::Start(from))
            .and_then(|_| file.take(to.saturating_sub(from)).read_to_end(&mut bytes));
        read.map_err(Error::io("read", &shard.path))?;
        Ok(Some((&entry.dtype, &entry.shape, bytes)))
    }
}

impl Tensors for Weights {
    fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    fn get(&self, name: &str) -> encoders::Result<Option<Tensor>> {
        let Some(shard) = self.places.get(name).map(|&shard| &self.shards[shard]) else { return Ok(None) };
        let Some(entry) = shard.header.tensors.get(name) else { return Ok(None) };
        shard.read(name, entry).map(Some).map_err(|e| encoders::Error::Read(Box::new(e)))
    }
}

/// Says which weights there are instead.
fn missing(folder: &Folder, part: &str) -> Error {
    let pickle = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
    if let Some(pickle) = pickle.into_iter().find(|name| folder.has(&Folder::join(part, name))) {
        let problem = format!(
            "the weights are only there as {pickle}, a pickle: to read one is to run the program in it"
        );
        return folder.error(part, problem, CONVERT);
    }
    let others = [("model.onnx", "ONNX"), ("tf_model.h5", "TensorFlow"), ("flax_model.msgpack", "Flax")];
    match others.into_iter().find(|(name, _)| folder.has(&Folder::join(part, name))) {
        Some((name, kind)) => folder.error(
            part,
            format!("the weights are only there for {kind} ({name})"),
            "hardrock reads model.safetensors: fetch that file too",
        ),
        None => folder.error(
            part,
            "has no weights: neither model.safetensors nor model.safetensors.index.json",
            "fetch the whole model; its weights may be missing where git-lfs was not installed",
        ),
    }
}
