//! How a model's opinion of (anchor, document) becomes a verdict: the rule that `rerank` and `guide` share.
//!
//! The model scores the live candidates and, where a margin is asked for, the positives of their anchors, all of a block in
//! one call. A candidate goes when its score s is above `max`, or above p - margin or p - relative * |p|, with p = the
//! lowest (highest, mean) of the positives' scores. A limit itself stays. Scores also stay as evidence.

use serde::{Deserialize, Serialize};

use crate::filters::{Against, given, positives};
use crate::{AnchorId, Error, Facts, ItemId, Opinion, Reason, Result, Rows, Verdict, Verdicts};

/// How a model behind an address is asked; what is left out has the default of encoders behind an address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asking {
    /// Requests under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Texts of a request, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Requests per second, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Seconds that one request may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
}

/// The rule, with the filter that it serves.
pub(crate) struct Rule<'a> {
    pub(crate) reason: Reason,
    pub(crate) model: &'a str,
    pub(crate) max: Option<f32>,
    pub(crate) margin: Option<f32>,
    pub(crate) relative: Option<f32>,
    pub(crate) against: Against,
    pub(crate) depth: Option<usize>,
}

impl Rule<'_> {
    /// Refuses parameters outside their ranges.
    pub(crate) fn check(&self) -> Result<()> {
        let stage = self.reason.name();
        let bad = |field, must, got: String| Err(Error::Parameter { stage, field, must, got });
        given(self.model, stage, "model", "a model's folder or address")?;
        match (self.max, self.margin, self.relative, self.depth) {
            (Some(m), ..) if !m.is_finite() => bad("max", "finite", m.to_string()),
            (_, Some(m), ..) if !(m >= 0.0 && m.is_finite()) => {
                bad("margin", ">= 0 and finite", m.to_string())
            }
            (_, _, Some(r), _) if !(0.0..=1.0).contains(&r) => bad("relative", "in [0, 1]", r.to_string()),
            (.., Some(0)) => bad("depth", "at least 1", "0".to_owned()),
            _ => Ok(()),
        }
    }

    /// The margins; without any limit, nothing may score above the positive.
    fn margins(&self) -> [Option<f32>; 2] {
        match (self.max, self.margin, self.relative) {
            (None, None, None) => [Some(0.0), None],
            (_, margin, relative) => [margin, relative],
        }
    }

    /// Judges what is alive in the block, or the `depth` hardest of it in each row.
    pub(crate) fn judge(
        &self,
        opinion: Option<&dyn Opinion>,
        block: &dyn Rows,
        facts: &Facts<'_>,
        out: &mut Verdicts,
    ) -> Result<()> {
        let stage = self.reason.name();
        let opinion = opinion.ok_or(Error::Missing { stage, what: "an open model" })?;
        let [margin, relative] = self.margins();
        let compares = margin.or(relative).is_some();
        let mut asked: Vec<(AnchorId, ItemId)> = Vec::new();
        let mut rows = Vec::new();
        for row in block.iter() {
            let live: Vec<usize> = row.live().take(self.depth.unwrap_or(usize::MAX)).collect();
            if live.is_empty() {
                continue;
            }
            let positives = if compares { positives(&row, facts).into_owned() } else { Vec::new() };
            let items = live.iter().map(|&at| row.items()[at]).chain(positives.iter().copied());
            asked.extend(items.map(|item| (row.anchor(), item)));
            rows.push((row, live, positives));
        }
        let mut scores = vec![f32::NAN; asked.len()];
        opinion.score(&asked, &mut scores)?;
        out.column(stage);
        let mut rest = &scores[..];
        for (row, live, positives) in rows {
            let (own, tail) = rest.split_at(live.len());
            let (theirs, tail) = tail.split_at(positives.len());
            rest = tail;
            let p = self.against.of(theirs);
            let which = p.and_then(|p| theirs.iter().position(|&s| s == p)).map(|at| positives[at]);
            let under = |m: Option<f32>, limit: &dyn Fn(f32, f32) -> f32| Some((limit(p?, m?), which));
            let limits = [
                self.max.map(|max| (max, None)),
                under(margin, &|p, m| p - m),
                under(relative, &|p, m| p - m * p.abs()),
            ];
            for (&at, &score) in live.iter().zip(own) {
                out.note(&row, at, score);
                // A score that is no number clears nothing.
                let cleared = |limit: f32| score <= limit;
                if let Some(&(limit, against)) = limits.iter().flatten().find(|(limit, _)| !cleared(*limit)) {
                    out.drop(&row, at, Verdict { against, ..Verdict::new(self.reason, score, limit) });
                }
            }
        }
        Ok(())
    }
}
