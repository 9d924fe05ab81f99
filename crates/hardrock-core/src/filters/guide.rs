//! Lets a second encoder judge what cheaper filters let live.
//!
//! ## Rule
//! The score is the cosine of the guide's vectors of anchor and document. It scores every live candidate (or the `depth` hardest of an anchor) and the anchor's positives. A cell with score
//! s goes when `s > max`, `s > p - margin` or `s > p - relative * |p|`, p = the lowest (highest, mean) score of the
//! positives, those of anchors with the same text included. With no limit given the margin is 0. A limit itself stays.
//!
//! ## Seen in
//! GISTEmbed (Solatorio 2024): a guide model masks in-batch negatives that it puts above the positive.

use serde::{Deserialize, Serialize};

use super::Against;
use crate::opinion::{Asking, Rule};
use crate::{Facts, Filter, Reason, Result, Rows, Verdicts};

/// Parameters as written in TOML: `{ guide = { model = "my-model", margin = 0.1 } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guide {
    /// A model's folder, or the address of a server; must be given.
    pub model: String,
    /// Highest score that stays, in the model's own units; none = no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
    /// Distance to keep from the positive's score, `>= 0`; none = not judged, but 0 where no limit at all is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f32>,
    /// The same as a share of the positive's score, in `[0, 1]`; none = not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative: Option<f32>,
    /// The positive to measure against.
    pub against: Against,
    /// Live candidates of an anchor that are judged, the hardest first; the others stay. None = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// Stands before an anchor; none = what the model's own files say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_query: Option<String>,
    /// Stands before a document; none = what the model's own files say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_passage: Option<String>,
    /// Tokens that the model reads; none = what its own files say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// How a model behind an address is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Asking>,
}

impl Guide {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        self.rule().check()?;
        Ok(self)
    }

    fn rule(&self) -> Rule<'_> {
        let Self { max, margin, relative, against, depth, .. } = *self;
        Rule { reason: Reason::Guide, model: &self.model, max, margin, relative, against, depth }
    }
}

impl Filter for Guide {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        self.rule().judge(facts.guide, block, facts, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, judge, row};

    #[test]
    fn what_the_guide_puts_above_the_positive_goes() -> Result<()> {
        // The guide of the fixture scores an item by the negative hundredth of its number.
        let world = World { model: true, ..World::default() };
        let block = || row(&[(10, 0.9), (50, 0.8), (52, 0.7)], &[(50, 1.0)]);
        let dropped = |guide: Guide| -> Result<Vec<bool>> {
            Ok(judge(&guide, block(), &world)?
                .iter()
                .map(|v| v.is_some_and(|v| v.reason == Reason::Guide))
                .collect())
        };
        assert_eq!(dropped(Guide::default())?, [true, false, false]);
        assert_eq!(dropped(Guide { margin: Some(0.015), ..Guide::default() })?, [true, true, false]);
        Ok(())
    }
}
