//! Rows of vectors as the indexes take them: in memory, or read from a file piece by piece.

use rayon::prelude::*;

/// Why a search stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The flag of [`super::flat::Watch`] was set.
    #[error("search cancelled")]
    Cancelled,
    /// The two sides do not belong together.
    #[error(
        "anchors have {anchors} dimensions but documents have {documents}; \
         encode both sides with the same model"
    )]
    Dimension {
        /// Columns of the anchors.
        anchors: usize,
        /// Columns of the documents.
        documents: usize,
    },
    /// A number that cannot be searched with.
    #[error("{what} must be {must}, got {got}")]
    Parameter {
        /// What it counts.
        what: &'static str,
        /// Its legal range.
        must: &'static str,
        /// The value given.
        got: usize,
    },
    /// The rows could not be read; the source says where and why.
    #[error(transparent)]
    Read(Box<dyn std::error::Error + Send + Sync>),
}

/// Result of a search.
pub type Result<T> = std::result::Result<T, Error>;

/// Rows of vectors that can be read anywhere, in memory or from a file.
pub trait Rows: Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Columns, at least 1.
    fn dim(&self) -> usize;

    /// Writes the rows from `start` into `out` `[n][dim]`, ready for inner products (unit length if the metric
    /// is the cosine). A row has the same bits however it is read.
    ///
    /// # Errors
    /// [`Error::Read`], from the medium.
    fn read(&self, start: usize, out: &mut [f32]) -> Result<()>;
}

/// Rows in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    data: Vec<f32>,
    dim: usize,
}

impl Matrix {
    /// `data` `[rows][dim]`, taken as it is.
    ///
    /// # Errors
    /// [`Error::Parameter`] if `dim` is 0 or the data are no whole number of rows.
    pub fn new(data: Vec<f32>, dim: usize) -> Result<Self> {
        if dim == 0 {
            return Err(Error::Parameter { what: "dimension", must: "at least 1", got: 0 });
        }
        if !data.len().is_multiple_of(dim) {
            let got = data.len();
            return Err(Error::Parameter { what: "values", must: "a whole number of rows", got });
        }
        Ok(Matrix { data, dim })
    }

    /// The same rows at unit length, for the cosine.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.data.par_chunks_mut(self.dim).for_each(normalise);
        self
    }

    /// All rows, row-major.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }
}

impl Rows for Matrix {
    fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(&self.data[start * self.dim..][..out.len()]);
        Ok(())
    }
}

/// Brings a row to unit length; a row of zeros stays. The sum is in double precision and in an order of its
/// own, so that the same row always gets the same bits.
pub fn normalise(row: &mut [f32]) {
    let norm = norm(row);
    if norm > 0.0 {
        for x in row {
            *x = (f64::from(*x) / norm) as f32;
        }
    }
}

/// Length of a row, exact to double precision.
pub fn norm(row: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let mut parts = row.chunks_exact(8);
    for part in &mut parts {
        for (sum, &x) in sums.iter_mut().zip(part) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(parts.remainder()) {
        *sum += f64::from(x) * f64::from(x);
    }
    sums.iter().sum::<f64>().sqrt()
}
