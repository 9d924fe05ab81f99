//! Drops candidates that are not valid at the anchor's time.
//!
//! ## Rule
//! With `candidate_before_anchor` a cell goes when its time lies after the anchor's; with `candidate_after_anchor`, when it
//! lies before. Equal times stay. A record without a time stays: nothing is known against it. The verdict's value is the
//! candidate's time less the anchor's, in the column's unit, and its threshold 0.
//!
//! ## Seen in
//! No miner. Needed where a model must not learn from what did not exist yet: duplicate reports, news, fraud.

use serde::{Deserialize, Serialize};

use super::{given, needed};
use crate::{Facts, Filter, Reason, Result, Rows, Verdict, Verdicts};

/// Which candidates stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeRule {
    /// Those that are not later than the anchor.
    #[default]
    CandidateBeforeAnchor,
    /// Those that are not earlier than the anchor.
    CandidateAfterAnchor,
}

/// Parameters as written in TOML: `{ time = { column = "year", rule = "candidate_before_anchor" } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// The column, in documents and anchors; must be given.
    pub column: String,
    /// Which candidates stay.
    pub rule: TimeRule,
}

impl Time {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        given(&self.column, "time", "column", "the name of a column of documents and anchors")?;
        Ok(self)
    }
}

impl Filter for Time {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        let items = needed(facts.items.time.as_ref(), "time", "its column in the documents")?;
        let anchors = needed(facts.anchors.time.as_ref(), "time", "its column in the anchors")?;
        for row in block.iter() {
            let Some(&Some(now)) = anchors.get(row.anchor().index()) else { continue };
            for position in row.live() {
                let Some(&Some(then)) = items.get(row.items()[position].index()) else { continue };
                let wrong = match self.rule {
                    TimeRule::CandidateBeforeAnchor => then > now,
                    TimeRule::CandidateAfterAnchor => then < now,
                };
                if wrong {
                    // The difference in f64: two times of today are one number in f32.
                    out.drop(&row, position, Verdict::new(Reason::Time, (then - now) as f32, 0.0));
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

    fn world() -> World {
        let mut world = World::default();
        world.anchors.time = Some(vec![Some(1_700_000_000.0)]);
        world.items.time =
            Some(vec![Some(1_700_000_000.0), Some(1_700_000_001.0), Some(1_699_999_999.0), None]);
        world
    }

    #[test]
    fn equal_and_missing_times_stay_under_both_rules() -> Result<()> {
        for (rule, want) in [
            (TimeRule::CandidateBeforeAnchor, [false, true, false, false]),
            (TimeRule::CandidateAfterAnchor, [false, false, true, false]),
        ] {
            let filter = Time { column: "seconds".into(), rule };
            let block = row(&[(0, 0.9), (1, 0.8), (2, 0.7), (3, 0.6)], &[]);
            assert_eq!(drops(&filter, block, &world())?, want, "{rule:?}");
        }
        Ok(())
    }

    #[test]
    fn one_second_of_today_is_not_lost_to_rounding() -> Result<()> {
        let filter = Time { column: "seconds".into(), rule: TimeRule::CandidateBeforeAnchor };
        let verdicts = judge(&filter, row(&[(1, 0.8)], &[]), &world())?;
        assert_eq!(verdicts[0].map(|v| v.value), Some(1.0));
        Ok(())
    }
}
