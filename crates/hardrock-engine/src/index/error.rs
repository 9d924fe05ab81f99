//! What can go wrong while an index is built, opened or asked.

use std::path::PathBuf;

/// Result of everything in [`crate::index`].
pub type Result<T> = std::result::Result<T, IndexError>;

/// A failure of an index, with the operands that explain it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// An option outside its legal range.
    #[error("{stage}.{field} must be {must}, got {got}{hint}")]
    Option {
        /// Section the option stands in, such as `tokens`.
        stage: &'static str,
        /// The option's name.
        field: &'static str,
        /// What is allowed.
        must: String,
        /// What was given.
        got: String,
        /// Empty, or a mend that starts with "; ".
        hint: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A writer without a path failed.
    #[error("writing an index: {0}")]
    Write(#[source] std::io::Error),
    /// An index file that does not hold what it should.
    #[error("{}: {what}; delete the file so that it is built again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, in words.
        what: String,
    },
    /// More documents or terms than 32-bit ids can name.
    #[error("{what}: {got} are too many, at most {most} fit")]
    TooMany {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// A document id that the corpus does not hold.
    #[error("document {id} does not exist, the index holds {len}")]
    NoSuchDocument {
        /// The id asked for.
        id: usize,
        /// Number of documents.
        len: usize,
    },
    /// The given texts could not be read.
    #[error(transparent)]
    Texts(Box<dyn std::error::Error + Send + Sync>),
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Cancelled,
}
