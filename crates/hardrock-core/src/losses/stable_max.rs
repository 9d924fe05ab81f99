//! Cross-entropy with a link that grows linearly instead of exponentially, so that a softmax never saturates.
//!
//! ## Rule
//! x = s / temperature; g(x) = x + 1 for x >= 0, 1 / (1 - x) below; P = g e^w / sum of g e^w over the kept cells (w the
//! log-weights). Loss = sum of T ln(T / P), with T the soft targets brought to a sum of 1, or shared by the positives.
//!
//! ## Seen in
//! Prieto et al. 2025 (grokking at the edge of numerical stability)

use serde::{Deserialize, Serialize};

use super::{Cells, RowLoss, RowValue, warm};
use crate::Result;

/// Parameters as written in TOML: `{ stable_max = { temperature = 0.05 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StableMax {
    /// Divides the scores, above 0.
    pub temperature: f32,
}

impl Default for StableMax {
    fn default() -> Self {
        Self { temperature: 0.05 }
    }
}

impl StableMax {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        warm("stable_max", self.temperature).map(|()| self)
    }
}

/// g(x) and g'(x).
fn link(x: f64) -> (f64, f64) {
    if x >= 0.0 {
        (x + 1.0, 1.0)
    } else {
        let g = 1.0 / (1.0 - x);
        (g, g * g)
    }
}

impl RowLoss for StableMax {
    fn counts(&self, row: &Cells<'_>) -> bool {
        match row.targets {
            Some(t) => row.kept().nth(1).is_some() && row.kept().any(|at| t[at] > 0.0),
            None => row.has_both(),
        }
    }

    fn row(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        let t = f64::from(self.temperature);
        let x = |at: usize| f64::from(row.scores[at]) / t;
        let weight = |at: usize| row.log_weight(at).exp();
        let sum: f64 = row.kept().map(|at| link(x(at)).0 * weight(at)).sum();
        let mass: f64 = row.kept().map(|at| row.target(at)).sum();
        let mut value = RowValue::default();
        slope.fill(0.0);
        for at in row.kept() {
            let (target, (g, dg)) = (row.target(at) / mass, link(x(at)));
            if target > 0.0 {
                value.loss += target * (target.ln() + sum.ln() - g.ln() - row.log_weight(at));
            }
            let dx = dg * (weight(at) / sum - target / g);
            value.temperature_slope -= dx * x(at) / t;
            slope[at] = (scale * dx / t) as f32;
        }
        value
    }
}
