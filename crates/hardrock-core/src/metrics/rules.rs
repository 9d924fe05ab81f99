//! The conventions in which evaluators differ, each a named choice, and the sets of choices that known tools make.
//!
//! ## Profiles
//! | profile | ties | scores | self-hits | missing queries | other |
//! |---|---|---|---|---|---|
//! | `trec` | document id descending | f32 | kept | 0 (trec_eval `-c`) | none |
//! | `beir` | ndcg, map, recall, p as `trec`; mrr, recall_cap, hole, hit in file order | f32; f64 in file order | dropped | skipped; 0 where in file order | rounded to 5 digits |
//! | `mteb` | document id descending | f32 | kept | skipped | rounded to 5 digits; recall_cap skips queries without a relevant document |
//! | `st` | document id ascending | f64 | kept | 0 | binary gains; map@k divides by min(k, R); queries without a relevant document skipped |
//! | `msmarco` | document id ascending | f64 | kept | 0 | queries without a relevant document skipped |

use std::str::FromStr;

use serde::Serialize;

use super::{Kind, Metric, edits};

/// How documents with the same score are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// Higher id first, ids compared as bytes: trec_eval's order.
    DocidDesc,
    /// Lower id first, ids compared as bytes.
    DocidAsc,
    /// As in the run file. A scorer that says nothing can look perfect: for audits only.
    File,
    /// Lowest grade first, documents without a judgement before all: no tie can flatter the run.
    Worst,
    /// The exact expectation over all orders of the tied documents (McSherry and Najork 2008).
    Expected,
}

/// The number type in which scores are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreType {
    /// 32 bits, as trec_eval before 2023-09 and every pytrec_eval wheel: 0.5 and 0.5 + 1e-12 tie.
    F32,
    /// 64 bits, as trec_eval 10 and Python's `sorted`.
    F64,
}

/// What happens to a retrieved document whose id is the query's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SelfHits {
    /// Taken out before ranking, as BEIR does by default.
    Drop,
    /// Ranked like any other.
    Keep,
}

/// What a judged query counts that the run does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// It counts 0, as in trec_eval `-c`.
    Zero,
    /// It is left out of the mean, as in trec_eval without `-c`.
    Skip,
}

/// What a query counts that has no relevant document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutRelevant {
    /// It counts 0.
    Zero,
    /// It is left out of the mean.
    Skip,
}

/// Everything that decides a metric's value besides the run and the judgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Rules {
    /// Order of tied documents.
    pub ties: Ties,
    /// Number type of the comparison.
    pub score_type: ScoreType,
    /// Lowest grade that is relevant, `>= 1` in use; gains of [`Kind::Ndcg`] do not look at it.
    pub level: i32,
    /// Gains are 1 for relevant documents and 0 for others.
    pub binary: bool,
    /// `map@k` divides by min(k, R), not R.
    pub capped_map: bool,
    /// Queries that the run misses.
    pub missing: Missing,
    /// Queries without a relevant document.
    pub without_relevant: WithoutRelevant,
    /// Decimal digits to which means are rounded; `None` = not rounded.
    pub digits: Option<u8>,
}

/// The conventions of a known evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// trec_eval 9 with `-c`, pytrec_eval.
    Trec,
    /// BEIR's `EvaluateRetrieval`.
    Beir,
    /// MTEB's retrieval tasks since 2026-08.
    Mteb,
    /// sentence-transformers' `InformationRetrievalEvaluator`, NanoBEIR.
    St,
    /// MS MARCO's script, as in ir_measures' `RR@10`.
    Msmarco,
}

