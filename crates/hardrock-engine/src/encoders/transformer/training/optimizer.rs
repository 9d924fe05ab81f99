//! Adam with decoupled weight decay, and how its rate goes over the steps.
//!
//! Loshchilov and Hutter 2019 (arXiv 1711.05101), with the numbers of PyTorch's `AdamW`.

use rayon::prelude::*;

use super::parameters::{Parameters, Rows, Slope};

/// How rows of the table of tokens are stepped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableRows {
    /// Only those that the batches since the last step touched: a step costs what they hold.
    #[default]
    Touched,
    /// All, also by momentum and decay alone, as PyTorch does.
    All,
}

/// Settings of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Share of the mean of slopes that stays per step, in `[0, 1)`.
    pub beta1: f32,
    /// Share of the mean of squares that stays per step, in `[0, 1)`.
    pub beta2: f32,
    /// Added to the root of the mean of squares, `> 0`.
    pub eps: f32,
    /// Share of a weight that goes per step and unit of rate, `>= 0`.
    pub decay: f32,
    /// Whether biases and norms decay too; transformers' trainer leaves them out.
    pub decay_vectors: bool,
    /// Greatest length of all slopes together; longer ones are scaled down. None leaves them.
    pub clip: Option<f32>,
    /// Rows of the table of tokens.
    pub rows: TableRows,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            decay: 0.01,
            decay_vectors: false,
            clip: Some(1.0),
            rows: TableRows::Touched,
        }
    }
}

/// How the rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fall {
    /// Not at all.
    Constant,
    /// To 0 at the last step, in a line.
    #[default]
    Linear,
    /// To 0 at the last step, along half a cosine.
    Cosine,
}

/// The rate of each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Greatest rate.
    pub peak: f32,
    /// Steps on the way to it.
    pub warm_up: u64,
    /// Steps in all.
    pub steps: u64,
    /// How it falls afterwards.
    pub fall: Fall,
}

impl Schedule {
    /// The rate of step `step`, counted from 0, as transformers' schedules have it: 0 for the first step of a warm-up.
    pub fn rate(&self, step: u64) -> f32 {
        if step < self.warm_up {
            return (f64::from(self.peak) * step as f64 / self.warm_up as f64) as f32;
        }
        let span = self.steps.saturating_sub(self.warm_up).max(1) as f64;
        let way = ((step - self.warm_up) as f64 / span).min(1.0);
        let share = match self.fall {
            Fall::Constant => 1.0,
            Fall::Linear => 1.0 - way,
            Fall::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * way).cos()),
        };
        (f64::from(self.peak) * share) as f32
    }
}

/// Means of slopes and of their squares; empty until the first step.
#[derive(Debug, Clone, Default)]
pub(super) struct Moments {
    pub(super) mean: Vec<f32>,
    pub(super) square: Vec<f32>,
}

/// The optimiser's memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) steps: u64,
    /// Per parameter: its own or its adapter's two.
    pub(super) moments: Vec<[Moments; 2]>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stepped {
    /// Length of all slopes together, before clipping.
    pub norm: f64,
    /// What they were multiplied with.
    pub scale: f32,
}

/// Numbers that a thread takes at once; sums of squares are grouped by it, so it is the same everywhere.
const PIECE: usize = 1 << 14;

/// The numbers of one step.
#[derive(Clone, Copy)]
struct Rule {
    settings: AdamW,
    scale: f32,
    /// `1 - rate * decay`.
    keep: f32,
    /// The rate over the first correction.
    rate: f32,
    /// One over the root of the second correction.
    root: f32,
}

impl Rule {
    fn update(&self, values: &mut [f32], slope: &[f32], mean: &mut [f32], square: &mut [f32]) {
        let AdamW { beta1, beta2, eps, .. } = self.settings;
        for ((x, d), (mean, square)) in values.iter_mut().zip(slope).zip(mean.iter_mut().zip(square)) {
            let d = d * self.scale;
            *mean += (d - *mean) * (1.0 - beta1);
            *square = *square * beta2 + d * d * (1.0 - beta2);
            *x = *x * self.keep - self.rate * *mean / (square.sqrt() * self.root + eps);
        }
    }

    fn all(&self, values: &mut [f32], slope: &[f32], moments: &mut Moments) {
        moments.mean.resize(values.len(), 0.0);
        moments.square.resize(values.len(), 0.0);
        values
            .par_chunks_mut(PIECE)
            .zip(slope.par_chunks(PIECE))
            .zip(moments.mean.par_chunks_mut(PIECE).zip(moments.square.par_chunks_mut(PIECE)))
            .for_each(|((values, slope), (mean, square))| self.update(values, slope, mean, square));
    }

