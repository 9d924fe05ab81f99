//! LIST: the row's softmax against its targets. InfoNCE and its relatives.
//!
//! ## Rule
//! z = (s - margin·[positive]) / temperature + log-weight over the kept cells, P = softmax(z). Without soft targets:
//! - `share` (and any single positive): sum of -ln P over the positives / their number
//! - `each`: every positive alone against the negatives, ln(1 + sum of exp(z_n - z_p)), averaged over the positives
//! - `any`: -ln of the sum of P over the positives
//!
//! With soft targets T (brought to a sum of 1 over the kept cells, then mixed with `hard` parts of the uniform distribution
//! over the positives): `kl` sum T ln(T / P), or `js`, half of KL(T, M) + KL(P, M) with M = (T + P) / 2.
//!
//! ## Seen in
//! InfoNCE, sentence-transformers (`MultipleNegativesRankingLoss`), CLIP, SupCon (`share`, `any`), GISTEmbed, LG-ANNA, AR2

use serde::{Deserialize, Serialize};

use super::exp::{dot, exp_all, max, sigmoid, softplus};
use super::{Cells, RowLoss, RowValue, must, warm};
use crate::Result;
use crate::block::Mark;

/// How several positives of a row count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Several {
    /// They share the probability: the loss is lowest where they are equally close.
    #[default]
    Share,
    /// Each alone against the negatives.
    Each,
    /// Any of them may take it all.
    Any,
}

/// How soft targets are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Soft {
    /// Kullback-Leibler, from the targets: cross-entropy less the targets' own entropy.
    #[default]
    Kl,
    /// Jensen-Shannon: bounded by ln 2, so that no row can dominate.
    Js,
}

/// Parameters as written in TOML: `{ list = { temperature = 0.05 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct List {
    /// Divides the scores, above 0. The one number of a loss that may be learned: see `LossValue::temperature_slope`.
    pub temperature: f32,
    /// Subtracted from the positives' scores, in score units.
    pub margin: f32,
    /// How several positives of a row count; read where there are no soft targets.
    pub several: Several,
    /// How soft targets are compared.
    pub soft: Soft,
    /// Share of the positives in soft targets, in `[0, 1]`; 0 = the soft targets alone, 1 = as if there were none.
    pub hard: f32,
}

impl Default for List {
    fn default() -> Self {
        Self { temperature: 0.05, margin: 0.0, several: Several::Share, soft: Soft::Kl, hard: 0.0 }
    }
}

