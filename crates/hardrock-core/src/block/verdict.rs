//! Why a candidate no longer counts, with the numbers that decided it.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::ItemId;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),* $(,)?) => {
        /// The filter that dropped a cell; the names are the names of the filters on the command line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $variant),* }
        impl Reason {
            /// Every reason, in the order in which the filters run.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),*];
            /// The filter's name on the command line, in files and in reports.
            pub fn name(self) -> &'static str { match self { $(Reason::$variant => $name),* } }
            /// The reason of a name, for files that are read back.
            pub fn from_name(name: &str) -> Option<Self> { match name { $($name => Some(Reason::$variant),)* _ => None } }
        }
    };
}

reasons! {
    /// A labelled positive of the anchor, or of an anchor with the same text.
    Known = "known",
    /// The same normalised text as the anchor or one of its positives.
    Text = "text",
    /// Outside the rank window.
    Window = "window",
    /// A near-duplicate of a positive (word-shingle Jaccard).
    Near = "near",
    /// Too similar to a positive.
    Kin = "kin",
    /// In the same family of near-duplicates as a positive.
    Family = "family",
    /// Shares the value of a group column with a positive.
    Group = "group",
    /// Not valid at the anchor's time.
    Time = "time",
    /// Ancestor or descendant of a positive in a taxonomy.
    Taxonomy = "taxonomy",
    /// Judging score above the maximum.
    MaxScore = "max-score",
    /// Judging score below the minimum.
    MinScore = "min-score",
    /// Closer to the positive's score than the absolute margin allows.
    AbsoluteMargin = "absolute-margin",
    /// Closer to the positive's score than the relative margin allows.
    RelativeMargin = "relative-margin",
    /// Proposed by fewer sources than asked.
    Agree = "agree",
    /// A guide, an encoder of its own, scores it above a limit.
    Guide = "guide",
    /// A cross-encoder scores it above a limit.
    Rerank = "rerank",
    /// Dropped by an outside program.
    Command = "command",
    /// Found relevant by a judge.
    Judged = "judged",
    /// Probably a false negative: p_fn above the maximum.
    MaxPFn = "max-p-fn",
}

/// One decision: which filter, the value it looked at, the threshold it compared with, and the positive it compared against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The filter.
    pub reason: Reason,
    /// The value compared (a similarity, a score, a rank, a count: see the filter); NaN where there is none.
    #[serde(deserialize_with = "null_is_nan")]
    pub value: f32,
    /// The threshold it was compared with; NaN where there is none.
    #[serde(deserialize_with = "null_is_nan")]
    pub threshold: f32,
    /// The positive that decided, where one did.
    pub against: Option<ItemId>,
}

/// JSON has no NaN and writes null for it.
fn null_is_nan<'de, D: serde::Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(f32::NAN))
}

impl Verdict {
    /// A verdict that no particular positive decided.
    pub fn new(reason: Reason, value: f32, threshold: f32) -> Self {
        Self { reason, value, threshold, against: None }
    }

    /// The same, decided by this positive.
    pub fn against(self, positive: ItemId) -> Self {
        Self { against: Some(positive), ..self }
    }