impl Profile {
    /// The rules by which this evaluator computes `metric`, with relevance from `level` on.
    pub fn rules(self, metric: Metric, level: i32) -> Rules {
        let trec = Rules {
            ties: Ties::DocidDesc,
            score_type: ScoreType::F32,
            level,
            binary: false,
            capped_map: false,
            missing: Missing::Zero,
            without_relevant: WithoutRelevant::Zero,
            digits: None,
        };
        let five_digits = Rules { missing: Missing::Skip, digits: Some(5), ..trec };
        match (self, metric.kind()) {
            (Self::Trec, _) => trec,
            // BEIR sorts these itself, by score alone and stably, and divides by the number of judged queries.
            (Self::Beir, Kind::Mrr | Kind::RecallCap | Kind::Hole | Kind::Hit) => {
                Rules { ties: Ties::File, score_type: ScoreType::F64, missing: Missing::Zero, ..five_digits }
            }
            (Self::Beir, _) => five_digits,
            (Self::Mteb, Kind::RecallCap) => Rules { without_relevant: WithoutRelevant::Skip, ..five_digits },
            (Self::Mteb, _) => five_digits,
            (Self::St | Self::Msmarco, _) => Rules {
                ties: Ties::DocidAsc,
                score_type: ScoreType::F64,
                binary: self == Self::St,
                capped_map: self == Self::St,
                without_relevant: WithoutRelevant::Skip,
                ..trec
            },
        }
    }

    /// What this evaluator does with self-hits.
    pub fn self_hits(self) -> SelfHits {
        if self == Self::Beir { SelfHits::Drop } else { SelfHits::Keep }
    }
}

/// A choice that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {what} is called `{name}`")]
pub struct UnknownName {
    /// What was to be chosen.
    pub what: &'static str,
    /// As given.
    pub name: String,
    /// The known name that looks most like it.
    pub nearest: &'static str,
    /// All known names.
    pub known: Vec<&'static str>,
}

impl UnknownName {
    /// What to write instead.
    pub fn help(&self) -> String {
        format!("did you mean `{}`? known: {}", self.nearest, self.known.join(", "))
    }
}

/// Reads and shows a choice by its name, from one list.
macro_rules! named {
    ($type:ident, $what:literal, $($name:literal => $value:expr),+) => {
        impl $type {
            /// Every choice, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$($value),+];

            /// The name in options and reports.
            pub fn name(self) -> &'static str {
                [$(($value, $name)),+].iter().find(|(v, _)| *v == self).map_or("", |(_, n)| *n)
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let known = vec![$($name),+];
                Self::ALL.iter().copied().find(|v| v.name().eq_ignore_ascii_case(text.trim())).ok_or_else(|| {
                    let nearest = known.iter().copied().min_by_key(|n| edits(text, n)).unwrap_or_default();
                    UnknownName { what: $what, name: text.to_owned(), nearest, known }
                })
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

named!(Ties, "tie policy", "docid-desc" => Self::DocidDesc, "docid-asc" => Self::DocidAsc, "file" => Self::File,
    "worst" => Self::Worst, "expected" => Self::Expected);
named!(ScoreType, "score type", "f32" => Self::F32, "f64" => Self::F64);
named!(SelfHits, "self-hit policy", "drop" => Self::Drop, "keep" => Self::Keep);
named!(Missing, "policy for missing queries", "zero" => Self::Zero, "skip" => Self::Skip);
named!(Profile, "profile", "trec" => Self::Trec, "beir" => Self::Beir, "mteb" => Self::Mteb, "st" => Self::St,
    "msmarco" => Self::Msmarco);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_by_the_name_they_show() {
        for &ties in Ties::ALL {
            assert_eq!(ties.to_string().parse(), Ok(ties));
        }
        for &profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        assert_eq!("SKIP".parse(), Ok(Missing::Skip));
    }

    #[test]
    fn a_wrong_choice_suggests_the_nearest() {
        let e = "docid-dsc".parse::<Ties>().unwrap_err();
        assert_eq!(e.to_string(), "no tie policy is called `docid-dsc`");
        assert_eq!(
            e.help(),
            "did you mean `docid-desc`? known: docid-desc, docid-asc, file, worst, expected"
        );
        assert_eq!("bier".parse::<Profile>().unwrap_err().nearest, "beir");
    }

    #[test]
    fn beir_breaks_ties_two_ways() {
        let rules = |m: &str| Profile::Beir.rules(m.parse().unwrap(), 1);
        assert_eq!((rules("ndcg@10").ties, rules("ndcg@10").missing), (Ties::DocidDesc, Missing::Skip));
        assert_eq!((rules("mrr@10").ties, rules("mrr@10").missing), (Ties::File, Missing::Zero));
    }
}
