//! PAIR: every positive of a row against every negative.
//!
//! ## Rule
//! The weighted mean over the pairs of φ(x), x = (s_n - s_p + margin) / temperature, with φ one of
//! - `softplus` ln(1 + e^x), `hinge` max(0, x), `squared_hinge` max(0, x)^2
//!
//! Pairs that take part: `all`; `hardest` k negatives by score (ties: the lower column); `semi_hard`, negatives that lie
//! between the positive and the margin (s_p - margin < s_n < s_p), and all where there is none. Their weights:
//! - `even`; `hardness`, softmax of s_n / `sharpness` over the negatives; `ndcg` or `mrr`, how much the metric changes when
//!   the two swap their ranks. Weights are detached, multiplied by exp(log-weight of the negative), and sum to 1.
//!
//! ## Seen in
//! Triplet loss, RankNet, LambdaRank (`ndcg`), STAR / ADORE (`softplus`, `mrr`), NGAME (`hinge`, `hardness`), CET

use serde::{Deserialize, Serialize};

use super::exp::{sigmoid, softplus, softplus_all, sum};
use super::list::dot_kept;
use super::{Cells, RowLoss, RowValue, must, warm};
use crate::Result;

/// What a pair costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phi {
    /// ln(1 + e^x).
    Softplus,
    /// max(0, x): the triplet loss.
    #[default]
    Hinge,
    /// max(0, x) squared.
    SquaredHinge,
}

impl Phi {
    fn value_and_slope(self, x: f64) -> (f64, f64) {
        match self {
            Self::Softplus => (softplus(x), sigmoid(x)),
            Self::Hinge if x > 0.0 => (x, 1.0),
            Self::SquaredHinge if x > 0.0 => (x * x, 2.0 * x),
            Self::Hinge | Self::SquaredHinge => (0.0, 0.0),
        }
    }
}

/// Which negatives take part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Every live negative.
    #[default]
    All,
    /// The k with the highest scores, k at least 1.
    Hardest(u32),
    /// Those between the positive and its margin; all where there is none.
    SemiHard,
}

/// What a pair weighs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Omega {
    /// Every pair the same.
    #[default]
    Even,
    /// Closer negatives more: softmax of s_n / sharpness; sharpness above 0.
    Hardness(f32),
    /// |change of nDCG| when the two swap ranks.
    Ndcg,
    /// |change of the reciprocal rank of the best positive| when the two swap ranks.
    Mrr,
}

/// Parameters as written in TOML: `{ pair = { phi = "softplus", which = { hardest = 4 } } }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pair {
    /// What a pair costs.
    pub phi: Phi,
    /// How far below the positive a negative must lie, in score units.
    pub margin: f32,
    /// Divides the difference, above 0.
    pub temperature: f32,
    /// Which negatives take part.
    pub which: Which,
    /// What a pair weighs.
    pub omega: Omega,
}

impl Default for Pair {
    fn default() -> Self {
        Self { phi: Phi::Hinge, margin: 0.2, temperature: 1.0, which: Which::All, omega: Omega::Even }
    }
}

impl Pair {
    /// The triplet loss: hinge with this margin over all pairs.
    pub fn triplet(margin: f32) -> Result<Self> {
        Self { margin, ..Self::default() }.check()
    }

    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        warm("pair", self.temperature)?;
        must(self.margin.is_finite(), "pair", "margin", "finite", self.margin)?;
        if let Which::Hardest(k) = self.which {
            must(k > 0, "pair", "which.hardest", "at least 1", k as f32)?;
        }
        if let Omega::Hardness(sharpness) = self.omega {
            must(sharpness > 0.0, "pair", "omega.hardness", "above 0", sharpness)?;
        }
        Ok(self)
    }

    /// Fills the negatives of positive `p` that take part.
    fn choose(&self, row: &Cells<'_>, p: usize, out: &mut Vec<usize>) {
        out.clear();
        if self.which == Which::SemiHard {
            let s = row.scores[p];
            out.extend(row.live().filter(|&n| row.scores[n] < s && row.scores[n] > s - self.margin));
        }
        if out.is_empty() {
            out.extend(row.live());
        }
        if let Which::Hardest(k) = self.which {
            let harder = |a: &usize, b: &usize| row.scores[*b].total_cmp(&row.scores[*a]).then(a.cmp(b));
            if out.len() > k as usize {
                out.select_nth_unstable_by(k as usize - 1, harder);
                out.truncate(k as usize);
            }
            out.sort_unstable();
        }
    }
}

