//! A transformer from a folder that learns, and the folder that it is written to: the same layout, so that what could read
//! the one can read the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hardrock_engine::encoders::transformer::Pooling;
use hardrock_engine::encoders::transformer::training::{HeadStep, Learner, Options};
use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use super::folder::Folder;
use super::modules::{self, Around, Learning, Module};
use super::tokenizer::Tokenizer;
use super::transformer_model::{self, Config};
use super::weights::Weights;
use super::{ModelOptions, Prompts};
use crate::atomic::write_atomically;
use crate::{Error, Result};

/// A transformer of a folder, with its tokenizer, ready to learn.
pub struct LearnerFolder {
    root: PathBuf,
    /// Where the weights of each of the learner's parts lie.
    parts: Vec<String>,
    prompts: Prompts,
    tokenizer: Tokenizer,
    /// The model itself.
    pub learner: Learner,
}

/// Endings of files that hold weights, which a written folder has of its own.
const WEIGHTS: [&str; 8] =
    [".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".h5", ".msgpack", ".onnx", ".ot"];

/// Folders that hold the weights in other formats.
const OTHERS: [&str; 3] = ["onnx", "openvino", ".git"];

impl LearnerFolder {
    /// Opens a folder in the layout of sentence-transformers or transformers; without the former's `modules.json` the
    /// mean is taken. `model` may set prompts and the length of texts.
    ///
    /// # Errors
    /// [`Error::Input`] for a folder that cannot be read, or a kind of model that cannot be trained; [`Error::Usage`] for
    /// a length that the model has no places for, or a cut of its columns.
    pub fn open(root: &Path, model: &ModelOptions, options: Options) -> Result<Self> {
        if model.truncate_dim.is_some() {
            let help = "leave it out here and give it when the trained model is used";
            return Err(Error::usage("a model is trained with all of its columns", help));
        }
        let folder = Folder::new(root);
        let prompts = Around::read(&folder)?.prompts(&model.prompts);
        let listed: Option<Vec<Module>> = folder.json("modules.json")?;
        let (part, pooling, steps) = match listed.as_deref() {
            Some([first, pool, rest @ ..]) if first.name() == "Transformer" && pool.name() == "Pooling" => {
                let pooling = modules::pooling(&folder, &pool.path, &prompts)?;
                (first.path.clone(), pooling, modules::learning(&folder, rest)?)
            }
            Some(_) => return Err(unsupported(&folder)),
            None => (String::new(), Pooling::Mean, Vec::new()),
        };
        let config = Config::read(&folder, &part)?.ok_or_else(|| unsupported(&folder))?;
        let head: Vec<HeadStep<'_>> = steps
            .iter()
            .map(|step| match step {
                Learning::Normalize => HeadStep::Normalize,
                Learning::Dense { weights, from, to, bias, activation, .. } => HeadStep::Dense {
                    tensors: weights,
                    from: *from,
                    to: *to,
                    bias: *bias,
                    activation: *activation,
                },
            })
            .collect();
        let learner = config.learner(&folder, &part, pooling, &head, options)?;
        let (tokenizer, _) =
            transformer_model::reader_for(&folder, &part, &config, Some(learner.longest()), model, false)?;
        let mut parts = vec![part];
        parts.extend(steps.into_iter().filter_map(|step| match step {
            Learning::Dense { part, .. } => Some(part),
            Learning::Normalize => None,
        }));
        Ok(Self { root: root.to_owned(), parts, prompts, tokenizer, learner })
    }

    /// The prompts that the model asks for.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// The token ids of texts (prompts included), cut to the model's length.
    ///
    /// # Errors
    /// [`Error::Input`] if the tokenizer fails on a text.
    pub fn tokens(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        self.tokenizer.encode(texts)
    }

    /// Writes the model as it is now to the folder `to`, which is made if it is not there: what was learnt as f32, all
    /// else as it stands in the folder that the model came from, but for its card and weights in other formats.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Usage`] for the folder that the model came from.
    pub fn save(&self, to: &Path) -> Result<()> {
        std::fs::create_dir_all(to).map_err(Error::io("create", to))?;
        let same = |path: &Path| path.canonicalize().ok();
        if same(to).is_some() && same(to) == same(&self.root) {
            let problem = format!("{} is the folder that the model came from", to.display());
            return Err(Error::usage(problem, "write the trained model to another folder"));
        }
        copy(&self.root, to)?;
        for (number, part) in self.parts.iter().enumerate() {
            self.save_part(number, part, to)?;
        }
        Ok(())
    }

    fn save_part(&self, number: usize, part: &str, to: &Path) -> Result<()> {
        let old = Weights::open(&Folder::new(&self.root), part)?;
        let mut all: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for weight in self.learner.weights().filter(|weight| weight.part == number) {
            let bytes = weight.values.iter().flat_map(|x| x.to_le_bytes()).collect();
            all.insert(weight.name.to_owned(), (Dtype::F32, weight.shape.to_vec(), bytes));
        }
        for name in old.names().filter(|name| !self.learnt(number, name)) {
            let Some((dtype, shape, bytes)) = old.raw(name)? else { continue };
            let dtype = serde_json::from_value(Value::from(dtype)).map_err(|e| {
                let help = "save the model in float32, float16 or bfloat16";
                Error::input(&self.root, None, format!("tensor `{name}`: {e}"), help)
            })?;
            all.insert(name.to_owned(), (dtype, shape.to_vec(), bytes));
        }
        let broken = |e: safetensors::SafeTensorError| {
            Error::input(&self.root, None, e.to_string(), "fetch or save the model again")
        };
        let views = all.iter().map(|(name, (dtype, shape, bytes))| {
            Ok((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(broken)?))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
        let file = serialize(views, metadata).map_err(broken)?;
        write_atomically(&to.join(Folder::join(part, "model.safetensors")), &[&file])
    }

    fn learnt(&self, number: usize, name: &str) -> bool {
        self.learner.weights().any(|weight| weight.part == number && weight.name == name)
    }
}

fn unsupported(folder: &Folder) -> Error {
    let help = "give a folder in the layout of sentence-transformers (Transformer, Pooling, Dense, Normalize) or transformers";
    folder.error("", "is no transformer that could be trained", help)
}

/// Copies everything but weights, the card and hidden work of other programs.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let entries = std::fs::read_dir(from).map_err(Error::io("read", from))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("read", from))?;
        let (path, name) = (entry.path(), entry.file_name());
        let shown = name.to_string_lossy();
        if path.is_dir() {
            if !OTHERS.contains(&&*shown) {
                let inner = to.join(&name);
                std::fs::create_dir_all(&inner).map_err(Error::io("create", &inner))?;
                copy(&path, &inner)?;
            }
            continue;
        }
        if WEIGHTS.iter().any(|ending| shown.ends_with(ending)) || shown == "README.md" {
            continue;
        }
        let mut bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        if shown == "config.json" {
            bytes = as_f32(bytes);
        }
        write_atomically(&to.join(&name), &[&bytes])?;
    }
    Ok(())
}

/// A configuration that says f32 where it named another type of numbers; others as they are.
fn as_f32(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(Value::Object(mut config)) = serde_json::from_slice(&bytes) else { return bytes };
    let mut changed = false;
    for key in ["dtype", "torch_dtype"] {
        if let Some(dtype) = config.get_mut(key).filter(|dtype| dtype.is_string() && **dtype != "float32") {
            *dtype = Value::from("float32");
            changed = true;
        }
    }
    match serde_json::to_vec_pretty(&config) {
        Ok(new) if changed => new,
        _ => bytes,
    }
}
