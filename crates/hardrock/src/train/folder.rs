//! The folder of a trained model, in the layout of sentence-transformers: `StaticEmbedding`, then `Normalize`.

use std::path::Path;

use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use crate::atomic::write_atomically;
use crate::{Error, Result};

/// What a model consists of.
pub(crate) struct Model<'a> {
    /// `tokenizer.json`.
    pub(crate) tokenizer: &'a [u8],
    /// `[vocabulary][dim]`.
    pub(crate) table: &'a [f32],
    pub(crate) dim: usize,
    /// Further files: name and content.
    pub(crate) files: &'a [(&'a str, String)],
}

/// Writes the folder beside its place and moves it there: it is whole or not there. `replace` removes an older one.
pub(crate) fn write(path: &Path, model: &Model<'_>, replace: bool) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| {
        Error::usage(format!("{} is not the name of a folder", path.display()), "name a folder with -o")
    })?;
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".partial");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let folder = builder.tempdir_in(parent).map_err(Error::io("create", path))?;
    fill(folder.path(), model)?;
    if path.exists() {
        if !replace {
            return Err(Error::Exists { path: path.to_owned() });
        }
        std::fs::remove_dir_all(path).map_err(Error::io("remove", path))?;
    }
    let made = folder.keep();
    std::fs::rename(&made, path).map_err(Error::io("create", path))
}

/// Writes the files.
fn fill(folder: &Path, model: &Model<'_>) -> Result<()> {
    let put = |name: &str, bytes: &[u8]| write_atomically(&folder.join(name), &[bytes]);
    let weights: Vec<u8> = model.table.iter().flat_map(|x| x.to_le_bytes()).collect();
    let shape = vec![model.table.len() / model.dim, model.dim];
    let bytes = TensorView::new(Dtype::F32, shape, &weights)
        .and_then(|view| serialize([("embedding.weight", view)], None))
        .map_err(Error::format(folder))?;
    put("model.safetensors", &bytes)?;
    put("tokenizer.json", model.tokenizer)?;
    let module = |at: usize, path: &str, class: &str| json!({"idx": at, "name": at.to_string(), "path": path, "type": format!("sentence_transformers.models.{class}")});
    let modules = json!([module(0, "", "StaticEmbedding"), module(1, "1_Normalize", "Normalize")]);
    put("modules.json", pretty(&modules)?.as_bytes())?;
    let around = json!({
        "model_type": "SentenceTransformer",
        "prompts": {"query": "", "document": ""},
        "default_prompt_name": null,
        "similarity_fn_name": "cosine",
    });
    put("config_sentence_transformers.json", pretty(&around)?.as_bytes())?;
    let normalize = folder.join("1_Normalize");
    std::fs::create_dir(&normalize).map_err(Error::io("create", &normalize))?;
    // Some ways of copying a folder leave empty ones out.
    put("1_Normalize/config.json", b"{}\n")?;
    for (name, text) in model.files {
        put(name, text.as_bytes())?;
    }
    Ok(())
}

/// JSON for people.
pub(crate) fn pretty(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|e| Error::usage(format!("cannot be written as JSON: {e}"), ""))
}
