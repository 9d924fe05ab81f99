//! Logistic regression with a ridge penalty, small and exact: Newton's method in f64 over standardised inputs.
//!
//! Sums run in the order of the rows, so the same rows give the same bits on any machine and for any number of threads.

use serde::{Deserialize, Serialize};

/// Steps after which Newton's method ends in any case; well-posed fits need fewer than ten.
const STEPS: usize = 60;

/// A fitted model: `logit(x) = bias + Σ weight · (x - center) / scale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logistic {
    /// `[inputs]` mean of each input over the fitted rows.
    pub center: Vec<f64>,
    /// `[inputs]` standard deviation of each input, 1 where it does not vary.
    pub scale: Vec<f64>,
    /// `[inputs]` weight of each standardised input.
    pub weights: Vec<f64>,
    /// Logit at the mean of all inputs.
    pub bias: f64,
}

/// Rows to fit.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `[labels, inputs]`, row after row; all finite.
    pub inputs: &'a [f64],
    /// One label per row.
    pub labels: &'a [bool],
    /// Weight of each row, above 0; none = 1 each.
    pub weights: Option<&'a [f64]>,
}

impl Logistic {
    /// Minimises `c · Σ weight · loss + ½ Σ w²`, the bias unpenalised (the convention of scikit-learn). `None` where nothing
    /// can be fitted: one label only, no rows, or slices that do not belong together.
    pub fn fit(rows: Rows<'_>, c: f64) -> Option<Self> {
        let n = rows.labels.len();
        let positives = rows.labels.iter().filter(|l| **l).count();
        if positives == 0 || positives == n || rows.weights.is_some_and(|w| w.len() != n) {
            return None;
        }
        let d = rows.inputs.len() / n;
        if d * n != rows.inputs.len() || d == 0 || rows.inputs.iter().any(|x| !x.is_finite()) {
            return None;
        }
        let (center, scale) = moments(rows.inputs, d);
        let mut x = rows.inputs.to_vec();
        for row in x.chunks_exact_mut(d) {
            for j in 0..d {
                row[j] = (row[j] - center[j]) / scale[j];
            }
        }
        let weight = |i: usize| c * rows.weights.map_or(1.0, |w| w[i]);
        // The bias is the last coefficient.
        let mut beta = vec![0.0; d + 1];
        let mut value = objective(&x, d, rows.labels, &weight, &beta);
        for _ in 0..STEPS {
            let step = newton_step(&x, d, rows.labels, &weight, &beta)?;
            let slope: f64 = step.iter().map(|s| s.abs()).fold(0.0, f64::max);
            let mut length = 1.0;
            loop {
                let next: Vec<f64> = beta.iter().zip(&step).map(|(b, s)| b - length * s).collect();
                let tried = objective(&x, d, rows.labels, &weight, &next);
                if tried <= value || length < 1e-8 {
                    (beta, value) = (next, tried);
                    break;
                }
                length *= 0.5;
            }
            if slope < 1e-10 {
                break;
            }
        }
        let bias = beta.pop()?;
        Some(Self { center, scale, weights: beta, bias })
    }

    /// Log-odds of one row `[inputs]`. An input that is NaN counts as its mean.
    pub fn logit(&self, x: &[f64]) -> f64 {
        self.bias + (0..self.weights.len()).map(|j| self.part(x, j)).sum::<f64>()
    }

    /// What input `j` adds to the log-odds of this row; 0 at the mean.
    pub fn part(&self, x: &[f64], j: usize) -> f64 {
        let standard = (x[j] - self.center[j]) / self.scale[j];
        if standard.is_nan() { 0.0 } else { self.weights[j] * standard }
    }
}

