//! A model's folder: its files, and which of them decided the vectors.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use hardrock_engine::encoders;
use serde::de::DeserializeOwned;

use crate::read::content_hash;
use crate::store::Key;
use crate::{Error, Result};

/// A model's folder. What is read through it goes into the fingerprint.
pub(super) struct Folder {
    root: PathBuf,
    used: RefCell<BTreeSet<String>>,
}

impl Folder {
    /// A folder that is there.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), used: RefCell::default() }
    }

    /// The name of a file in a part of the folder; the part is empty or `.` for the folder itself.
    pub(super) fn join(part: &str, name: &str) -> String {
        match part.trim_end_matches('/') {
            "" | "." => name.to_owned(),
            part => format!("{part}/{name}"),
        }
    }

    /// Whether there is a file of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.root.join(name).is_file()
    }

    /// The path of a file that decides the vectors.
    ///
    /// # Errors
    /// [`Error::Input`] for a name that leads out of the folder.
    pub(super) fn file(&self, name: &str) -> Result<PathBuf> {
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(name).components().all(inside) {
            let problem = format!("names the file `{name}`, which lies outside of it");
            return Err(self.error("", problem, "the model's files must lie in its folder"));
        }
        self.used.borrow_mut().insert(name.to_owned());
        Ok(self.root.join(name))
    }

    /// A JSON file that decides the vectors, or none if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] with the line where it is no JSON or not what it should be.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        if !self.has(name) {
            return Ok(None);
        }
        self.file(name)?;
        self.side_json(name)
    }

    /// Like [`Folder::json`] for a file that the vectors of a given text do not depend on.
    ///
    /// # Errors
    /// As there.
    pub(super) fn side_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        if !self.has(name) {
            return Ok(None);
        }
        let path = self.root.join(name);
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&text).map(Some).map_err(|e| {
            let line = u64::try_from(e.line()).ok().filter(|&line| line > 0);
            Error::input(&path, line, e.to_string(), "fetch the model again, or mend the file")
        })
    }

    /// Where a part of the folder is.
    pub(super) fn path(&self, part: &str) -> PathBuf {
        self.root.join(Self::join(part, ""))
    }

    /// An error about a part of the folder.
    pub(super) fn error(&self, part: &str, problem: impl Into<String>, help: impl Into<String>) -> Error {
        Error::input(&self.path(part), None, problem, help)
    }

    /// What the engine says of a part of the folder.
    pub(super) fn model_error(&self, part: &str, e: encoders::Error) -> Error {
        match e {
            encoders::Error::Read(_) => e.into(),
            // Its message says what would work.
            encoders::Error::Unsupported { .. } => self.error(part, e.to_string(), ""),
            _ => self.error(part, e.to_string(), "its files do not belong together: fetch the whole model"),
        }
    }

    /// Hash of every file used so far, names and contents, and of `options`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn fingerprint(&self, options: &impl serde::Serialize) -> Result<String> {
        let mut key = Key::new("model").with_json("options", options)?;
        for name in self.used.borrow().iter() {
            key = key.with(name, content_hash(&self.root.join(name))?);
        }
        Ok(key.hex())
    }
}