    /// The decision as a sentence, naming the numbers that decided. `id` turns the positive's number into its string id.
    pub fn sentence(&self, id: impl Fn(ItemId) -> String) -> String {
        let (v, t) = (self.value, self.threshold);
        let of = self.against.map(id).map_or_else(|| "a positive".to_owned(), |p| format!("positive {p}"));
        let margin = |kind| match (v.is_nan(), t.is_nan()) {
            (true, true) => {
                format!("neither it nor a positive of the anchor has a judging score for the {kind} margin")
            }
            (_, true) => format!(
                "no positive of the anchor has a judging score, so no {kind} margin can clear it (score {v:.4})"
            ),
            (true, _) => {
                format!("has no judging score, so it cannot be shown to keep below {t:.4}, the {kind} margin")
            }
            _ => format!("score {v:.4} is above {t:.4}, the positives' score less the {kind} margin"),
        };
        let limit = |side| match v.is_nan() {
            true => format!("has no judging score, so it cannot be shown to keep {side} {t:.4}"),
            false => format!("score {v:.4} is not {side} {t:.4}"),
        };
        let opinion = |who, of: &str| match self.against {
            Some(_) => format!("{who} scores it {v:.4}, above {t:.4}: its score of {of} less the margin"),
            None => format!("{who} scores it {v:.4}, above the limit {t:.4}"),
        };
        match self.reason {
            Reason::Known => "is a labelled positive of this anchor or of one with the same text".into(),
            Reason::Text if self.against.is_none() => "has the anchor's own text".into(),
            Reason::Text => format!("has the same text as {of}"),
            Reason::Window if v < t => format!("rank {v} lies before the window, which starts at {t}"),
            Reason::Window => format!("rank {v} lies behind the window, which ends before {t}"),
            Reason::Near => {
                format!("shares {:.0} % of its word shingles with {of} (limit {:.0} %)", v * 100.0, t * 100.0)
            }
            Reason::Kin => format!("similarity {v:.3} to {of} is above {t:.3}"),
            Reason::Family => format!("is in the same near-duplicate family as {of}"),
            Reason::Group => format!("is in the same group as {of}"),
            Reason::Time if v > t => format!("its time lies {v} after the anchor's"),
            Reason::Time => format!("its time lies {} before the anchor's", -v),
            Reason::Taxonomy if t.is_infinite() => {
                format!("is {v} step(s) above or below {of} in the taxonomy")
            }
            Reason::Taxonomy => format!("is {v} step(s) above or below {of} in the taxonomy (limit {t})"),
            Reason::MaxScore => limit("at or below the maximum"),
            Reason::MinScore => limit("at or above the minimum"),
            Reason::AbsoluteMargin => margin("absolute"),
            Reason::RelativeMargin => margin("relative"),
            Reason::Agree => format!("proposed by {v} source(s), {t} needed"),
            Reason::Guide => opinion("the guide", &of),
            Reason::Rerank => opinion("the cross-encoder", &of),
            Reason::Command if v.is_nan() => "dropped by the outside program".into(),
            Reason::Command => format!("dropped by the outside program (its value {v:.4})"),
            Reason::Judged => "was found relevant by a judge".into(),
            Reason::MaxPFn => format!("p_fn {v:.4} is above {t:.4}: probably a false negative"),
        }
    }
}

/// What one filter decided about one block: a narrow sink, so that a filter can drop and do nothing else.
#[derive(Debug, Default)]
pub struct Verdicts {
    drops: Vec<(usize, Verdict)>,
    columns: Vec<(&'static str, Vec<(usize, f32)>)>,
}

impl Verdicts {
    /// Drops the candidate at `position` of `row`.
    pub fn drop(&mut self, row: &Row<'_>, position: usize, verdict: Verdict) {
        self.drops.push((row.cell(position), verdict));
    }

    /// Begins a column of evidence: what [`Verdicts::note`] adds from here on stays with the block under this name.
    pub fn column(&mut self, name: &'static str) {
        self.columns.push((name, Vec::new()));
    }

    /// Keeps a score of the candidate at `position` of `row` as evidence, in the column begun last.
    pub fn note(&mut self, row: &Row<'_>, position: usize, score: f32) {
        if let Some((_, notes)) = self.columns.last_mut() {
            notes.push((row.cell(position), score));
        }
    }

    /// Number of decisions so far.
    pub fn len(&self) -> usize {
        self.drops.len()
    }

    /// True where nothing was dropped.
    pub fn is_empty(&self) -> bool {
        self.drops.is_empty()
    }

    pub(crate) fn take_columns(&mut self) -> Vec<(&'static str, Vec<(usize, f32)>)> {
        std::mem::take(&mut self.columns)
    }

    pub(crate) fn into_inner(self) -> Vec<(usize, Verdict)> {
        self.drops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_serde_agree_and_lead_back() -> serde_json::Result<()> {
        for &reason in Reason::ALL {
            assert_eq!(serde_json::to_string(&reason)?, format!("\"{}\"", reason.name()));
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
        }
        Ok(())
    }

    #[test]
    fn a_verdict_without_a_number_survives_json() -> serde_json::Result<()> {
        let verdict = Verdict::new(Reason::Command, 0.25, f32::NAN);
        let back: Verdict = serde_json::from_str(&serde_json::to_string(&verdict)?)?;
        assert!(back.threshold.is_nan() && back.value == 0.25);
        Ok(())
    }

    #[test]
    fn every_reason_has_its_own_sentence() {
        let say = |v: Verdict| v.sentence(|i| format!("d{}", i.0));
        let mut said: Vec<_> =
            Reason::ALL.iter().map(|&r| say(Verdict::new(r, 0.5, 0.25).against(ItemId(7)))).collect();
        assert_eq!(said[4], "similarity 0.500 to positive d7 is above 0.250");
        said.push(say(Verdict::new(Reason::MaxScore, f32::NAN, 0.7)));
        said.push(say(Verdict::new(Reason::RelativeMargin, 0.3, f32::NAN)));
        said.push(say(Verdict::new(Reason::Time, -2.0, 0.0)));
        said.sort();
        let all = said.len();
        said.dedup();
        assert_eq!(said.len(), all);
        assert!(!said.iter().any(|s| s.contains("NaN")), "{said:#?}");
    }
}
