//! Encoders: token ids of a text in, one vector out.
//!
//! Files, hub ids and tokenizers are the business of the crate above; here a model is its configuration and its
//! tensors.

pub mod head;
pub mod static_bag;
pub mod transformer;

/// A named tensor of a model, as f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Lengths of the axes, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// Where a model's weights come from.
pub trait Tensors {
    /// The tensor of that name, or none if the model has none.
    ///
    /// # Errors
    /// [`Error::Read`] if it is there but cannot be read.
    fn get(&self, name: &str) -> Result<Option<Tensor>>;

    /// Whether there is a tensor of that name.
    fn has(&self, name: &str) -> bool;
}

/// Why a model cannot be built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor that the architecture needs is missing.
    #[error("the model has no tensor `{0}`")]
    Missing(String),
    /// A tensor of the wrong shape.
    #[error("tensor `{name}` has the shape {got:?}, the configuration asks for {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// What the configuration asks for.
        expected: Vec<usize>,
        /// What the file holds.
        got: Vec<usize>,
    },
    /// A setting that is not supported.
    #[error("{what} `{got}` is not supported; {mend}")]
    Unsupported {
        /// The setting.
        what: &'static str,
        /// Its value.
        got: String,
        /// What would work.
        mend: &'static str,
    },
    /// A token that the model has no embedding for.
    #[error("token {token} is beyond the vocabulary of {vocabulary}")]
    Token {
        /// The id.
        token: u32,
        /// Rows of the embedding table.
        vocabulary: usize,
    },
    /// A text that the model has no places for.
    #[error("a text of {tokens} tokens, but the model has places for {longest}")]
    Length {
        /// Tokens of the text.
        tokens: usize,
        /// Places of the model.
        longest: usize,
    },
    /// The weights could not be read; the source says where and why.
    #[error(transparent)]
    Read(Box<dyn std::error::Error + Send + Sync>),
}

/// Numbers that a model computes with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Weights and activations of the layers' products in 8 bits, each token and each output with its own scale; all else
    /// in 32-bit floats.
    Int8,
}

impl Precision {
    /// `f32` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }

    /// By its name; none for any other.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::F32, Self::Int8].into_iter().find(|p| p.name() == name)
    }
}

/// Result of building or running a model.
pub type Result<T> = std::result::Result<T, Error>;

/// A model that turns texts, given as token ids (special tokens included, cut to the model's length), into
/// vectors.
pub trait Encoder: Send + Sync {
    /// Columns of a vector.
    fn dim(&self) -> usize;

    /// Writes the vector of each text into `out` `[texts][dim]`, on the current rayon pool. A text's vector has the
    /// same bits whatever texts stand beside it and however many threads there are.
    ///
    /// # Errors
    /// [`Error::Token`].
    fn encode(&self, texts: &[&[u32]], out: &mut [f32]) -> Result<()>;
}
