//! POINT: every cell alone, positives towards 1 and negatives towards 0.
//!
//! ## Rule
//! x = (s - bias) / temperature, p = 1 / (1 + e^-x), y = the soft target, or 1 for a positive and 0 for a negative:
//! - `logistic` -y ln p - (1 - y) ln(1 - p)
//! - `focal` -y (1 - p)^positive ln p - (1 - y) p^negative ln(1 - p): cells that are right already fade out. Equal
//!   exponents are the focal loss, different ones and a `clip` the asymmetric loss, which replaces p of negatives by
//!   max(0, p - clip) so that the easiest cost nothing
//! - `squared` (x - y)^2
//!
//! A cell weighs exp(log-weight), a positive times `positive_weight`; the row's loss is the weighted mean over its kept
//! cells, or their weighted sum (`sum`), where a row of many negatives counts more.
//!
//! ## Seen in
//! SigLIP (`logistic`, learned bias and temperature), focal loss, asymmetric loss, CQ-DINO, LEMON

use serde::{Deserialize, Serialize};

use super::exp::{sigmoid, softplus, softplus_all, sum};
use super::list::dot_kept;
use super::{Cells, RowLoss, RowValue, must, warm};
use crate::Result;

/// What a cell costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// Binary cross-entropy.
    #[default]
    Logistic,
    /// Binary cross-entropy that fades where the cell is right already.
    Focal {
        /// Exponent of positives, at least 0.
        positive: f32,
        /// Exponent of negatives, at least 0.
        negative: f32,
        /// Subtracted from the probability of negatives, in `[0, 1)`.
        clip: f32,
    },
    /// Squared distance of x from the target.
    Squared,
}

/// How cells become a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    /// The weighted mean over the kept cells.
    #[default]
    Mean,
    /// The weighted sum over the kept cells.
    Sum,
}

/// Parameters as written in TOML: `{ point = { cost = "logistic" } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Point {
    /// What a cell costs.
    pub cost: Cost,
    /// Divides the scores, above 0.
    pub temperature: f32,
    /// Subtracted from the scores: the score at which p = 1/2.
    pub bias: f32,
    /// What a positive weighs against a negative, above 0.
    pub positive_weight: f32,
    /// How cells become a row.
    pub reduce: Reduce,
}

impl Default for Point {
    fn default() -> Self {
        Self { cost: Cost::Logistic, temperature: 0.1, bias: 0.5, positive_weight: 1.0, reduce: Reduce::Mean }
    }
}

impl Point {
    /// The focal loss with this exponent.
    pub fn focal(gamma: f32) -> Result<Self> {
        Self { cost: Cost::Focal { positive: gamma, negative: gamma, clip: 0.0 }, ..Self::default() }.check()
    }

    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        warm("point", self.temperature)?;
        must(self.bias.is_finite(), "point", "bias", "finite", self.bias)?;
        let weight = self.positive_weight;
        must(weight > 0.0 && weight.is_finite(), "point", "positive_weight", "above 0", weight)?;
        if let Cost::Focal { positive, negative, clip } = self.cost {
            must(positive >= 0.0, "point", "cost.focal.positive", "at least 0", positive)?;
            must(negative >= 0.0, "point", "cost.focal.negative", "at least 0", negative)?;
            must((0.0..1.0).contains(&clip), "point", "cost.focal.clip", "in [0, 1)", clip)?;
        }
        Ok(self)
    }

    /// The cost of one cell and its slope by x.
    fn cell(&self, x: f64, y: f64) -> (f64, f64) {
        match self.cost {
            Cost::Logistic => (y * softplus(-x) + (1.0 - y) * softplus(x), sigmoid(x) - y),
            Cost::Squared => ((x - y) * (x - y), 2.0 * (x - y)),
            Cost::Focal { positive, negative, clip } => {
                let (mut loss, mut dx) = (0.0, 0.0);
                let (p, q) = (sigmoid(x), sigmoid(-x));
                if y > 0.0 {
                    // -q^g ln p: d/dx = g q^g p ln p - q^(g + 1).
                    let (g, ln_p) = (f64::from(positive), -softplus(-x));
                    let fade = q.powf(g);
                    loss -= y * fade * ln_p;
                    dx += y * fade * (g * p * ln_p - q);
                }
                if y < 1.0 {
                    let (g, clip) = (f64::from(negative), f64::from(clip));
                    let m = p - clip;
                    if clip == 0.0 {
                        // -p^g ln q: d/dx = -g p^g q ln q + p^(g + 1).
                        let (fade, ln_q) = (p.powf(g), -softplus(x));
                        loss -= (1.0 - y) * fade * ln_q;
                        dx += (1.0 - y) * fade * (p - g * q * ln_q);
                    } else if m > 0.0 {
                        // -m^g ln(1 - m), dm/dx = p q.
                        let (fade, ln) = (m.powf(g), (-m).ln_1p());
                        loss -= (1.0 - y) * fade * ln;
                        dx += (1.0 - y) * p * q * fade * (1.0 / (1.0 - m) - g * ln / m);
                    }
                }
                (loss, dx)
            }
        }
    }
}