    fn table(&self, values: &mut [f32], rows: &Rows, moments: &mut Moments) {
        let columns = rows.columns;
        if moments.mean.is_empty() {
            // Zeroed pages that no row touches cost nothing.
            moments.mean = vec![0.0; values.len()];
            moments.square = vec![0.0; values.len()];
        }
        match self.settings.rows {
            TableRows::Touched => {
                for (&row, slope) in rows.touched.iter().zip(rows.values.chunks_exact(columns)) {
                    let at = row as usize * columns..(row as usize + 1) * columns;
                    let (mean, square) = (&mut moments.mean[at.clone()], &mut moments.square[at.clone()]);
                    self.update(&mut values[at], slope, mean, square);
                }
            }
            TableRows::All => {
                let none = vec![0.0; columns];
                values
                    .par_chunks_mut(columns)
                    .zip(moments.mean.par_chunks_mut(columns).zip(moments.square.par_chunks_mut(columns)))
                    .enumerate()
                    .for_each(|(row, (values, (mean, square)))| {
                        self.update(values, rows.get(row).unwrap_or(&none), mean, square);
                    });
            }
        }
    }
}

fn squares(slope: &[f32]) -> f64 {
    let piece = |piece: &[f32]| piece.iter().map(|&d| f64::from(d) * f64::from(d)).sum::<f64>();
    let pieces: Vec<f64> = slope.par_chunks(PIECE).map(piece).collect();
    pieces.into_iter().sum()
}

impl Memory {
    /// Steps all parameters along their slopes.
    pub(super) fn step(&mut self, settings: AdamW, parameters: &mut Parameters, rate: f32) -> Stepped {
        self.steps += 1;
        self.moments.resize_with(parameters.all.len(), Default::default);
        let norm = parameters.all.iter().map(|parameter| match (&parameter.adapter, &parameter.slope) {
            (Some(adapter), _) => squares(&adapter.a_slope) + squares(&adapter.b_slope),
            (None, Slope::Dense(slope)) => squares(slope),
            (None, Slope::Rows(rows)) => squares(&rows.values),
            (None, Slope::Fixed) => 0.0,
        });
        let norm = norm.sum::<f64>().sqrt();
        let scale = match settings.clip {
            // As PyTorch's clip_grad_norm_.
            Some(most) => (f64::from(most) / (norm + 1e-6)).min(1.0) as f32,
            None => 1.0,
        };
        let steps = self.steps as i32;
        let correction = |beta: f32| 1.0 - f64::from(beta).powi(steps);
        let rule = Rule {
            settings,
            scale,
            keep: 1.0,
            rate: (f64::from(rate) / correction(settings.beta1)) as f32,
            root: (1.0 / correction(settings.beta2).sqrt()) as f32,
        };
        let decayed = Rule { keep: (1.0 - f64::from(rate) * f64::from(settings.decay)) as f32, ..rule };
        for (parameter, [first, second]) in parameters.all.iter_mut().zip(&mut self.moments) {
            let decays = settings.decay_vectors || parameter.shape.len() > 1;
            let rule = if decays { decayed } else { rule };
            match (&mut parameter.adapter, &parameter.slope) {
                (Some(adapter), _) => {
                    rule.all(&mut adapter.a, &adapter.a_slope, first);
                    rule.all(&mut adapter.b, &adapter.b_slope, second);
                }
                (None, Slope::Dense(slope)) => rule.all(&mut parameter.values, slope, first),
                (None, Slope::Rows(rows)) => rule.table(&mut parameter.values, rows, first),
                (None, Slope::Fixed) => {}
            }
        }
        Stepped { norm, scale }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_climbs_and_falls_as_asked() {
        let at = |fall, step| Schedule { peak: 2.0, warm_up: 4, steps: 12, fall }.rate(step);
        assert_eq!([at(Fall::Linear, 0), at(Fall::Linear, 1), at(Fall::Linear, 4)], [0.0, 0.5, 2.0]);
        assert_eq!([at(Fall::Linear, 8), at(Fall::Linear, 12), at(Fall::Linear, 99)], [1.0, 0.0, 0.0]);
        assert_eq!([at(Fall::Constant, 4), at(Fall::Constant, 12)], [2.0, 2.0]);
        assert!((at(Fall::Cosine, 8) - 1.0).abs() < 1e-6 && at(Fall::Cosine, 6) > 1.7);
        assert_eq!(Schedule { peak: 1.0, warm_up: 0, steps: 0, fall: Fall::Linear }.rate(0), 1.0);
    }
}
