//! Overlap losses: the share of what should be found that is found, per row or over the whole batch.
//!
//! ## Rule
//! p = sigmoid((s - bias) / temperature), y = target. With TP = sum of p y, FP = sum of p (1 - y), FN = sum of (1 - p) y,
//! each cell weighted by exp(log-weight): loss = 1 - (TP + smooth) / (TP + a FP + b FN + smooth). a = b = 1/2 is Dice.
//!
//! `tversky_row` takes the sums over a row and averages the rows; `tversky_batch` takes them over all cells of all rows
//! that count, each times its row's weight. The two differ wherever rows differ in their number of positives, and
//! libraries call both by one name: here they have two.
//!
//! ## Seen in
//! V-Net (Dice per image), nnU-Net (`batch_dice`), Tversky loss, self-adjusting Dice for text

use serde::{Deserialize, Serialize};

use super::exp::sigmoid;
use super::{Cells, Loss, LossValue, RowLoss, RowValue, Scores, fits, must, warm};
use crate::Result;

/// Parameters of both, as written in TOML: `{ tversky_row = { false_positives = 0.3, false_negatives = 0.7 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tversky {
    /// a: what a false positive weighs, at least 0.
    pub false_positives: f32,
    /// b: what a false negative weighs, at least 0.
    pub false_negatives: f32,
    /// Added above and below, above 0: without it a block without positives would be 0 / 0.
    pub smooth: f32,
    /// Divides the scores, above 0.
    pub temperature: f32,
    /// The score at which p = 1/2.
    pub bias: f32,
}

impl Default for Tversky {
    fn default() -> Self {
        Self { false_positives: 0.5, false_negatives: 0.5, smooth: 1.0, temperature: 0.1, bias: 0.5 }
    }
}

/// Overlap within each row, averaged over the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TverskyRow(pub Tversky);

/// One overlap over all cells of the batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TverskyBatch(pub Tversky);

/// TP, FP and FN of some cells.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    hit: f64,
    false_positive: f64,
    false_negative: f64,
}

impl Tversky {
    fn check(&self, stage: &'static str) -> Result<()> {
        warm(stage, self.temperature)?;
        must(self.bias.is_finite(), stage, "bias", "finite", self.bias)?;
        must(self.smooth > 0.0, stage, "smooth", "above 0", self.smooth)?;
        must(self.false_positives >= 0.0, stage, "false_positives", "at least 0", self.false_positives)?;
        must(self.false_negatives >= 0.0, stage, "false_negatives", "at least 0", self.false_negatives)
    }

    fn x(&self, row: &Cells<'_>, at: usize) -> f64 {
        (f64::from(row.scores[at]) - f64::from(self.bias)) / f64::from(self.temperature)
    }

    fn add(&self, row: &Cells<'_>, weight: f64, sums: &mut Sums) {
        for at in row.kept() {
            let (p, y) = (sigmoid(self.x(row, at)), row.target(at));
            let w = weight * row.log_weight(at).exp();
            sums.hit += w * p * y;
            sums.false_positive += w * p * (1.0 - y);
            sums.false_negative += w * (1.0 - p) * y;
        }
    }

    /// Numerator and denominator.
    fn fraction(&self, sums: &Sums) -> (f64, f64) {
        let (a, b) = (f64::from(self.false_positives), f64::from(self.false_negatives));
        let above = sums.hit + f64::from(self.smooth);
        (above, above + a * sums.false_positive + b * sums.false_negative)
    }

    /// Slopes of the cells of one row, given the sums over all that share them; returns those by temperature and bias.
    fn slopes(&self, row: &Cells<'_>, weight: f64, sums: &Sums, scale: f64, slope: &mut [f32]) -> RowValue {
        let (a, b) = (f64::from(self.false_positives), f64::from(self.false_negatives));
        let ((above, below), t) = (self.fraction(sums), f64::from(self.temperature));
        let mut value = RowValue { loss: 1.0 - above / below, ..RowValue::default() };
        slope.fill(0.0);
        for at in row.kept() {
            let (x, y) = (self.x(row, at), row.target(at));
            // d above / dp = y; d below / dp = y + a (1 - y) - b y.
            let dp = -(y * below - above * (y + a * (1.0 - y) - b * y)) / (below * below);
            let dx = weight * row.log_weight(at).exp() * dp * sigmoid(x) * sigmoid(-x);
            value.temperature_slope -= dx * x / t;
            value.bias_slope -= dx / t;
            slope[at] = (scale * dx / t) as f32;
        }
        value
    }
}

impl TverskyRow {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        self.0.check("tversky_row").map(|()| self)
    }
}

impl RowLoss for TverskyRow {
    fn counts(&self, row: &Cells<'_>) -> bool {
        row.kept().any(|at| row.target(at) > 0.0)
    }

    fn row(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        let mut sums = Sums::default();
        self.0.add(row, 1.0, &mut sums);
        self.0.slopes(row, 1.0, &sums, scale, slope)
    }
}

impl TverskyBatch {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        self.0.check("tversky_batch").map(|()| self)
    }
}

impl Loss for TverskyBatch {
    fn evaluate(&self, scores: &Scores<'_>, slope: &mut [f32]) -> Result<LossValue> {
        fits("slopes of a block", scores.cells(), slope.len())?;
        slope.fill(0.0);
        let counts = |r: &usize| scores.row_weight(*r) > 0.0 && scores.row(*r).kept().next().is_some();
        let rows: Vec<usize> = (0..scores.rows()).filter(counts).collect();
        let mut sums = Sums::default();
        for &r in &rows {
            self.0.add(&scores.row(r), scores.row_weight(r), &mut sums);
        }
        let mut value = LossValue {
            live_rows: rows.len(),
            empty_rows: scores.rows() - rows.len(),
            ..LossValue::default()
        };
        for &r in &rows {
            let cells = r * scores.columns()..(r + 1) * scores.columns();
            let part = self.0.slopes(&scores.row(r), scores.row_weight(r), &sums, 1.0, &mut slope[cells]);
            value.mean = part.loss;
            value.temperature_slope += part.temperature_slope;
            value.bias_slope += part.bias_slope;
        }
        Ok(value)
    }
}
