//! Finished work on disk: stages, chunks, and the rule that a chunk is either whole or not there.
//!
//! A stage is a folder named by the fingerprint of everything that it depends on; a chunk is a file of named arrays in it,
//! written to a temporary name, synced and renamed. A run that finds a whole chunk uses it: that is all there is to resuming.
//! A chunk carries a BLAKE3 checksum; a damaged one counts as missing and is made again.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use crate::atomic::write_atomically;
use crate::{Error, Result};

/// Fingerprint of a stage: a BLAKE3 hash over names and values, each with its length.
#[derive(Debug, Clone)]
pub struct Key(blake3::Hasher);

impl Key {
    /// Starts with the stage's name; the version makes results of another hardrock unusable where they may differ.
    pub fn new(stage: &str) -> Self {
        Self(blake3::Hasher::new()).with("stage", stage).with("version", env!("CARGO_PKG_VERSION"))
    }

    /// Adds one dependency.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a configuration value as JSON. Errors only when it cannot be written as JSON.
    pub fn with_json(self, name: &str, value: &impl serde::Serialize) -> Result<Self> {
        let json = serde_json::to_vec(value)
            .map_err(|e| Error::usage(format!("{name} cannot be written as JSON: {e}"), ""))?;
        Ok(self.with(name, json))
    }

    /// The first 32 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.finalize().to_hex()[..32].to_owned()
    }
}

/// The work folder of a run.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens or makes the folder.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        let ignore = root.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").map_err(Error::io("write", &ignore))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Where a run keeps its work: `work`, or `.hardrock` beside the output.
    pub fn beside(work: Option<&Path>, output: &Path) -> PathBuf {
        let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        work.map_or_else(|| folder.join(".hardrock"), Path::to_owned)
    }

    /// A folder for this run alone, removed at its end.
    pub fn scratch(&self) -> Result<tempfile::TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("scratch-").tempdir_in(&self.root).map_err(Error::io("create", &self.root))
    }

    /// The folder of a stage, made where it is not there.
    pub fn stage(&self, name: &str, key: &Key) -> Result<Stage> {
        let folder = self.root.join(format!("{name}-{}", key.hex()));
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        Ok(Stage { folder })
    }
}

/// One stage's folder.
#[derive(Debug, Clone)]
pub struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// The folder itself, for stages that keep files of their own.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a chunk is or will be.
    fn path(&self, chunk: usize) -> PathBuf {
        self.folder.join(format!("{chunk:06}.chunk"))
    }

    /// A finished chunk, or `None` when it is missing or damaged.
    pub fn load(&self, chunk: usize) -> Result<Option<Arrays>> {
        let path = self.path(chunk);
        let mut bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        let Some(at) = bytes.len().checked_sub(blake3::OUT_LEN) else { return Ok(None) };
        let sum = bytes.split_off(at);
        if blake3::hash(&bytes).as_bytes() != sum.as_slice() {
            tracing::warn!(path = %path.display(), "damaged chunk, made again");
            return Ok(None);
        }
        Ok(Some(Arrays { path, bytes }))
    }

    /// Removes a chunk whose content stands elsewhere by now.
    pub fn discard(&self, chunk: usize) -> Result<()> {
        let path = self.path(chunk);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &path)(e)),
            _ => Ok(()),
        }
    }

    /// Removes the stage: nothing needs its chunks any more.
    pub fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder).map_err(Error::io("remove", &self.folder))
    }

    /// Writes a chunk: temporary name, sync, rename.
    pub fn save(&self, chunk: usize, arrays: &[(&str, Array<'_>)]) -> Result<()> {
        let path = self.path(chunk);
        let views: Vec<(&str, TensorView<'_>)> = arrays
            .iter()
            .map(|(name, a)| Ok((*name, TensorView::new(a.dtype, vec![a.len], &a.bytes)?)))
            .collect::<std::result::Result<_, safetensors::SafeTensorError>>()
            .map_err(Error::format(&path))?;
        let bytes = serialize(views, None).map_err(Error::format(&path))?;
        let sum = blake3::hash(&bytes);
        write_atomically(&path, &[&bytes, sum.as_bytes()])
    }
}

/// A named array on its way to disk, little-endian.
#[derive(Debug)]
pub struct Array<'a> {
    dtype: Dtype,
    len: usize,
    bytes: Cow<'a, [u8]>,
}

/// Reads a chunk's arrays back.
#[derive(Debug)]
pub struct Arrays {
    path: PathBuf,
    bytes: Vec<u8>,
}

macro_rules! kinds {
    ($($kind:ty, $dtype:ident, $read:ident);* $(;)?) => {
        $(impl From<&[$kind]> for Array<'static> {
            fn from(values: &[$kind]) -> Self {
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                Self { dtype: Dtype::$dtype, len: values.len(), bytes: bytes.into() }
            }
        })*
        impl Arrays {
            $(#[doc = concat!("The array of this name as `", stringify!($kind), "`.")]
            pub fn $read(&self, name: &str) -> Result<Vec<$kind>> {
                let size = std::mem::size_of::<$kind>();
                Ok(self
                    .data(name, Dtype::$dtype)?
                    .chunks_exact(size)
                    .map(|c| <$kind>::from_le_bytes(std::array::from_fn(|i| c[i])))
                    .collect())
            })*
        }
    };
}
kinds! { u8, U8, u8s; u32, U32, u32s; u64, U64, u64s; f32, F32, f32s }

impl Arrays {
    fn data(&self, name: &str, dtype: Dtype) -> Result<Vec<u8>> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(Error::format(&self.path))?;
        let view = file.tensor(name).map_err(Error::format(&self.path))?;
        if view.dtype() != dtype {
            return Err(Error::format(&self.path)(format!("array `{name}` has another type")));
        }
        Ok(view.data().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_back_whole_and_a_damaged_one_counts_as_missing() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let stage = Store::open(folder.path())?.stage("pool", &Key::new("pool").with("k", "100"))?;
        assert!(stage.load(0)?.is_none());
        stage.save(
            0,
            &[("items", Array::from(&[3u32, 1][..])), ("scores", Array::from(&[0.5f32, -1.0][..]))],
        )?;
        let arrays = stage.load(0)?.unwrap();
        assert_eq!((arrays.u32s("items")?, arrays.f32s("scores")?), (vec![3, 1], vec![0.5, -1.0]));
        assert!(arrays.f32s("items").is_err());

        let path = stage.path(0);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(stage.load(0)?.is_none());
        fs::write(&path, b"short").unwrap();
        assert!(stage.load(0)?.is_none());
        stage.discard(0)?;
        assert!(!path.exists());
        stage.discard(0)?;
        Ok(())
    }

    #[test]
    fn a_key_depends_on_names_values_and_their_borders() {
        let key = |a: &str, b: &str| Key::new("s").with(a, b).hex();
        assert_eq!(key("a", "b"), key("a", "b"));
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }
}
