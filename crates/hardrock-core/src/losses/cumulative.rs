//! Ordered classes through cumulative logits: the columns are the bars between neighbouring grades.
//!
//! ## Rule
//! Column k (in column order, kept cells only) holds the logit of "the grade is above k"; the row's grade g is the number
//! of its positives, which must be the first kept columns. With x = s / temperature falling from column to column:
//! P(g) = sigmoid(x_(g-1)) - sigmoid(x_g), and the loss is -ln P(g). Bars that stand closer than `gap`, or crossed, are
//! continued along the tangent, so that the loss stays finite and pushes them apart. A row whose positives are not its first
//! columns does not count. Log-weights and soft targets have no meaning here and are not read.
//!
//! ## Seen in
//! Proportional odds (McCullagh), CORAL and CORN for graded relevance

use serde::{Deserialize, Serialize};

use super::exp::{sigmoid, softplus};
use super::{Cells, RowLoss, RowValue, must, warm};
use crate::Result;

/// Parameters as written in TOML: `{ cumulative = { temperature = 1.0 } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cumulative {
    /// Divides the scores, above 0.
    pub temperature: f32,
    /// Least distance of two bars in x at which the exact formula is used, above 0.
    pub gap: f32,
}

impl Default for Cumulative {
    fn default() -> Self {
        Self { temperature: 1.0, gap: 0.01 }
    }
}

impl Cumulative {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        warm("cumulative", self.temperature)?;
        must(self.gap > 0.0, "cumulative", "gap", "above 0", self.gap)?;
        Ok(self)
    }

    /// -ln(1 - e^-d) and its slope, continued along the tangent below `gap`.
    fn apart(&self, d: f64) -> (f64, f64) {
        let gap = f64::from(self.gap);
        let at = d.max(gap);
        let slope = -1.0 / at.exp_m1();
        (-(-(-at).exp_m1()).ln() + slope * (d - at), slope)
    }
}

impl RowLoss for Cumulative {
    fn counts(&self, row: &Cells<'_>) -> bool {
        let mut ended = false;
        let ordered = row.kept().all(|at| {
            ended |= !row.marks[at].is_positive();
            ended != row.marks[at].is_positive()
        });
        ordered && row.kept().next().is_some()
    }

    fn row(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        slope.fill(0.0);
        let t = f64::from(self.temperature);
        let x = |at: usize| f64::from(row.scores[at]) / t;
        let (above, below) = (row.positives().last(), row.live().next());
        let mut value = RowValue::default();
        let mut add = |at: usize, dx: f64| {
            slope[at] += (scale * dx / t) as f32;
            value.temperature_slope -= dx * x(at) / t;
        };
        // sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - e^(b - a)).
        let mut loss = 0.0;
        if let Some(a) = above {
            loss += softplus(-x(a));
            add(a, -sigmoid(-x(a)));
        }
        if let Some(b) = below {
            loss += softplus(x(b));
            add(b, sigmoid(x(b)));
        }
        if let (Some(a), Some(b)) = (above, below) {
            let (more, d) = self.apart(x(a) - x(b));
            loss += more;
            add(a, d);
            add(b, -d);
        }
        value.loss = loss;
        value
    }
}
