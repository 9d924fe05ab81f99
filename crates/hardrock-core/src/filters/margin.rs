//! Drops candidates that score too close to the anchor's positives.
//!
//! ## Rule
//! With p = the lowest (or highest, or mean) judging score of the anchor's positives, a cell with score s goes when
//! `s > p - absolute`, or when `s > p - relative * |p|`. `|p|` keeps the rule right for negative scores. The limit itself
//! stays.
//!
//! Unknown scores (NaN: the judging source is a run that does not hold the pair) clear nothing, as in `score`: a candidate
//! without a score goes, and where no positive of the anchor has a score, every candidate does. The latter is no severity:
//! a run that missed the positive put it below all that it holds. Anchors without any positive are left alone, since there
//! is nothing to keep a margin to.
//!
//! ## Seen in
//! NV-Retriever (TopK-MarginPos, TopK-PercPos), sentence-transformers `mine_hard_negatives`.

use serde::{Deserialize, Serialize};

use crate::{Error, Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// Which of several positives a margin is measured against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Against {
    /// The lowest-scoring positive.
    #[default]
    Min,
    /// The highest-scoring positive.
    Max,
    /// The mean of the positives' scores.
    Mean,
}

impl Against {
    /// The score that stands for several positives, those without a score left out; `None` when none of them has one.
    pub fn of(self, positives: &[f32]) -> Option<f32> {
        let scores = || positives.iter().copied().filter(|s| !s.is_nan());
        match self {
            Against::Min => scores().reduce(f32::min),
            Against::Max => scores().reduce(f32::max),
            Against::Mean => {
                let (sum, n) = scores().fold((0.0f64, 0u32), |(s, n), x| (s + f64::from(x), n + 1));
                (n > 0).then(|| (sum / f64::from(n)) as f32)
            }
        }
    }
}

/// Parameters as written in TOML: `{ margin = { relative = 0.05 } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Margin {
    /// In score units, `>= 0`; none = not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute: Option<f32>,
    /// Share of `|p|`, in `[0, 1]`; none = not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative: Option<f32>,
    /// The positive to measure against.
    pub against: Against,
}

impl Margin {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        let bad = |field, must, got: f32| {
            Err(Error::Parameter { stage: "margin", field, must, got: got.to_string() })
        };
        match (self.relative, self.absolute) {
            (Some(r), _) if !(0.0..=1.0).contains(&r) => bad("relative", "in [0, 1]", r),
            (_, Some(a)) if !(a >= 0.0 && a.is_finite()) => bad("absolute", ">= 0 and finite", a),
            _ => Ok(self),
        }
    }
}

impl Filter for Margin {
    fn judge(&self, block: &dyn Rows, _: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        for row in block.iter().filter(|row| !row.positives().is_empty()) {
            // NaN where no positive has a score; it stays NaN in the limits, and no score passes a limit that is NaN.
            let p = self.against.of(row.positive_scores()).unwrap_or(f32::NAN);
            let limits = [
                self.absolute.map(|m| (Reason::AbsoluteMargin, p - m)),
                self.relative.map(|m| (Reason::RelativeMargin, p - m * p.abs())),
            ];
            for position in row.live() {
                let s = row.scores()[position];
                let cleared = |limit: f32| s <= limit;
                if let Some(&(reason, limit)) = limits.iter().flatten().find(|(_, limit)| !cleared(*limit)) {
                    out.drop(&row, position, Verdict::new(reason, s, limit));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, drops, judge, row};

    fn dropped(margin: Margin, positives: &[f32], candidates: &[f32]) -> Result<Vec<bool>> {
        let numbered =
            |from: u32, scores: &[f32]| -> Vec<(u32, f32)> { (from..).zip(scores.iter().copied()).collect() };
        let block = row(&numbered(0, candidates), &numbered(90, positives));
        drops(&margin.check()?, block, &World::default())
    }

    #[test]
    fn relative_margin_is_sign_safe() -> Result<()> {
        let m = Margin { relative: Some(0.05), ..Margin::default() };
        assert_eq!(dropped(m, &[-0.20], &[-0.19, -0.50])?, [true, false]);
        Ok(())
    }

    #[test]
    fn a_score_on_the_limit_stays() -> Result<()> {
        let m = Margin { absolute: Some(0.5), ..Margin::default() };
        assert_eq!(dropped(m, &[1.0], &[0.50001, 0.5])?, [true, false]);
        Ok(())
    }

    #[test]
    fn several_positives_count_by_the_lowest_the_highest_or_the_mean() -> Result<()> {
        for (against, want) in [
            (Against::Min, [true, true, true]),
            (Against::Mean, [true, true, false]),
            (Against::Max, [true, false, false]),
        ] {
            let m = Margin { absolute: Some(0.0), against, ..Margin::default() };
            assert_eq!(dropped(m, &[0.2, 1.0], &[1.1, 0.9, 0.5])?, want, "{against:?}");
        }
        Ok(())
    }

    #[test]
    fn unknown_scores_clear_nothing() -> Result<()> {
        let m = || Margin { relative: Some(0.0), ..Margin::default() };
        assert_eq!(dropped(m(), &[1.0], &[0.5, f32::NAN])?, [false, true]);
        assert_eq!(dropped(m(), &[f32::NAN], &[0.5])?, [true]);
        assert_eq!(dropped(m(), &[f32::NAN, 0.6], &[0.5])?, [false]);
        assert_eq!(dropped(m(), &[], &[0.5])?, [false]);
        Ok(())
    }

    #[test]
    fn the_reason_is_the_margin_that_was_broken() -> Result<()> {
        let m = Margin { absolute: Some(0.5), relative: Some(0.8), ..Margin::default() };
        let block = row(&[(0, 0.6), (1, 0.4)], &[(9, 1.0)]);
        let reasons: Vec<_> =
            judge(&m, block, &World::default())?.iter().map(|v| v.map(|v| v.reason)).collect();
        assert_eq!(reasons, [Some(Reason::AbsoluteMargin), Some(Reason::RelativeMargin)]);
        Ok(())
    }

    #[test]
    fn a_negative_margin_is_refused() {
        assert!(Margin { absolute: Some(-0.1), ..Margin::default() }.check().is_err());
        assert!(Margin { relative: Some(f32::NAN), ..Margin::default() }.check().is_err());
    }
}