impl List {
    /// InfoNCE at this temperature.
    pub fn new(temperature: f32) -> Result<Self> {
        Self { temperature, ..Self::default() }.check()
    }

    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        warm("list", self.temperature)?;
        must(self.margin.is_finite(), "list", "margin", "finite", self.margin)?;
        must((0.0..=1.0).contains(&self.hard), "list", "hard", "in [0, 1]", self.hard)?;
        Ok(self)
    }

    /// Writes z of the cells that `keep` wants, -inf elsewhere.
    fn logits(&self, row: &Cells<'_>, keep: impl Fn(Mark) -> bool, z: &mut [f32]) {
        let inverse = 1.0 / self.temperature;
        for ((z, s), m) in z.iter_mut().zip(row.scores).zip(row.marks) {
            *z = if keep(*m) { s * inverse } else { f32::NEG_INFINITY };
        }
        if let Some(weights) = row.log_weights {
            // -inf stays -inf: a log-weight is never +inf.
            z.iter_mut().zip(weights).for_each(|(z, w)| *z += w);
        }
        if self.margin != 0.0 {
            for at in row.positives() {
                z[at] -= self.margin * inverse;
            }
        }
    }

    /// z of one cell, in f64, for the few cells that are positives.
    fn logit(&self, row: &Cells<'_>, at: usize) -> f64 {
        let margin = if row.marks[at].is_positive() { self.margin } else { 0.0 };
        f64::from(row.scores[at] - margin) / f64::from(self.temperature) + row.log_weight(at)
    }

    /// Softmax over the kept cells into `p`; returns ln of the sum of e^z.
    pub(super) fn softmax(&self, row: &Cells<'_>, p: &mut [f32]) -> f64 {
        self.logits(row, Mark::is_kept, p);
        let top = max(p);
        let sum = exp_all(p, top);
        let inverse = (1.0 / sum) as f32;
        p.iter_mut().for_each(|p| *p *= inverse);
        f64::from(top) + sum.ln()
    }

    fn share(&self, row: &Cells<'_>, dz: &mut [f32]) -> f64 {
        let total = self.softmax(row, dz);
        let part = 1.0 / row.positives().count() as f64;
        let mut loss = 0.0;
        for at in row.positives() {
            loss += part * (total - self.logit(row, at));
            dz[at] -= part as f32;
        }
        loss
    }

    fn any(&self, row: &Cells<'_>, dz: &mut [f32]) -> f64 {
        let total = self.softmax(row, dz);
        let top = row.positives().map(|at| self.logit(row, at)).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.positives().map(|at| (self.logit(row, at) - top).exp()).sum();
        for at in row.positives() {
            dz[at] -= ((self.logit(row, at) - top).exp() / sum) as f32;
        }
        total - (top + sum.ln())
    }

    fn each(&self, row: &Cells<'_>, dz: &mut [f32]) -> f64 {
        self.logits(row, Mark::is_live, dz);
        let top = max(dz);
        let sum = exp_all(dz, top);
        let negatives = f64::from(top) + sum.ln();
        let part = 1.0 / row.positives().count() as f64;
        let (mut loss, mut pull) = (0.0, 0.0);
        for at in row.positives() {
            let gap = negatives - self.logit(row, at);
            let push = part * sigmoid(gap);
            loss += part * softplus(gap);
            pull += push;
            dz[at] = -push as f32;
        }
        let scale = (pull / sum) as f32;
        // Positives hold their slope already; all other cells hold e^(z - top), 0 where dropped.
        for (d, m) in dz.iter_mut().zip(row.marks) {
            *d *= if m.is_positive() { 1.0 } else { scale };
        }
        loss
    }

    /// Targets of the kept cells, summing to 1, 0 elsewhere.
    fn mixed(&self, row: &Cells<'_>, targets: &[f32]) -> Vec<f64> {
        let kept = |at: usize| if row.marks[at].is_kept() { f64::from(targets[at]) } else { 0.0 };
        let sum: f64 = (0..targets.len()).map(kept).sum();
        let positives = row.positives().count();
        let hard = match positives {
            0 => 0.0,
            _ if sum <= 0.0 => 1.0,
            _ => f64::from(self.hard),
        };
        let soft = if sum > 0.0 { (1.0 - hard) / sum } else { 0.0 };
        let mut mixed: Vec<f64> = (0..targets.len()).map(|at| soft * kept(at)).collect();
        for at in row.positives() {
            mixed[at] += hard / positives as f64;
        }
        mixed
    }

    fn kl(&self, row: &Cells<'_>, targets: &[f64], dz: &mut [f32]) -> f64 {
        let total = self.softmax(row, dz);
        let mut loss = 0.0;
        for (at, &t) in targets.iter().enumerate().filter(|(_, t)| **t > 0.0) {
            loss += t * (t.ln() + total - self.logit(row, at));
            dz[at] -= t as f32;
        }
        // Rounding can leave a trace below 0 where the student has reached the targets.
        loss.max(0.0)
    }

    fn js(&self, row: &Cells<'_>, targets: &[f64], dz: &mut [f32]) -> f64 {
        let total = self.softmax(row, dz);
        let (mut loss, mut mean) = (0.0, 0.0);
        // d JS / dP = ln(P / M) / 2, kept apart from P until its mean is known.
        let mut pull = vec![0.0_f64; dz.len()];
        for at in row.kept() {
            let (t, ln_p) = (targets[at], self.logit(row, at) - total);
            let p = ln_p.exp();
            let ln_m = (0.5 * (t + p)).ln();
            if t > 0.0 {
                loss += 0.5 * t * (t.ln() - ln_m);
            }
            if p > 0.0 {
                loss += 0.5 * p * (ln_p - ln_m);
                pull[at] = 0.5 * (ln_p - ln_m);
                mean += p * pull[at];
            }
        }
        for at in row.kept() {
            let p = (self.logit(row, at) - total).exp();
            dz[at] = (p * (pull[at] - mean)) as f32;
        }
        loss.max(0.0)
    }
}

impl RowLoss for List {
    fn counts(&self, row: &Cells<'_>) -> bool {
        match row.targets {
            Some(targets) if self.hard < 1.0 => {
                let some = |at: usize| targets[at] > 0.0 || row.marks[at].is_positive();
                row.kept().nth(1).is_some() && row.kept().any(some)
            }
            _ => row.has_both(),
        }
    }

