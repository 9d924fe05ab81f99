//! Keeps the normaliser of a row's softmax near 1, so that logits neither drift nor explode.
//!
//! ## Rule
//! (ln of the sum of exp(s / temperature + log-weight) over the kept cells)^2. A companion of `list`, added with a small
//! weight.
//!
//! ## Seen in
//! Mesh TensorFlow, PaLM (1e-4), ST-MoE (1e-3)

use serde::{Deserialize, Serialize};

use super::list::dot_kept;
use super::{Cells, List, RowLoss, RowValue, warm};
use crate::Result;

/// Parameters as written in TOML: `{ z_loss = { temperature = 0.05 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ZLoss {
    /// Divides the scores, above 0: the one of the `list` that it accompanies.
    pub temperature: f32,
}

impl Default for ZLoss {
    fn default() -> Self {
        Self { temperature: 0.05 }
    }
}

impl ZLoss {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        warm("z_loss", self.temperature).map(|()| self)
    }
}

impl RowLoss for ZLoss {
    fn counts(&self, row: &Cells<'_>) -> bool {
        row.kept().next().is_some()
    }

    fn row(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        let list = List { temperature: self.temperature, ..List::default() };
        let (z, t) = (list.softmax(row, slope), f64::from(self.temperature));
        let heat = dot_kept(slope, row);
        let by = (scale * 2.0 * z / t) as f32;
        slope.iter_mut().for_each(|p| *p *= by);
        RowValue { loss: z * z, temperature_slope: -2.0 * z * heat / (t * t), bias_slope: 0.0 }
    }
}
