//! A block in f64 loops, and what a loss is held to.

use hardrock_core::losses::{Loss, LossValue, Scores};
use hardrock_core::{Mark, Reason, Result, Rng};

pub(crate) const COLUMNS: usize = 7;
pub(crate) const ROWS: usize = 5;

/// A block in f64, as a textbook would hold it.
#[derive(Clone)]
pub(crate) struct Naive {
    pub(crate) s: Vec<f64>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) w: Vec<f64>,
    pub(crate) y: Option<Vec<f64>>,
    pub(crate) rows: Vec<f64>,
}

impl Naive {
    pub(crate) fn of(&self, r: usize, keep: impl Fn(Mark) -> bool) -> Vec<usize> {
        (r * COLUMNS..(r + 1) * COLUMNS).filter(|&c| keep(self.marks[c])).collect()
    }
    pub(crate) fn positives(&self, r: usize) -> Vec<usize> {
        self.of(r, Mark::is_positive)
    }
    pub(crate) fn negatives(&self, r: usize) -> Vec<usize> {
        self.of(r, Mark::is_live)
    }
    pub(crate) fn kept(&self, r: usize) -> Vec<usize> {
        self.of(r, Mark::is_kept)
    }
    pub(crate) fn y(&self, c: usize) -> f64 {
        self.y.as_ref().map_or(f64::from(u8::from(self.marks[c].is_positive())), |y| y[c])
    }
    /// Weighted mean over the rows for which `row` has a value.
    pub(crate) fn mean(&self, row: impl Fn(usize) -> Option<f64>) -> f64 {
        let (mut sum, mut weight) = (0.0, 0.0);
        for r in 0..ROWS {
            if let Some(v) = row(r) {
                sum += self.rows[r] * v;
                weight += self.rows[r];
            }
        }
        sum / weight
    }
}

pub(crate) fn block(seed: u64, soft: bool) -> Naive {
    let mut rng = Rng::at(seed, 0, 0);
    let mut marks = Vec::new();
    for r in 0..ROWS {
        for c in 0..COLUMNS {
            marks.push(match (r, c) {
                (4, _) => Mark::dropped(Reason::Kin), // nothing to learn from
                (_, 0) => Mark::POSITIVE,
                (1 | 2, 1) => Mark::POSITIVE,
                (3, 4) | (2, 6) => Mark::dropped(Reason::Known),
                (1, 6) => Mark::ABSENT,
                _ => Mark::LIVE,
            });
        }
    }
    let mut draw = |scale: f64| -> Vec<f64> {
        (0..ROWS * COLUMNS).map(|_| f64::from(((rng.unit() - 0.3) * scale) as f32)).collect()
    };
    // Odd blocks have no log-weights: some losses then take another way through the row.
    let (s, w, y) = (draw(1.0), draw(if seed.is_multiple_of(2) { 0.8 } else { 0.0 }), draw(1.0));
    let y = soft.then(|| y.iter().map(|y| y.abs()).collect());
    Naive { s, marks, w, y, rows: vec![1.0, 0.5, 2.0, 1.25, 3.0] }
}

pub(crate) fn softplus(x: f64) -> f64 {
    if x > 30.0 { x } else { x.exp().ln_1p() }
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Holds the loss to the naive loop, the slopes to differences of it, and dropped cells to exactly 0.
pub(crate) fn holds(
    name: &str,
    b: &Naive,
    loss: &dyn Loss,
    naive: &dyn Fn(&Naive) -> f64,
) -> Result<LossValue> {
    let narrow = |v: &[f64]| -> Vec<f32> { v.iter().map(|&x| x as f32).collect() };
    let (mut s, w, rows) = (narrow(&b.s), narrow(&b.w), narrow(&b.rows));
    for (s, m) in s.iter_mut().zip(&b.marks) {
        if !m.is_kept() {
            *s = f32::NAN; // what was dropped must not matter
        }
    }
    let y = b.y.as_ref().map(|y| narrow(y));
    let mut scores = Scores::new(COLUMNS, &s, &b.marks)?.with_row_weights(&rows)?;
    if w.iter().any(|w| *w != 0.0) {
        scores = scores.with_log_weights(&w)?;
    }
    if let Some(y) = &y {
        scores = scores.with_targets(y)?;
    }
    let mut slope = vec![f32::NAN; s.len()];
    let value = loss.evaluate(&scores, &mut slope)?;
    let want = naive(b);
    assert!((value.mean - want).abs() < 2e-6 * (1.0 + want.abs()), "{name}: {} is not {want}", value.mean);
    for (c, &slope) in slope.iter().enumerate() {
        if !b.marks[c].is_kept() || c / COLUMNS == 4 {
            assert_eq!(slope, 0.0, "{name}: dropped cell {c}");
            continue;
        }
        let step = 1e-6;
        let at = |d: f64| {
            let mut b = b.clone();
            b.s[c] += d;
            naive(&b)
        };
        let want = (at(step) - at(-step)) / (2.0 * step);
        assert!(
            (f64::from(slope) - want).abs() < 2e-5 * (1.0 + want.abs()),
            "{name}: slope of cell {c} is {}, differences say {want}",
            slope
        );
    }
    Ok(value)
}

/// dL/dt, and dL/db where there is a bias, against differences of the loss itself.
pub(crate) fn learns(name: &str, slope: f64, loss: impl Fn(f64) -> f64, at: f64) {
    let step = 1e-5;
    let want = (loss(at + step) - loss(at - step)) / (2.0 * step);
    assert!((slope - want).abs() < 1e-4 * (1.0 + want.abs()), "{name}: {slope} is not {want}");
}