    fn row(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        let loss = match row.targets.filter(|_| self.hard < 1.0).map(|t| self.mixed(row, t)) {
            Some(targets) if self.soft == Soft::Js => self.js(row, &targets, slope),
            Some(targets) => self.kl(row, &targets, slope),
            None => match self.several {
                Several::Share => self.share(row, slope),
                Several::Each => self.each(row, slope),
                Several::Any => self.any(row, slope),
            },
        };
        // z = (s - margin) / t + w, so dL/dt = -sum of dz (s - margin) / t^2 and dL/ds = dz / t.
        let t = f64::from(self.temperature);
        let mut heat = dot_kept(slope, row);
        if self.margin != 0.0 {
            heat -= f64::from(self.margin) * row.positives().map(|at| f64::from(slope[at])).sum::<f64>();
        }
        let by = (scale / t) as f32;
        slope.iter_mut().for_each(|d| *d *= by);
        RowValue { loss, temperature_slope: -heat / (t * t), bias_slope: 0.0 }
    }
}

/// Sum of dz·s. A dropped cell may hold any score, even NaN, which 0 times it would let through.
pub(super) fn dot_kept(dz: &[f32], row: &Cells<'_>) -> f64 {
    let all = dot(dz, row.scores);
    if all.is_finite() { all } else { row.kept().map(|at| f64::from(dz[at] * row.scores[at])).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::{Loss, Scores};

    const P: Mark = Mark::POSITIVE;
    const N: Mark = Mark::LIVE;
    const GONE: Mark = Mark::ABSENT;

    #[test]
    fn info_nce_of_equal_scores_is_the_log_of_the_number_of_cells() -> Result<()> {
        let (scores, marks) = ([0.3; 8], [P, N, N, N, N, P, N, N]);
        let mut slope = [f32::NAN; 8];
        let value = List::new(0.1)?.evaluate(&Scores::new(4, &scores, &marks)?, &mut slope)?;
        assert!((value.mean - 4.0_f64.ln()).abs() < 1e-6, "{value:?}");
        assert_eq!((value.live_rows, value.empty_rows), (2, 0));
        // (P - T) / (t * rows): (1/4 - 1) / 0.2 and 1/4 / 0.2.
        for (slope, want) in slope.iter().zip([-3.75, 1.25, 1.25, 1.25, 1.25, -3.75, 1.25, 1.25]) {
            assert!((slope - want).abs() < 1e-5, "{slope} {want}");
        }
        Ok(())
    }

    #[test]
    fn a_row_whose_negatives_are_all_dropped_is_counted_and_moves_nothing() -> Result<()> {
        let (scores, marks) = ([0.3, f32::NAN, 0.9, 0.2], [P, GONE, P, N]);
        let mut slope = [f32::NAN; 4];
        let value = List::default().evaluate(&Scores::new(2, &scores, &marks)?, &mut slope)?;
        assert_eq!((value.live_rows, value.empty_rows), (1, 1));
        assert_eq!(slope[..2], [0.0, 0.0]);
        assert!(value.mean.is_finite());
        Ok(())
    }

    #[test]
    fn scores_far_apart_neither_overflow_nor_vanish() -> Result<()> {
        let (scores, marks) = ([-1e6, 1e6, 0.0], [P, N, N]);
        for several in [Several::Share, Several::Each, Several::Any] {
            let mut slope = [f32::NAN; 3];
            let list = List { several, ..List::new(1.0)? };
            let value = list.evaluate(&Scores::new(3, &scores, &marks)?, &mut slope)?;
            assert!((value.mean - 2e6).abs() < 1.0, "{several:?} {value:?}");
            assert_eq!(slope, [-1.0, 1.0, 0.0], "{several:?}");
        }
        Ok(())
    }

    #[test]
    fn a_cell_twice_is_a_log_weight_of_ln_2() -> Result<()> {
        let twice = Scores::new(4, &[0.5, 0.4, 0.4, 0.1], &[P, N, N, N])?;
        let weights = [0.0, 2.0_f32.ln(), 0.0];
        let once = Scores::new(3, &[0.5, 0.4, 0.1], &[P, N, N])?.with_log_weights(&weights)?;
        let list = List::new(0.2)?;
        let (a, b) = (list.evaluate(&twice, &mut [0.0; 4])?, list.evaluate(&once, &mut [0.0; 3])?);
        assert!((a.mean - b.mean).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn bad_parameters_are_refused_by_name() {
        for (list, field) in [
            (List { temperature: 0.0, ..List::default() }, "temperature"),
            (List { margin: f32::NAN, ..List::default() }, "margin"),
            (List { hard: 1.5, ..List::default() }, "hard"),
        ] {
            assert!(list.check().unwrap_err().to_string().starts_with(&format!("list.{field} must be")));
        }
    }
}
