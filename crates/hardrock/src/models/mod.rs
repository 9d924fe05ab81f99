//! Models: from a folder, a hub id or an address to vectors of texts.

use std::sync::atomic::AtomicBool;

use crate::Result;

/// What stands before a text, by the role that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompts {
    /// Before an anchor.
    pub query: String,
    /// Before a document.
    pub passage: String,
}

/// A model as mining uses it: texts in, vectors out.
pub trait Embedder: Send + Sync {
    /// Columns of a vector.
    fn dim(&self) -> usize;

    /// Names everything that decides the vectors (weights, tokenizer, pooling, length, precision), as hex: equal
    /// fingerprints give equal vectors for equal texts.
    fn fingerprint(&self) -> &str;

    /// The prompts that the model asks for.
    fn prompts(&self) -> &Prompts;

    /// Writes the vector of each text (prompt included) into `out` `[texts][dim]`, on the current rayon pool. A
    /// text's vector has the same bits whatever texts stand beside it.
    ///
    /// # Errors
    /// The model's own, or [`crate::Error::Interrupted`] soon after `cancel` is set.
    fn encode(&self, texts: &[&str], out: &mut [f32], cancel: &AtomicBool) -> Result<()>;
}
