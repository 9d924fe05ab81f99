//! Ranking metrics by name, with every convention that can change a figure said out loud.
//!
//! A [`Metric`] is a name and a cut; [`Rules`] say how ties, self-hits, missing queries and relevance are treated and a
//! [`Profile`] picks the rules of a known evaluator; a [`Ranking`] is one query's retrieved documents in order. The
//! definitions are trec_eval's 9.x unless a profile says otherwise.

mod ranking;
mod rules;

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

pub use ranking::{NotANumber, Ranking, Retrieved};
pub use rules::{Missing, Profile, Rules, ScoreType, SelfHits, Ties, UnknownName, WithoutRelevant};

/// What is measured, without the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Normalised discounted cumulative gain, gain = grade (Järvelin and Kekäläinen 2002); the ideal uses all judged
    /// documents.
    Ndcg,
    /// The same with gain 2^grade - 1 (Burges 2005).
    NdcgExp,
    /// Average precision over all relevant documents.
    Map,
    /// One over the rank of the first relevant document, 0 beyond the cut.
    Mrr,
    /// Share of the relevant documents within the cut.
    Recall,
    /// Relevant documents within the cut, divided by the cut.
    Precision,
    /// 1 with a relevant document within the cut, else 0 (trec_eval's `success`).
    Hit,
    /// Precision at R, the number of relevant documents.
    RPrecision,
    /// Share of judged non-relevant documents ranked below the relevant ones (Buckley and Voorhees 2004).
    Bpref,
    /// Relevant documents within the cut, divided by min(cut, R).
    RecallCap,
    /// Documents within the cut that this query's judgements name, divided by min(cut, retrieved).
    Judged,
    /// Documents within the cut that no query's judgements name, divided by the cut (BEIR's `Hole`).
    Hole,
    /// Number of relevant documents; summed over queries.
    NumRel,
    /// Number of retrieved documents; summed over queries.
    NumRet,
    /// Number of retrieved relevant documents; summed over queries.
    NumRelRet,
}

/// Whether a metric's name takes `@cut`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    None,
    Optional,
    Required,
}

/// Kind, canonical name, use of a cut, other names (lower case).
const NAMES: &[(Kind, &str, Cut, &[&str])] = &[
    (Kind::Ndcg, "ndcg", Cut::Optional, &["ndcg_cut"]),
    (Kind::NdcgExp, "ndcg_exp", Cut::Optional, &["ndcg_burges"]),
    (Kind::Map, "map", Cut::Optional, &["map_cut", "ap"]),
    (Kind::Mrr, "mrr", Cut::Optional, &["recip_rank", "rr"]),
    (Kind::Recall, "recall", Cut::Required, &["r"]),
    (Kind::Precision, "p", Cut::Required, &["precision"]),
    (Kind::Hit, "hit", Cut::Required, &["success", "hits", "hit_rate", "accuracy"]),
    (Kind::RPrecision, "rprec", Cut::None, &["r_precision"]),
    (Kind::Bpref, "bpref", Cut::None, &[]),
    (Kind::RecallCap, "recall_cap", Cut::Required, &["r_cap"]),
    (Kind::Judged, "judged", Cut::Required, &[]),
    (Kind::Hole, "hole", Cut::Required, &[]),
    (Kind::NumRel, "num_rel", Cut::None, &[]),
    (Kind::NumRet, "num_ret", Cut::None, &[]),
    (Kind::NumRelRet, "num_rel_ret", Cut::None, &[]),
];

/// A metric with its cut, such as `ndcg@10`; parsed from and shown as that text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Metric {
    kind: Kind,
    cut: Option<NonZeroU32>,
}

/// A metric's name that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// No metric has this name.
    #[error("no metric is called `{name}`")]
    Unknown {
        /// As given.
        name: String,
        /// The known name that looks most like it, with the cut as given.
        nearest: String,
    },
    /// The name needs a cut, as in `recall@100`.
    #[error("`{name}` needs a cut: a number from 1 after @")]
    NeedsCut {
        /// As given.
        name: String,
    },
    /// The name takes no cut.
    #[error("`{name}` takes no cut")]
    NoCut {
        /// As given.
        name: String,
    },
}

impl MetricError {
    /// What to write instead.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown { nearest, .. } => {
                let all: Vec<String> = Metric::examples().iter().map(ToString::to_string).collect();
                format!("did you mean `{nearest}`? known: {}", all.join(", "))
            }
            Self::NeedsCut { name } => {
                format!("write `{}@10`", name.split_once('@').map_or(&**name, |(n, _)| n))
            }
            Self::NoCut { name } => {
                format!("write `{}`", name.split_once('@').map_or(&**name, |(n, _)| n))
            }
        }
    }
}

impl Metric {
    /// What is measured.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// Number of ranks looked at; `None` = all.
    pub fn cut(self) -> Option<usize> {
        self.cut.map(|k| k.get() as usize)
    }

    /// Counts are summed over queries, everything else is averaged.
    pub fn is_count(self) -> bool {
        matches!(self.kind, Kind::NumRel | Kind::NumRet | Kind::NumRelRet)
    }

    /// Whether the metric says how well a run ranks; the others say what was judged, retrieved or relevant.
    pub fn is_quality(self) -> bool {
        !self.is_count() && !matches!(self.kind, Kind::Judged | Kind::Hole)
    }

