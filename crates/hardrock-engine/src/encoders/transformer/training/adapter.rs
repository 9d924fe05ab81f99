//! Low-rank adapters (`LoRA`): a matrix stays as it is and a product of two thin ones is added to it.
//!
//! Hu et al. 2021 (arXiv 2106.09685). The sum is packed like any matrix, so the passes cost what they cost without; the
//! slopes of the thin ones follow from the matrix's own: dB = s·dW·Aᵀ, dA = s·Bᵀ·dW.

use rayon::prelude::*;

use hardrock_core::Rng;

/// `W + scale · B A`.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    rank: usize,
    columns: usize,
    scale: f32,
    /// `[rank][columns]`.
    pub(super) a: Vec<f32>,
    /// `[rows][rank]`.
    pub(super) b: Vec<f32>,
    pub(super) a_slope: Vec<f32>,
    pub(super) b_slope: Vec<f32>,
    /// Slopes of the matrix, which the two follow from.
    whole: Vec<f32>,
}

impl Adapter {
    /// An adapter that adds nothing yet: A uniform as PyTorch draws it for a linear layer, B zero.
    pub(super) fn new(rows: usize, columns: usize, rank: usize, alpha: f32, seed: u64, number: u64) -> Self {
        let mut rng = Rng::at(seed, 0x1024, number);
        let reach = 1.0 / (columns as f64).sqrt();
        let a: Vec<f32> = (0..rank * columns).map(|_| ((rng.unit() * 2.0 - 1.0) * reach) as f32).collect();
        Self {
            rank,
            columns,
            scale: alpha / rank as f32,
            a_slope: vec![0.0; a.len()],
            a,
            b: vec![0.0; rows * rank],
            b_slope: vec![0.0; rows * rank],
            whole: Vec::new(),
        }
    }

    /// The matrix `values` `[rows][columns]` with what the adapter adds.
    pub(super) fn merged(&self, values: &[f32]) -> Vec<f32> {
        let mut out = values.to_vec();
        for (row, b) in out.chunks_exact_mut(self.columns).zip(self.b.chunks_exact(self.rank)) {
            for (&b, a) in b.iter().zip(self.a.chunks_exact(self.columns)) {
                let by = self.scale * b;
                row.iter_mut().zip(a).for_each(|(x, a)| *x = by.mul_add(*a, *x));
            }
        }
        out
    }

    /// The slopes of the matrix, to be added to.
    pub(super) fn whole_slope(&mut self) -> &mut [f32] {
        self.whole.resize(self.b.len() / self.rank * self.columns, 0.0);
        &mut self.whole
    }

    /// Turns the slopes of the matrix into those of the adapter.
    pub(super) fn collect(&mut self) {
        if self.whole.is_empty() {
            return;
        }
        let Self { rank, columns, scale, a, b, whole, .. } = self;
        let (rank, columns, scale) = (*rank, *columns, *scale);
        let rows = self.b_slope.par_chunks_exact_mut(rank).zip(whole.par_chunks_exact(columns));
        rows.for_each(|(slope, d)| {
            for (slope, a) in slope.iter_mut().zip(a.chunks_exact(columns)) {
                let dot: f64 = d.iter().zip(a).map(|(d, a)| f64::from(*d) * f64::from(*a)).sum();
                *slope += (f64::from(scale) * dot) as f32;
            }
        });
        self.a_slope.par_chunks_exact_mut(columns).enumerate().for_each(|(r, slope)| {
            for (d, b) in whole.chunks_exact(columns).zip(b.chunks_exact(rank)) {
                let by = scale * b[r];
                slope.iter_mut().zip(d).for_each(|(slope, d)| *slope = by.mul_add(*d, *slope));
            }
        });
        self.whole.fill(0.0);
    }

    /// Sets all slopes to zero.
    pub(super) fn clear_slopes(&mut self) {
        self.a_slope.fill(0.0);
        self.b_slope.fill(0.0);
        self.whole.fill(0.0);
    }
}
