//! Double hinge: positives above one bar, negatives below another, each cell by itself.
//!
//! ## Rule
//! The mean over the positives of max(0, above - s) plus the mean over the live negatives of max(0, s - below), the latter
//! weighted by exp(log-weight).
//!
//! ## Seen in
//! NLSHBlock (with distances, where the bars change sides), contrastive loss of Hadsell et al.

use serde::{Deserialize, Serialize};

use super::{Cells, RowLoss, RowValue, must};
use crate::Result;

/// Parameters as written in TOML: `{ double_hinge = { above = 0.7, below = 0.3 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DoubleHinge {
    /// Positives should score at least this.
    pub above: f32,
    /// Negatives should score at most this; not higher than `above`.
    pub below: f32,
}

impl Default for DoubleHinge {
    fn default() -> Self {
        Self { above: 0.7, below: 0.3 }
    }
}

impl DoubleHinge {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        must(self.above.is_finite(), "double_hinge", "above", "finite", self.above)?;
        must(self.below <= self.above, "double_hinge", "below", "at most above", self.below)?;
        Ok(self)
    }
}

impl RowLoss for DoubleHinge {
    fn counts(&self, row: &Cells<'_>) -> bool {
        row.has_both()
    }

    fn row(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        slope.fill(0.0);
        let part = 1.0 / row.positives().count() as f64;
        let total: f64 = row.live().map(|n| row.log_weight(n).exp()).sum();
        let mut loss = 0.0;
        for p in row.positives().filter(|&p| row.scores[p] < self.above) {
            loss += part * f64::from(self.above - row.scores[p]);
            slope[p] = -(scale * part) as f32;
        }
        for n in row.live().filter(|&n| row.scores[n] > self.below) {
            let part = row.log_weight(n).exp() / total;
            loss += part * f64::from(row.scores[n] - self.below);
            slope[n] = (scale * part) as f32;
        }
        RowValue { loss, ..RowValue::default() }
    }
}
