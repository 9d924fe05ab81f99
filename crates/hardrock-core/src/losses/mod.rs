//! Losses: pure functions of a block of scores, each with its slope dL/dS derived by hand.
//!
//! Three families read the same cells. LIST compares a row's softmax with its targets ([`List`], [`StableMax`], [`ZLoss`]),
//! PAIR compares every positive with every negative ([`Pair`]), POINT judges each cell alone ([`Point`], [`DoubleHinge`],
//! [`TverskyRow`], [`TverskyBatch`], [`Cumulative`]). A loss never sees an embedding: whoever made the scores
//! carries the slope on (dA = dS·C, dC = dSᵀ·A).
//!
//! Laws that hold for all of them: a dropped cell gets a slope of exactly 0 and changes nothing; a row without anything to
//! learn from is skipped and counted, never NaN; weights and targets are plain numbers, so no gradient runs through them.

mod both_ways;
mod cumulative;
mod double_hinge;
mod exp;
mod list;
mod pair;
mod point;
mod scores;
mod stable_max;
mod sum;
mod teachers;
mod tversky;
mod weights;
mod z_loss;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};
pub use both_ways::BothWays;
pub use cumulative::Cumulative;
pub use double_hinge::DoubleHinge;
pub use list::{List, Several, Soft};
pub use pair::{Omega, Pair, Phi, Which};
pub use point::{Cost, Point, Reduce};
pub use scores::{Cells, Scores};
pub use stable_max::StableMax;
pub use sum::Sum;
pub use teachers::{Scale, soft_targets};
pub use tversky::{Tversky, TverskyBatch, TverskyRow};
pub use weights::{focal_weights, mean_one};
pub use z_loss::ZLoss;

/// The loss of a block.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossValue {
    /// Weighted mean over live rows [nats for LIST]; 0 where no row is live.
    pub mean: f64,
    /// Rows that counted.
    pub live_rows: usize,
    /// Rows without anything to learn from: no positive, or every negative dropped, or a weight of 0.
    pub empty_rows: usize,
    /// Slope of the mean by the temperature, dL/dt; 0 for a loss without one.
    pub temperature_slope: f64,
    /// Slope of the mean by the bias, dL/db; 0 for a loss without one.
    pub bias_slope: f64,
}

/// The loss of one row, before its weight.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RowValue {
    /// The loss.
    pub loss: f64,
    /// Its slope by the temperature.
    pub temperature_slope: f64,
    /// Its slope by the bias.
    pub bias_slope: f64,
}

