//! The two kinds of vectors that are kept, as encoding sees them.

use std::sync::atomic::AtomicBool;

use super::cache::{Cache, TextKey};
use super::sparse::SparseCache;
use crate::models::{Embedder, SparseEmbedder};
use crate::{Error, Result};

/// Vectors of texts, and the way to more of them.
pub(super) trait Keep {
    /// The row of a text's vector, if it is there.
    fn find(&self, key: &TextKey) -> Option<u32>;

    /// Bytes of a vector, about.
    fn row_bytes(&self) -> usize;

    /// Encodes texts and keeps their vectors durably; `name` says which record a text belongs to.
    ///
    /// # Errors
    /// The model's, [`Error::Io`], and [`Error::Usage`] for a vector with something else than finite numbers.
    fn make(
        &mut self,
        keys: &[TextKey],
        texts: &[&str],
        name: &dyn Fn(usize) -> String,
        cancel: &AtomicBool,
    ) -> Result<()>;
}

fn broken(record: &str, x: f32) -> Error {
    Error::usage(
        format!("the model's vector of `{record}` holds {x}"),
        "the model's weights or the server's answer are broken: try another precision or model",
    )
}

/// Dense vectors.
pub(super) struct Dense<'a> {
    pub(super) embedder: &'a dyn Embedder,
    pub(super) cache: &'a mut Cache,
}

impl Keep for Dense<'_> {
    fn find(&self, key: &TextKey) -> Option<u32> {
        self.cache.find(key)
    }

    fn row_bytes(&self) -> usize {
        size_of::<f32>() * self.embedder.dim()
    }

    fn make(
        &mut self,
        keys: &[TextKey],
        texts: &[&str],
        name: &dyn Fn(usize) -> String,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let dim = self.embedder.dim();
        let mut vectors = vec![0.0; texts.len() * dim];
        self.embedder.encode(texts, &mut vectors, cancel)?;
        for (i, vector) in vectors.chunks(dim).enumerate() {
            if let Some(x) = vector.iter().find(|x| !x.is_finite()) {
                return Err(broken(&name(i), *x));
            }
        }
        self.cache.push(keys, &vectors)
    }
}

/// Sparse vectors.
pub(super) struct Words<'a> {
    pub(super) embedder: &'a dyn SparseEmbedder,
    pub(super) cache: &'a mut SparseCache,
}

impl Keep for Words<'_> {
    fn find(&self, key: &TextKey) -> Option<u32> {
        self.cache.find(key)
    }

    fn row_bytes(&self) -> usize {
        // A tenth of the vocabulary is more than trained models use.
        (self.embedder.vocabulary() / 10).max(1) * 8
    }

    fn make(
        &mut self,
        keys: &[TextKey],
        texts: &[&str],
        name: &dyn Fn(usize) -> String,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let vectors = self.embedder.encode(texts, cancel)?;
        for i in 0..vectors.len() {
            if let Some(x) = vectors.row(i).1.iter().find(|x| !x.is_finite()) {
                return Err(broken(&name(i), *x));
            }
        }
        self.cache.push(keys, &vectors)
    }
}
