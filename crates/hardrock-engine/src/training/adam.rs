//! Adam, row by row: only rows that a batch touches are read or written.

/// The constants of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Decay of the mean gradient, in `[0, 1)`.
    pub beta1: f32,
    /// Decay of the mean squared gradient, in `[0, 1)`.
    pub beta2: f32,
    /// Added to the root of the mean square, `> 0`.
    pub epsilon: f32,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// Parameters of one row with their running means.
pub(super) struct Row<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) mean: &'a mut [f32],
    pub(super) square: &'a mut [f32],
}

impl Adam {
    /// The length of a step at this rate, `step` counted from 1 over all steps, whether they touched the row or not.
    pub(super) fn length(&self, rate: f32, step: u64) -> f32 {
        let left = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        (f64::from(rate) * left(self.beta2).sqrt() / left(self.beta1)) as f32
    }

    /// One step of the row against `slope` `[columns]`. A row that a step does not touch keeps its means as they are, as
    /// in PyTorch's `SparseAdam`.
    pub(super) fn step(&self, row: Row<'_>, slope: &[f32], length: f32) {
        let (keep1, keep2) = (1.0 - self.beta1, 1.0 - self.beta2);
        let means = row.mean.iter_mut().zip(row.square);
        for ((value, (mean, square)), &g) in row.values.iter_mut().zip(means).zip(slope) {
            *mean += keep1 * (g - *mean);
            *square += keep2 * (g * g - *square);
            *value -= length * *mean / (square.sqrt() + self.epsilon);
        }
    }
}