/// The probability of a log-odds.
pub fn probability(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// The log-odds of a probability, held within ±16.
pub fn log_odds(p: f64) -> f64 {
    let p = p.clamp(1e-7, 1.0 - 1e-7);
    (p / (1.0 - p)).ln()
}

fn moments(x: &[f64], d: usize) -> (Vec<f64>, Vec<f64>) {
    let n = (x.len() / d) as f64;
    let mut center = vec![0.0; d];
    let mut scale = vec![0.0; d];
    for row in x.chunks_exact(d) {
        (0..d).for_each(|j| center[j] += row[j] / n);
    }
    for row in x.chunks_exact(d) {
        (0..d).for_each(|j| scale[j] += (row[j] - center[j]).powi(2) / n);
    }
    for s in &mut scale {
        *s = if *s > 1e-18 { s.sqrt() } else { 1.0 };
    }
    (center, scale)
}

fn margin(row: &[f64], beta: &[f64]) -> f64 {
    row.iter().zip(beta).map(|(x, b)| x * b).sum::<f64>() + beta[row.len()]
}

/// ln(1 + e^z) without overflow.
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

fn objective(x: &[f64], d: usize, labels: &[bool], weight: &impl Fn(usize) -> f64, beta: &[f64]) -> f64 {
    let loss: f64 = x
        .chunks_exact(d)
        .zip(labels)
        .enumerate()
        .map(|(i, (row, &label))| {
            let z = margin(row, beta);
            weight(i) * (softplus(z) - if label { z } else { 0.0 })
        })
        .sum();
    loss + 0.5 * beta[..d].iter().map(|b| b * b).sum::<f64>()
}

/// Inverse Hessian times gradient. `None` where the Hessian is not positive definite.
fn newton_step(
    x: &[f64],
    d: usize,
    labels: &[bool],
    weight: &impl Fn(usize) -> f64,
    beta: &[f64],
) -> Option<Vec<f64>> {
    let width = d + 1;
    let mut gradient = vec![0.0; width];
    let mut hessian = vec![0.0; width * width];
    for (i, (row, &label)) in x.chunks_exact(d).zip(labels).enumerate() {
        let p = probability(margin(row, beta));
        let pull = weight(i) * (p - f64::from(u8::from(label)));
        let bend = weight(i) * p * (1.0 - p);
        for j in 0..width {
            let xj = row.get(j).copied().unwrap_or(1.0);
            gradient[j] += pull * xj;
            let part = bend * xj;
            for k in 0..=j {
                hessian[j * width + k] += part * row.get(k).copied().unwrap_or(1.0);
            }
        }
    }
    for j in 0..d {
        gradient[j] += beta[j];
        hessian[j * width + j] += 1.0;
    }
    // A bias that the labels hardly hold (all weights tiny) still needs a pivot.
    hessian[width * width - 1] += 1e-9;
    solve(&mut hessian, gradient, width)
}

/// Solves a symmetric positive definite system by Cholesky; the lower triangle is given and overwritten.
fn solve(a: &mut [f64], mut b: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    for j in 0..n {
        for k in 0..j {
            let part = a[j * n + k];
            for i in j..n {
                a[i * n + j] -= a[i * n + k] * part;
            }
        }
        let pivot = a[j * n + j];
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        let root = pivot.sqrt();
        for i in j..n {
            a[i * n + j] /= root;
        }
    }
    for i in 0..n {
        let known: f64 = (0..i).map(|k| a[i * n + k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[k * n + i] * b[k]).sum();
        b[i] = (b[i] - known) / a[i * n + i];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    /// Rows of two inputs whose labels follow `2 x - y + .5`.
    fn drawn(n: usize) -> (Vec<f64>, Vec<bool>) {
        let (mut x, mut labels) = (Vec::new(), Vec::new());
        for i in 0..n {
            let mut rng = Rng::at(1, 2, i as u64);
            let (a, b) = (rng.unit() * 4.0 - 2.0, rng.unit() * 6.0 - 3.0);
            x.extend([a, b]);
            labels.push(rng.unit() < probability(2.0 * a - b + 0.5));
        }
        (x, labels)
    }

    #[test]
    fn a_known_model_is_found_again() {
        let (x, labels) = drawn(20_000);
        let model = Logistic::fit(Rows { inputs: &x, labels: &labels, weights: None }, 1e3).unwrap();
        let raw: Vec<f64> = model.weights.iter().zip(&model.scale).map(|(w, s)| w / s).collect();
        assert!((raw[0] - 2.0).abs() < 0.1 && (raw[1] + 1.0).abs() < 0.06, "{raw:?}");
        assert!((model.logit(&[0.0, 0.0]) - 0.5).abs() < 0.08);
    }

    #[test]
    fn the_gradient_is_zero_at_the_fit() {
        let (x, labels) = drawn(300);
        let c = 0.1;
        let m = Logistic::fit(Rows { inputs: &x, labels: &labels, weights: None }, c).unwrap();
        for j in 0..2 {
            let slope: f64 = x
                .chunks_exact(2)
                .zip(&labels)
                .map(|(r, &l)| {
                    let pull = probability(m.logit(r)) - f64::from(u8::from(l));
                    c * pull * (r[j] - m.center[j]) / m.scale[j]
                })
                .sum();
            assert!((slope + m.weights[j]).abs() < 1e-7, "{slope} {}", m.weights[j]);
        }
    }

    #[test]
    fn a_weight_of_two_is_a_row_given_twice() {
        let (x, labels) = drawn(50);
        let double: Vec<f64> = x.iter().chain(&x[..2]).copied().collect();
        let mut twice = labels.clone();
        twice.push(labels[0]);
        let mut weights = vec![1.0; 50];
        weights[0] = 2.0;
        let a = Logistic::fit(Rows { inputs: &double, labels: &twice, weights: None }, 1.0).unwrap();
        let b = Logistic::fit(Rows { inputs: &x, labels: &labels, weights: Some(&weights) }, 1.0).unwrap();
        // Standardising differs a little, the penalty with it.
        assert!((a.logit(&[1.0, 1.0]) - b.logit(&[1.0, 1.0])).abs() < 0.05);
    }

    #[test]
    fn separable_labels_stay_finite_and_one_label_is_refused() {
        let x = [0.0, 1.0, 2.0, 3.0];
        let model =
            Logistic::fit(Rows { inputs: &x, labels: &[false, false, true, true], weights: None }, 1.0)
                .unwrap();
        assert!(model.weights[0] > 0.5 && model.weights[0].is_finite());
        assert!(Logistic::fit(Rows { inputs: &x, labels: &[true; 4], weights: None }, 1.0).is_none());
        assert!(
            Logistic::fit(Rows { inputs: &[f64::NAN; 2], labels: &[true, false], weights: None }, 1.0)
                .is_none()
        );
    }

    #[test]
    fn an_unknown_input_counts_as_its_mean() {
        let model = Logistic { center: vec![5.0], scale: vec![2.0], weights: vec![3.0], bias: -1.0 };
        assert_eq!(model.logit(&[f64::NAN]), -1.0);
        assert_eq!(model.logit(&[7.0]), 2.0);
    }
}
