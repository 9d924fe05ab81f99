//! Drops candidates above a maximum or below a minimum judging score.
//!
//! ## Rule
//! A cell with judging score s goes when `s > max` or `s < min`; the limits themselves stay.
//!
//! A candidate that the judging source cannot score (NaN: it is not in the given run) goes under either rule. A maximum
//! exists to clear a candidate of being relevant, and an unknown score clears nothing; `margin` treats it alike.
//!
//! ## Seen in
//! sentence-transformers (`max_score`, `min_score`), NV-Retriever (TopK-Abs), RocketQA (cross-encoder score below 0.1).

use serde::{Deserialize, Serialize};

use crate::{Error, Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// Parameters as written in TOML: `{ score = { max = 0.7 } }`. Without any, nothing is judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Score {
    /// Highest score that stays, in units of the judging source; none = not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
    /// Lowest score that stays, in units of the judging source; none = not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f32>,
}

impl Score {
    /// Runs once, when the plan is made; the inner loop trusts it.
    pub fn check(self) -> Result<Self> {
        let bad = |field, must, got| Err(Error::Parameter { stage: "score", field, must, got });
        match (self.max, self.min) {
            (Some(max), _) if !max.is_finite() => bad("max", "finite", max.to_string()),
            (_, Some(min)) if !min.is_finite() => bad("min", "finite", min.to_string()),
            (Some(max), Some(min)) if min > max => {
                bad("min", "at most max", format!("{min} with max = {max}"))
            }
            _ => Ok(self),
        }
    }
}

impl Filter for Score {
    fn judge(&self, block: &dyn Rows, _: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        for row in block.iter() {
            for position in row.live() {
                let s = row.scores()[position];
                let over = self.max.filter(|max| s > *max || s.is_nan()).map(|max| (Reason::MaxScore, max));
                let under = self.min.filter(|min| s < *min || s.is_nan()).map(|min| (Reason::MinScore, min));
                if let Some((reason, limit)) = over.or(under) {
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

    #[test]
    fn the_limits_stay_and_the_reason_names_the_side() -> Result<()> {
        let filter = Score { max: Some(0.7), min: Some(0.2) }.check()?;
        let block = row(&[(0, 0.71), (1, 0.7), (2, 0.2), (3, 0.19)], &[]);
        let reasons: Vec<_> =
            judge(&filter, block, &World::default())?.iter().map(|v| v.map(|v| v.reason)).collect();
        assert_eq!(reasons, [Some(Reason::MaxScore), None, None, Some(Reason::MinScore)]);
        Ok(())
    }

    #[test]
    fn a_candidate_that_cannot_be_scored_is_cleared_by_no_rule() -> Result<()> {
        for filter in [Score { max: Some(0.7), min: None }, Score { max: None, min: Some(-9.0) }] {
            assert_eq!(drops(&filter, row(&[(0, f32::NAN)], &[]), &World::default())?, [true]);
        }
        assert_eq!(drops(&Score::default(), row(&[(0, f32::NAN)], &[]), &World::default())?, [false]);
        Ok(())
    }

    #[test]
    fn crossed_and_infinite_limits_are_refused() {
        assert!(Score { max: Some(0.1), min: Some(0.2) }.check().is_err());
        assert!(Score { max: Some(f32::INFINITY), min: None }.check().is_err());
        assert!(Score { max: None, min: Some(f32::NAN) }.check().is_err());
    }
}
