//! Tensors by name, with their shapes checked.

use crate::encoders::{Error, Result, Tensor, Tensors};

/// Reads a model's tensors, whose names may all begin with a prefix such as `bert.`.
pub(super) struct Loader<'a> {
    tensors: &'a dyn Tensors,
    prefix: &'static str,
}

impl<'a> Loader<'a> {
    /// Looks for `probe` as it stands, then under `prefix`, and remembers which it was.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is nowhere; [`Error::Read`].
    pub(super) fn new(tensors: &'a dyn Tensors, prefix: &'static str, probe: &str) -> Result<Self> {
        for prefix in ["", prefix] {
            if tensors.has(&format!("{prefix}{probe}")) {
                return Ok(Self { tensors, prefix });
            }
        }
        Err(Error::Missing(probe.to_owned()))
    }

    /// Whether there is a tensor of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.has(&format!("{}{name}", self.prefix))
    }

    fn get(&self, name: &str, expected: &[Option<usize>]) -> Result<Option<Tensor>> {
        let name = format!("{}{name}", self.prefix);
        let Some(tensor) = self.tensors.get(&name)? else { return Ok(None) };
        let fits = tensor.shape.len() == expected.len()
            && tensor.shape.iter().zip(expected).all(|(&got, want)| want.is_none_or(|want| want == got));
        if fits {
            return Ok(Some(tensor));
        }
        // A free axis is shown as it is in the file.
        let shown = expected
            .iter()
            .enumerate()
            .map(|(axis, want)| want.unwrap_or_else(|| tensor.shape.get(axis).copied().unwrap_or(0)));
        Err(Error::Shape { name, expected: shown.collect(), got: tensor.shape })
    }

    fn required(&self, name: &str, expected: &[Option<usize>]) -> Result<Tensor> {
        let tensor = self.get(name, expected)?;
        tensor.ok_or_else(|| Error::Missing(format!("{}{name}", self.prefix)))
    }

    /// `[rows][columns]`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`], [`Error::Read`].
    pub(super) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Vec<f32>> {
        Ok(self.required(name, &[Some(rows), Some(columns)])?.values)
    }

    /// `[rows][columns]` with as many rows as there are.
    ///
    /// # Errors
    /// As [`Loader::matrix`].
    pub(super) fn table(&self, name: &str, columns: usize) -> Result<Vec<f32>> {
        Ok(self.required(name, &[None, Some(columns)])?.values)
    }

    /// `[length]`.
    ///
    /// # Errors
    /// As [`Loader::matrix`].
    pub(super) fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        Ok(self.required(name, &[Some(length)])?.values)
    }

    /// `[length]`, where the model has it.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Read`].
    pub(super) fn optional(&self, name: &str, length: usize) -> Result<Option<Vec<f32>>> {
        Ok(self.get(name, &[Some(length)])?.map(|t| t.values))
    }
}