impl Pair {
    /// The common case, all pairs alike through softplus, as loops over whole rows.
    fn all_softplus(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        let (t, margin) = (f64::from(self.temperature), f64::from(self.margin));
        let part = 1.0 / (row.positives().count() * row.live_count()) as f64;
        let by = (scale * part / t) as f32;
        let mut value = RowValue::default();
        let mut x = vec![0.0_f32; row.scores.len()];
        for p in row.positives() {
            let (inverse, from) = ((1.0 / t) as f32, row.scores[p]);
            for ((x, s), m) in x.iter_mut().zip(row.scores).zip(row.marks) {
                *x = if m.is_live() { (s - from + self.margin) * inverse } else { f32::NEG_INFINITY };
            }
            value.loss += part * softplus_all(&mut x);
            // x holds dφ/dx now. Sum of x dx, with x = (s_n - s_p + margin) / t.
            let pull = sum(&x);
            let heat = dot_kept(&x, row) + (margin - f64::from(from)) * pull;
            value.temperature_slope -= part * heat / (t * t);
            slope.iter_mut().zip(&x).for_each(|(slope, dx)| *slope += by * dx);
            slope[p] -= (scale * part / t * pull) as f32;
        }
        value
    }
}

/// Ranks of the kept cells by score, 0 = best, ties by lower column, and what the lambdas need of the row.
struct Ranks {
    rank: Vec<u32>,
    ideal: f64,
    /// The two best ranks of positives.
    best: [u32; 2],
}

impl Ranks {
    fn of(row: &Cells<'_>) -> Self {
        let mut order: Vec<usize> = row.kept().collect();
        order.sort_unstable_by(|&a, &b| row.scores[b].total_cmp(&row.scores[a]).then(a.cmp(&b)));
        let mut rank = vec![u32::MAX; row.scores.len()];
        for (at, cell) in order.into_iter().enumerate() {
            rank[cell] = at as u32;
        }
        let positives = row.positives().count() as u32;
        let mut best = [u32::MAX; 2];
        for r in row.positives().map(|p| rank[p]) {
            best = [best[0].min(r), best[1].min(best[0].max(r))];
        }
        Self { rank, ideal: (0..positives).map(discount).sum(), best }
    }

    fn ndcg(&self, p: usize, n: usize) -> f64 {
        (discount(self.rank[p]) - discount(self.rank[n])).abs() / self.ideal
    }

    fn mrr(&self, p: usize, n: usize) -> f64 {
        let (p, n, [best, next]) = (self.rank[p], self.rank[n], self.best);
        let others = if p == best { next } else { best };
        (1.0 / f64::from(n.min(others) + 1) - 1.0 / f64::from(best + 1)).abs()
    }
}

fn discount(rank: u32) -> f64 {
    1.0 / (f64::from(rank) + 2.0).log2()
}

impl RowLoss for Pair {
    fn counts(&self, row: &Cells<'_>) -> bool {
        row.has_both()
    }

