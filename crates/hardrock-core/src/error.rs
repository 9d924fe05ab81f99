//! What can go wrong in a pure stage.

/// Short for a result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of the pure stages; each carries the operands that a person needs to mend it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter outside its legal range.
    #[error("{stage}.{field} must be {must}, got {got}")]
    Parameter {
        /// Component name, as in the TOML.
        stage: &'static str,
        /// Field name, as in the TOML.
        field: &'static str,
        /// The legal range, in words.
        must: &'static str,
        /// What was given.
        got: String,
    },
    /// A component that needs a side input which this run does not have.
    #[error("{stage} needs {what}")]
    Missing {
        /// Component name, as in the TOML.
        stage: &'static str,
        /// The missing input, in words.
        what: &'static str,
    },
    /// Two things that must have the same length.
    #[error("{what}: expected {expected}, got {got}")]
    Shape {
        /// What was counted.
        what: &'static str,
        /// The length that fits.
        expected: usize,
        /// The length seen.
        got: usize,
    },
    /// An outside process or model failed; the text is its own.
    #[error("{stage}: {message}")]
    Outside {
        /// Component name, as in the TOML.
        stage: &'static str,
        /// The foreign message.
        message: String,
    },
}