/// A block becomes a number and its slope.
pub trait Loss: Debug + Send + Sync {
    /// The weighted mean over live rows; writes its slope dL/dS into `slope` `[rows, columns]`, every cell of it.
    ///
    /// # Errors
    /// [`Error::Shape`] where `slope` does not fit; what the loss needs and the block does not have.
    fn evaluate(&self, scores: &Scores<'_>, slope: &mut [f32]) -> Result<LossValue>;

    /// The same loss row by row, where it is one: rows can then be evaluated side by side ([`Share`]).
    fn as_rows(&self) -> Option<&dyn RowLoss> {
        None
    }
}

/// A loss that is a weighted mean of its rows.
pub trait RowLoss: Debug + Send + Sync {
    /// Whether the row has anything to learn from.
    fn counts(&self, row: &Cells<'_>) -> bool;

    /// The loss of a row that counts; writes `scale` times its slope into `slope` `[columns]`, every cell of it.
    fn row(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue;
}

impl<L: RowLoss> Loss for L {
    fn evaluate(&self, scores: &Scores<'_>, slope: &mut [f32]) -> Result<LossValue> {
        fits("slopes of a block", scores.cells(), slope.len())?;
        let share = Share::of(self, scores);
        let rows = slope.chunks_mut(scores.columns().max(1)).enumerate();
        let values: Vec<_> = rows.map(|(row, slope)| share.row(self, scores, row, slope)).collect();
        Ok(share.gather(&values))
    }

    fn as_rows(&self) -> Option<&dyn RowLoss> {
        Some(self)
    }
}

/// What each row counts in the mean of a block: known before the first row is evaluated, so that rows can be evaluated in
/// any order and on any number of threads, to the same bits.
#[derive(Debug, Clone)]
pub struct Share {
    /// `[rows]`, sums to 1 over live rows; 0 = the row is empty.
    scales: Vec<f64>,
}

impl Share {
    /// Looks which rows count. `scores` is the whole block.
    pub fn of(loss: &dyn RowLoss, scores: &Scores<'_>) -> Self {
        let mut scales: Vec<f64> = (0..scores.rows())
            .map(|r| if loss.counts(&scores.row(r)) { scores.row_weight(r) } else { 0.0 })
            .collect();
        let total: f64 = scales.iter().sum();
        if total > 0.0 {
            scales.iter_mut().for_each(|s| *s /= total);
        }
        Self { scales }
    }

    /// One row's loss; its part of the slope goes to `slope` `[columns]`. An empty row gets zeros.
    pub fn row(&self, loss: &dyn RowLoss, scores: &Scores<'_>, row: usize, slope: &mut [f32]) -> RowValue {
        match self.scales.get(row) {
            Some(&scale) if scale > 0.0 => loss.row(&scores.row(row), scale, slope),
            _ => {
                slope.fill(0.0);
                RowValue::default()
            }
        }
    }

    /// The mean over the rows' values `[rows]`, added up in order.
    pub fn gather(&self, values: &[RowValue]) -> LossValue {
        let live_rows = self.scales.iter().filter(|s| **s > 0.0).count();
        let mut sum =
            LossValue { live_rows, empty_rows: self.scales.len() - live_rows, ..LossValue::default() };
        for (scale, value) in self.scales.iter().zip(values) {
            sum.mean += scale * value.loss;
            sum.temperature_slope += scale * value.temperature_slope;
            sum.bias_slope += scale * value.bias_slope;
        }
        sum
    }
}

macro_rules! components {
    ($($name:ident => $kind:ident),* $(,)?) => {
        /// A loss as written in TOML: `{ list = { temperature = 0.05 } }`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum LossSpec { $(
            #[doc = concat!("See [`", stringify!($kind), "`].")]
            $kind($kind)),* }
        impl LossSpec {
            /// The losses' names, as in TOML.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
            /// The name in TOML.
            pub fn name(&self) -> &'static str { match self { $(LossSpec::$kind(_) => stringify!($name)),* } }
            /// Checks the parameters and makes the loss.
            pub fn build(self) -> Result<Box<dyn Loss>> {
                Ok(match self { $(LossSpec::$kind(l) => Box::new(l.check()?)),* })
            }
            /// Every loss with its default parameters.
            pub fn all() -> Vec<Self> { vec![$(LossSpec::$kind($kind::default())),*] }
        }
    };
}

components! {
    list => List,
    stable_max => StableMax,
    z_loss => ZLoss,
    pair => Pair,
    double_hinge => DoubleHinge,
    point => Point,
    tversky_row => TverskyRow,
    tversky_batch => TverskyBatch,
    cumulative => Cumulative,
}

pub(crate) fn fits(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
}

/// A parameter that must lie in a range, in words.
fn must(ok: bool, stage: &'static str, field: &'static str, must: &'static str, got: f32) -> Result<()> {
    if ok { Ok(()) } else { Err(Error::Parameter { stage, field, must, got: got.to_string() }) }
}

/// A temperature divides scores, so it must be above 0.
fn warm(stage: &'static str, temperature: f32) -> Result<()> {
    must(temperature > 0.0 && temperature.is_finite(), stage, "temperature", "above 0", temperature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_survive_a_round_trip_refuse_unknown_fields_and_build() -> serde_json::Result<()> {
        for (loss, name) in LossSpec::all().into_iter().zip(LossSpec::NAMES) {
            let text = serde_json::to_string(&loss)?;
            assert!(text.starts_with(&format!("{{\"{name}\":")), "{text}");
            assert_eq!(serde_json::from_str::<LossSpec>(&text)?, loss);
            assert_eq!(serde_json::from_str::<LossSpec>(&format!("{{\"{name}\":{{}}}}"))?, loss);
            assert!(serde_json::from_str::<LossSpec>(&format!("{{\"{name}\":{{\"no_such\":1}}}}")).is_err());
            assert!(loss.build().is_ok(), "{name}");
        }
        Ok(())
    }
}