impl Point {
    /// The common case, logistic without weights or targets of single cells, as loops over whole rows.
    fn logistic(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        let (t, bias) = (f64::from(self.temperature), f64::from(self.bias));
        let weight = f64::from(self.positive_weight);
        let inverse = 1.0 / self.temperature;
        for ((x, s), m) in slope.iter_mut().zip(row.scores).zip(row.marks) {
            *x = if m.is_live() { (s - self.bias) * inverse } else { f32::NEG_INFINITY };
        }
        let mut loss = softplus_all(slope);
        for p in row.positives() {
            let x = (f64::from(row.scores[p]) - bias) / t;
            loss += weight * softplus(-x);
            slope[p] = -(weight * sigmoid(-x)) as f32;
        }
        let part = match self.reduce {
            Reduce::Mean => 1.0 / (row.live_count() as f64 + weight * row.positives().count() as f64),
            Reduce::Sum => 1.0,
        };
        // The slope holds dL/dx now. Sum of x dx, with x = (s - bias) / t.
        let all = sum(slope);
        let heat = (dot_kept(slope, row) - bias * all) / t;
        let by = (scale * part / t) as f32;
        slope.iter_mut().for_each(|d| *d *= by);
        RowValue { loss: part * loss, temperature_slope: -part * heat / t, bias_slope: -part * all / t }
    }
}

impl RowLoss for Point {
    fn counts(&self, row: &Cells<'_>) -> bool {
        row.kept().next().is_some()
    }

    fn row(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        if self.cost == Cost::Logistic && row.log_weights.is_none() && row.targets.is_none() {
            return self.logistic(row, scale, slope);
        }
        let (t, bias) = (f64::from(self.temperature), f64::from(self.bias));
        let weight = |at: usize| {
            let positive = if row.marks[at].is_positive() { f64::from(self.positive_weight) } else { 1.0 };
            positive * row.log_weights.map_or(1.0, |w| f64::from(w[at]).exp())
        };
        let total: f64 = match self.reduce {
            Reduce::Mean => row.kept().map(weight).sum(),
            Reduce::Sum => 1.0,
        };
        let mut value = RowValue::default();
        slope.fill(0.0);
        if total <= 0.0 {
            return value;
        }
        for at in row.kept() {
            let x = (f64::from(row.scores[at]) - bias) / t;
            let (loss, dx) = self.cell(x, row.target(at));
            let part = weight(at) / total;
            value.loss += part * loss;
            value.temperature_slope -= part * dx * x / t;
            value.bias_slope -= part * dx / t;
            slope[at] = (scale * part * dx / t) as f32;
        }
        value
    }
}