    /// One metric of each kind, with a usual cut.
    pub fn examples() -> Vec<Self> {
        let cut = |use_of_cut| if use_of_cut == Cut::None { None } else { NonZeroU32::new(10) };
        NAMES.iter().map(|&(kind, _, use_of_cut, _)| Self { kind, cut: cut(use_of_cut) }).collect()
    }
}

/// Splits `ndcg@10`, `ndcg_cut_10`, `ndcg_cut.10` and `mrr` into name and cut; a cut of 0 or no number stays in the
/// name's error.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some((name, cut)) = text.split_once('@') {
        return (name, Some(cut));
    }
    match text.rsplit_once(['_', '.']) {
        Some((name, cut)) if !cut.is_empty() && cut.bytes().all(|b| b.is_ascii_digit()) => (name, Some(cut)),
        _ => (text, None),
    }
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(text: &str) -> Result<Self, MetricError> {
        let lower = text.trim().to_ascii_lowercase().replace('-', "_");
        let (name, cut) = split(&lower);
        let as_given = || text.trim().to_owned();
        let Some(&(kind, _, use_of_cut, _)) =
            NAMES.iter().find(|(_, canonical, _, others)| *canonical == name || others.contains(&name))
        else {
            return Err(MetricError::Unknown { name: as_given(), nearest: nearest_metric(name, cut) });
        };
        let number = cut.map(|c| c.parse::<NonZeroU32>());
        match (use_of_cut, number) {
            (Cut::None, None) | (Cut::Optional, None) => Ok(Self { kind, cut: None }),
            (Cut::None, Some(_)) => Err(MetricError::NoCut { name: as_given() }),
            (_, Some(Ok(k))) => Ok(Self { kind, cut: Some(k) }),
            (_, Some(Err(_))) | (Cut::Required, None) => Err(MetricError::NeedsCut { name: as_given() }),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(kind, ..)| *kind == self.kind).map_or("", |&(_, name, ..)| name);
        match self.cut {
            // `pad` so that tables can align metrics.
            Some(k) => f.pad(&format!("{name}@{k}")),
            None => f.pad(name),
        }
    }
}

impl serde::Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The known metric whose name (any of its names) is nearest to `name`, written with the cut that was given.
fn nearest_metric(name: &str, cut: Option<&str>) -> String {
    let every = NAMES.iter().flat_map(|(_, canonical, use_of_cut, others)| {
        std::iter::once(canonical).chain(others.iter()).map(move |n| (*n, *canonical, *use_of_cut))
    });
    let best = every.min_by_key(|(known, ..)| edits(name, known));
    match best {
        Some((_, canonical, Cut::None)) => canonical.to_owned(),
        Some((_, canonical, Cut::Optional)) => {
            cut.map_or_else(|| canonical.to_owned(), |c| format!("{canonical}@{c}"))
        }
        Some((_, canonical, Cut::Required)) => format!("{canonical}@{}", cut.unwrap_or("10")),
        None => String::new(),
    }
}

/// Levenshtein distance in characters.
pub(crate) fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Metric>().map_or_else(|e| format!("{e}; {}", e.help()), |m| m.to_string())
    }

    #[test]
    fn names_of_the_other_tools_mean_the_same_metric() {
        for (given, canonical) in [
            ("ndcg@10", "ndcg@10"),
            ("ndcg_cut_10", "ndcg@10"),
            ("ndcg_cut.10", "ndcg@10"),
            ("nDCG@10", "ndcg@10"),
            ("NDCG", "ndcg"),
            ("ndcg_exp@5", "ndcg_exp@5"),
            ("map", "map"),
            ("AP", "map"),
            ("map_cut_100", "map@100"),
            ("recip_rank", "mrr"),
            ("RR@10", "mrr@10"),
            ("R@100", "recall@100"),
            ("recall_100", "recall@100"),
            ("P_5", "p@5"),
            ("precision@5", "p@5"),
            ("Success@1", "hit@1"),
            ("hit-rate@3", "hit@3"),
            ("Rprec", "rprec"),
            ("R_cap@100", "recall_cap@100"),
            ("judged@10", "judged@10"),
            ("num_rel", "num_rel"),
        ] {
            assert_eq!(shown(given), canonical, "{given}");
        }
    }

    #[test]
    fn every_example_is_read_back_as_itself() {
        for metric in Metric::examples() {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
    }

    #[test]
    fn a_wrong_name_suggests_the_nearest() {
        let known = "known: ndcg@10, ndcg_exp@10, map@10, mrr@10, recall@10, p@10, hit@10, rprec, bpref, recall_cap@10, \
                     judged@10, hole@10, num_rel, num_ret, num_rel_ret";
        let unknown = |given: &str, nearest: &str| {
            assert_eq!(
                shown(given),
                format!("no metric is called `{given}`; did you mean `{nearest}`? {known}")
            );
        };
        unknown("ndgc@10", "ndcg@10");
        unknown("recal@20", "recall@20");
        unknown("precison", "p@10");
        unknown("bprefs", "bpref");
    }

    #[test]
    fn cuts_are_asked_for_and_refused() {
        assert_eq!(shown("recall"), "`recall` needs a cut: a number from 1 after @; write `recall@10`");
        assert_eq!(shown("p@0"), "`p@0` needs a cut: a number from 1 after @; write `p@10`");
        assert_eq!(shown("ndcg@ten"), "`ndcg@ten` needs a cut: a number from 1 after @; write `ndcg@10`");
        assert_eq!(shown("bpref@10"), "`bpref@10` takes no cut; write `bpref`");
    }
}