    fn row(&self, row: &Cells<'_>, scale: f64, slope: &mut [f32]) -> RowValue {
        slope.fill(0.0);
        let even = self.which == Which::All && self.omega == Omega::Even && row.log_weights.is_none();
        if even && self.phi == Phi::Softplus {
            return self.all_softplus(row, scale, slope);
        }
        let t = f64::from(self.temperature);
        let ranks = matches!(self.omega, Omega::Ndcg | Omega::Mrr).then(|| Ranks::of(row));
        let top = row.live().map(|n| row.scores[n]).fold(f32::NEG_INFINITY, f32::max);
        let weigh = |p: usize, n: usize| {
            let omega = match (self.omega, &ranks) {
                (Omega::Hardness(sharpness), _) => f64::from((row.scores[n] - top) / sharpness).exp(),
                (Omega::Ndcg, Some(ranks)) => ranks.ndcg(p, n),
                (Omega::Mrr, Some(ranks)) => ranks.mrr(p, n),
                _ => 1.0,
            };
            omega * row.log_weights.map_or(1.0, |w| f64::from(w[n]).exp())
        };
        let mut chosen = Vec::new();
        let mut total = 0.0;
        for p in row.positives() {
            self.choose(row, p, &mut chosen);
            total += chosen.iter().map(|&n| weigh(p, n)).sum::<f64>();
        }
        let mut value = RowValue::default();
        // Nothing to gain by any swap, or weights of exp(-inf) alone: a row that is right already.
        if total <= 0.0 {
            return value;
        }
        for p in row.positives() {
            self.choose(row, p, &mut chosen);
            let mut pull = 0.0;
            for &n in &chosen {
                let x = (f64::from(row.scores[n]) - f64::from(row.scores[p]) + f64::from(self.margin)) / t;
                let (phi, dx) = self.phi.value_and_slope(x);
                let omega = weigh(p, n) / total;
                value.loss += omega * phi;
                value.temperature_slope -= omega * dx * x / t;
                let push = omega * dx / t;
                pull += push;
                slope[n] += (scale * push) as f32;
            }
            slope[p] -= (scale * pull) as f32;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Mark;
    use crate::losses::{Loss, Scores};

    const MARKS: [Mark; 4] = [Mark::POSITIVE, Mark::LIVE, Mark::LIVE, Mark::LIVE];

    fn slopes(pair: Pair, scores: [f32; 4]) -> Result<(f64, [f32; 4])> {
        let mut slope = [f32::NAN; 4];
        let value = pair.check()?.evaluate(&Scores::new(4, &scores, &MARKS)?, &mut slope)?;
        Ok((value.mean, slope))
    }

    #[test]
    fn the_triplet_loss_pushes_only_what_violates_the_margin() -> Result<()> {
        let (loss, slope) = slopes(Pair::triplet(0.2)?, [0.5, 0.6, 0.4, 0.1])?;
        assert!((loss - (0.3 + 0.1) / 3.0).abs() < 1e-6);
        let third = 1.0 / 3.0;
        assert_eq!(slope, [-2.0 * third as f32, third as f32, third as f32, 0.0]);
        Ok(())
    }

    #[test]
    fn hardest_takes_the_lower_column_of_a_tie() -> Result<()> {
        let pair = Pair { which: Which::Hardest(1), ..Pair::default() };
        assert_eq!(slopes(pair, [0.5, 0.4, 0.6, 0.6])?.1, [-1.0, 0.0, 1.0, 0.0]);
        Ok(())
    }

    #[test]
    fn semi_hard_leaves_out_what_lies_above_the_positive() -> Result<()> {
        let pair = Pair { which: Which::SemiHard, ..Pair::default() };
        assert_eq!(slopes(pair.clone(), [0.5, 0.9, 0.4, 0.1])?.1, [-1.0, 0.0, 1.0, 0.0]);
        // Nothing lies between: all take part.
        assert!(slopes(pair, [0.5, 0.9, 0.1, 0.1])?.1[1] > 0.0);
        Ok(())
    }

    #[test]
    fn a_lambda_is_the_change_of_the_metric() -> Result<()> {
        // Order: column 1 (0.9), positive (0.5), column 2, column 3. Only the swap with column 1 changes MRR upwards.
        let softplus = Pair { phi: Phi::Softplus, margin: 0.0, omega: Omega::Mrr, ..Pair::default() };
        let (_, slope) = slopes(softplus, [0.5, 0.9, 0.4, 0.1])?;
        let lambda = [1.0 - 0.5, 0.5 - 1.0 / 3.0, 0.5 - 0.25];
        let total: f64 = lambda.iter().sum();
        for (at, (want, s)) in lambda.iter().zip([0.9, 0.4, 0.1]).enumerate() {
            let want = want / total * sigmoid(s - 0.5);
            assert!((f64::from(slope[at + 1]) - want).abs() < 1e-6);
        }
        Ok(())
    }
}
