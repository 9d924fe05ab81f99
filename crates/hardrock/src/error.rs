//! What can go wrong between files and files, said so that a person can mend it.

use std::path::{Path, PathBuf};

/// Short for a result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of reading, running and writing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A record that cannot be read: exit code 2.
    #[error(transparent)]
    Input(Box<InputError>),
    /// Options that contradict each other or the data: exit code 2.
    #[error("{problem}")]
    Usage {
        /// What is wrong, with the values.
        problem: String,
        /// What to do about it.
        help: String,
    },
    /// An output that is already there: exit code 2.
    #[error("{} already exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system refused: a missing or unreadable file (exit code 2 while reading), a full disk (exit code 1).
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create` …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A pure stage failed.
    #[error(transparent)]
    Core(#[from] hardrock_core::Error),
    /// An index failed.
    #[error(transparent)]
    Engine(Box<dyn std::error::Error + Send + Sync>),
    /// A library's own error about a file (Parquet, Arrow, safetensors …).
    #[error("{}: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The library's word.
        message: String,
    },
    /// A server that a model lies behind does not do what it should: exit code 1.
    #[error("{problem}")]
    Server {
        /// The address, and what it answered.
        problem: String,
        /// What to do about it.
        help: String,
    },
    /// Stopped by the user; finished chunks are kept.
    #[error("interrupted; finished work is kept, the same command goes on from there")]
    Interrupted,
}

/// Gives back our own error where an index only carried it.
fn carried(inner: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match inner.downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => Error::Engine(other),
    }
}

impl From<hardrock_engine::index::IndexError> for Error {
    fn from(e: hardrock_engine::index::IndexError) -> Self {
        use hardrock_engine::index::IndexError;
        match e {
            IndexError::Cancelled => Self::Interrupted,
            IndexError::Texts(inner) => carried(inner),
            IndexError::Option { .. } => Self::usage(e.to_string(), ""),
            IndexError::Io { path, source } => Self::Io { action: "use", path, source },
            other => Self::Engine(Box::new(other)),
        }
    }
}

impl From<hardrock_engine::encoders::Error> for Error {
    fn from(e: hardrock_engine::encoders::Error) -> Self {
        use hardrock_engine::encoders::Error as Model;
        match e {
            Model::Read(inner) => carried(inner),
            Model::Token { .. } => {
                Self::usage(e.to_string(), "the model's tokenizer and weights do not belong together")
            }
            other => Self::Engine(Box::new(other)),
        }
    }
}

impl From<hardrock_engine::index::rows::Error> for Error {
    fn from(e: hardrock_engine::index::rows::Error) -> Self {
        use hardrock_engine::index::rows::Error as Rows;
        match e {
            Rows::Cancelled => Self::Interrupted,
            Rows::Read(inner) => carried(inner),
            Rows::Dimension { .. } => Self::usage(e.to_string(), ""),
            other => Self::Engine(Box::new(other)),
        }
    }
}

/// A record that cannot be read: where, what, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputError {
    /// The file.
    pub path: PathBuf,
    /// Line (text) or row (Parquet, vectors), from 1; `None` = the file as a whole.
    pub line: Option<u64>,
    /// The field or column.
    pub field: Option<String>,
    /// What is wrong, with the value seen.
    pub problem: String,
    /// What to do about it.
    pub help: String,
}

impl std::fmt::Display for InputError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": field `{field}`")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for InputError {}

impl Error {
    /// An input error; add the field by [`Error::field`].
    pub fn input(
        path: &Path,
        line: impl Into<Option<u64>>,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::Input(Box::new(InputError {
            path: path.to_owned(),
            line: line.into(),
            field: None,
            problem: problem.into(),
            help: help.into(),
        }))
    }

    /// Names the field of an input error.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        if let Self::Input(e) = &mut self {
            e.field = Some(name.to_owned());
        }
        self
    }

    /// A usage error.
    pub fn usage(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { problem: problem.into(), help: help.into() }
    }

    /// Wraps a system error: `.map_err(Error::io("read", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Wraps a library's error about a file.
    pub fn format<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |e| Self::Format { path, message: e.to_string() }
    }

    /// How to mend it, where we know.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Input(e) if !e.help.is_empty() => Some(e.help.clone()),
            Self::Usage { help, .. } | Self::Server { help, .. } if !help.is_empty() => Some(help.clone()),
            Self::Exists { .. } => Some("give another name with -o, or add --force to replace it".into()),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Some(
                "free some space, or put the work folder elsewhere with --work; finished chunks are kept"
                    .into(),
            ),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("check the path".into())
            }
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("check the file's permissions".into())
            }
            _ => None,
        }
    }

    /// The process's exit code: 2 for bad usage or input, 130 for an interruption, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) | Self::Usage { .. } | Self::Exists { .. } | Self::Format { .. } => 2,
            Self::Io { action: "read" | "open", .. } => 2,
            Self::Core(hardrock_core::Error::Parameter { .. } | hardrock_core::Error::Missing { .. }) => 2,
            Self::Interrupted => 130,
            _ => 1,
        }
    }
}
