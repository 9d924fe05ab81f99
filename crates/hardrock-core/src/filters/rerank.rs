//! Lets a cross-encoder judge what cheaper filters let live.
//!
//! ## Rule
//! The model scores every live candidate (or the `depth` hardest of an anchor) and the anchor's positives. A cell with score
//! s goes when `s > max`, `s > p - margin` or `s > p - relative * |p|`, p = the lowest (highest, mean) score of the
//! positives, those of anchors with the same text included. With no limit given the margin is 0. A limit itself stays.
//!
//! ## Seen in
//! RocketQA (denoising by a cross-encoder above 0.9), sentence-transformers `mine_hard_negatives(cross_encoder=...)`, RLHN.

use serde::{Deserialize, Serialize};

use super::Against;
use crate::opinion::{Asking, Rule};
use crate::{Facts, Filter, Reason, Result, Rows, Verdicts};

/// Parameters as written in TOML: `{ rerank = { model = "my-model", margin = 0.1 } }`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rerank {
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
    /// Tokens that the model reads; none = what its own files say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// How a model behind an address is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Asking>,
}

impl Rerank {
    /// Runs once, when the plan is made.
    pub fn check(self) -> Result<Self> {
        self.rule().check()?;
        Ok(self)
    }

    fn rule(&self) -> Rule<'_> {
        let Self { max, margin, relative, against, depth, .. } = *self;
        Rule { reason: Reason::Rerank, model: &self.model, max, margin, relative, against, depth }
    }
}

impl Filter for Rerank {
    fn judge(&self, block: &dyn Rows, facts: &Facts<'_>, out: &mut Verdicts) -> Result<()> {
        self.rule().judge(facts.cross_encoder, block, facts, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{World, judge, row};
    use crate::{Error, ItemId, Known};

    /// Verdict values, thresholds and positives; the model of the fixture scores an item by a hundredth of its number.
    fn judged(
        rerank: &Rerank,
        candidates: &[u32],
        positives: &[u32],
    ) -> Vec<Option<(f32, f32, Option<ItemId>)>> {
        let scored =
            |items: &[u32]| -> Vec<(u32, f32)> { items.iter().map(|&i| (i, 1.0 / i as f32)).collect() };
        let world = World { model: true, ..World::default() };
        let verdicts = judge(rerank, row(&scored(candidates), &scored(positives)), &world).unwrap();
        verdicts.iter().map(|v| v.map(|v| (v.value, v.threshold, v.against))).collect()
    }

    #[test]
    fn without_a_limit_what_scores_above_the_lowest_positive_goes() {
        let got = judged(&Rerank::default(), &[10, 50, 51], &[90, 50]);
        assert_eq!(got, [None, None, Some((0.51, 0.5, Some(ItemId(50))))]);
    }

    #[test]
    fn each_limit_is_kept_and_names_its_numbers() {
        let max = Rerank { max: Some(0.5), ..Rerank::default() };
        assert_eq!(judged(&max, &[50, 51], &[10]), [None, Some((0.51, 0.5, None))]);
        let margin = Rerank { margin: Some(0.25), ..Rerank::default() };
        assert_eq!(judged(&margin, &[25, 26], &[50]), [None, Some((0.26, 0.25, Some(ItemId(50))))]);
        let relative = Rerank { relative: Some(0.5), against: Against::Max, ..Rerank::default() };
        assert_eq!(judged(&relative, &[25, 26], &[50, 10]), [None, Some((0.26, 0.25, Some(ItemId(50))))]);
        let mean = Rerank { margin: Some(0.0), against: Against::Mean, ..Rerank::default() };
        assert_eq!(judged(&mean, &[50, 51], &[25, 75]), [None, Some((0.51, 0.5, None))]);
        assert_eq!(judged(&Rerank::default(), &[50], &[]), [None], "nothing to compare with");
    }

    #[test]
    fn only_the_hardest_live_ones_are_asked_about_and_every_answer_stays_as_evidence() -> Result<()> {
        let mut block = row(&[(80, 0.9), (60, 0.8), (70, 0.7), (75, 0.6)], &[(50, 1.0)]);
        let world =
            World { model: true, known: Known::new([vec![ItemId(40), ItemId(50)]]), ..World::default() };
        let mut first = Verdicts::default();
        first.drop(&block.row(0), 0, crate::Verdict::new(Reason::Known, 1.0, 1.0));
        block.apply(first);
        let mut verdicts = Verdicts::default();
        Rerank { depth: Some(2), ..Rerank::default() }.judge(&block, &world.facts(), &mut verdicts)?;
        block.apply(verdicts);
        let row = block.row(0);
        let reasons: Vec<_> = row.verdicts().iter().map(|v| v.map(|v| (v.reason, v.threshold))).collect();
        let gone = Some((Reason::Rerank, 0.4));
        assert_eq!(
            reasons,
            [Some((Reason::Known, 1.0)), gone, gone, None],
            "a positive of the same text counts"
        );
        let [evidence] = row.evidence() else { panic!("one column") };
        assert_eq!(
            (evidence.source.as_str(), row.source_scores(evidence)[1..3].to_vec()),
            ("rerank", vec![0.6, 0.7])
        );
        assert!(row.source_scores(evidence)[0].is_nan() && row.source_scores(evidence)[3].is_nan());
        assert_eq!(row.source_ranks(evidence), [crate::NO_RANK; 4]);
        Ok(())
    }

    #[test]
    fn bad_limits_and_a_missing_model_are_refused() {
        let good = || Rerank { model: "m".into(), ..Rerank::default() };
        let field = |rerank: Rerank| match rerank.check() {
            Err(Error::Parameter { field, .. }) => field,
            _ => "",
        };
        assert_eq!(field(good()), "");
        assert_eq!(field(Rerank::default()), "model");
        assert_eq!(field(Rerank { max: Some(f32::NAN), ..good() }), "max");
        assert_eq!(field(Rerank { margin: Some(-0.1), ..good() }), "margin");
        assert_eq!(field(Rerank { relative: Some(1.1), ..good() }), "relative");
        assert_eq!(field(Rerank { depth: Some(0), ..good() }), "depth");
        let missing = judge(&good(), row(&[(1, 0.5)], &[]), &World::default());
        assert!(matches!(missing, Err(Error::Missing { stage: "rerank", .. })), "{missing:?}");
    }
}
