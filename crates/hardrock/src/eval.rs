//! Evaluates runs against judgements and compares them, query by query.
//!
//! The values of a query do not depend on any other, and sums run over the queries in the order of the judgements:
//! results are the same for any number of threads.

mod per_query;

use hardrock_core::metrics::{
    Metric, Missing, Profile, Ranking, Retrieved, Rules, ScoreType, SelfHits, Ties, WithoutRelevant,
};
use hardrock_core::stats::{self, Bootstrap, Interval, PairedT};
use rayon::prelude::*;
use serde::Serialize;

use crate::listing::{Qrels, Run};
use crate::{Error, Result};

pub use per_query::write_per_query;

/// Sign flips and resamples of a comparison.
pub const ROUNDS: u32 = 10_000;

/// Confidence of a comparison's interval.
pub const CONFIDENCE: f64 = 0.95;

/// What to compute and by which conventions; `None` leaves a choice to the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalOptions {
    /// Metrics, in the order of the result.
    pub metrics: Vec<Metric>,
    /// Whose conventions.
    pub profile: Profile,
    /// Order of tied documents.
    pub ties: Option<Ties>,
    /// Number type in which scores are compared.
    pub score_type: Option<ScoreType>,
    /// Documents whose id is the query's.
    pub self_hits: Option<SelfHits>,
    /// Judged queries that the run does not hold.
    pub missing: Option<Missing>,
    /// Lowest relevant grade, at least 1.
    pub level: i32,
}

impl Default for EvalOptions {
    /// trec_eval's conventions and no metric.
    fn default() -> Self {
        Self {
            metrics: Vec::new(),
            profile: Profile::Trec,
            ties: None,
            score_type: None,
            self_hits: None,
            missing: None,
            level: 1,
        }
    }
}

impl EvalOptions {
    /// The rules for one metric.
    pub fn rules(&self, metric: Metric) -> Rules {
        let profile = self.profile.rules(metric, self.level);
        Rules {
            ties: self.ties.unwrap_or(profile.ties),
            score_type: self.score_type.unwrap_or(profile.score_type),
            missing: self.missing.unwrap_or(profile.missing),
            ..profile
        }
    }

    /// What happens to self-hits.
    pub fn self_hits(&self) -> SelfHits {
        self.self_hits.unwrap_or(self.profile.self_hits())
    }
}

/// Numbers of queries and documents that a reader of a score should know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Queries in the judgements.
    pub judged: usize,
    /// Queries in the run.
    pub run: usize,
    /// Queries in both.
    pub both: usize,
    /// Judged queries that the run misses.
    pub missing: usize,
    /// Queries of the run without judgements; they count nowhere.
    pub not_judged: usize,
    /// Judged queries without a relevant document.
    pub without_relevant: usize,
    /// Retrieved documents whose id is the query's, in queries of both.
    pub self_hits: usize,
    /// Queries in which equal scores join documents of different gain, so that the order of ties can decide.
    pub ties_matter: usize,
}

/// One metric over all queries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// The metric.
    pub metric: Metric,
    /// The rules by which it was computed.
    pub rules: Rules,
    /// Mean over the counted queries, sum for counts; rounded where the profile rounds.
    pub value: f64,
    /// Queries that count.
    pub queries: usize,
    /// The value under the other policy for missing queries, where queries are missing.
    pub other_missing: Option<f64>,
    /// Queries with equal scores on both sides of the cut; `None` without a cut.
    pub tied_at_cut: Option<usize>,
    /// Value of each query of [`Evaluation::queries`], not rounded; `None` = does not count.
    #[serde(skip)]
    pub per_query: Vec<Option<f64>>,
}

/// A run's scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Whose conventions.
    pub profile: Profile,
    /// What happened to self-hits.
    pub self_hits: SelfHits,
    /// Lowest relevant grade.
    pub level: i32,
    /// What was evaluated.
    pub counts: Counts,
    /// One for each metric asked for, in that order.
    pub scores: Vec<Score>,
    /// Ids of the judged queries, in the order of the judgements.
    #[serde(skip)]
    pub queries: Vec<String>,
}

/// What one query contributes.
struct Outcome {
    present: bool,
    relevant: usize,
    self_hits: usize,
    ties_matter: bool,
    /// Value and tie at the cut, one for each metric.
    values: Vec<(f64, bool)>,
}

/// Evaluates a run.
///
/// # Errors
/// No metric, a level below 1, a NaN score, or not one query in both the judgements and the run.
pub fn evaluate(qrels: &Qrels, run: &Run, options: &EvalOptions) -> Result<Evaluation> {
    if options.metrics.is_empty() {
        return Err(Error::usage("no metric is asked for", "give at least one, such as ndcg@10"));
    }
    if options.level < 1 {
        let problem = format!("the relevance level is {}", options.level);
        return Err(Error::usage(problem, "give at least 1: a grade of 0 means not relevant"));
    }
    let counts = Counts {
        judged: qrels.len(),
        run: run.len(),
        both: qrels.queries().iter().filter(|query| run.queries().find(query).is_some()).count(),
        ..Counts::default()
    };
    if counts.both == 0 {
        return Err(strangers(qrels, run));
    }
    let rules: Vec<Rules> = options.metrics.iter().map(|&metric| options.rules(metric)).collect();
    // Each of the run's documents is looked up once, not once per query.
    let judged_docs: Vec<Option<u32>> = run.docs().iter().map(|doc| qrels.docs().find(doc)).collect();
    let outcomes: Vec<Outcome> = (0..qrels.len() as u32)
        .into_par_iter()
        .map(|query| outcome(qrels, run, &judged_docs, query, &rules, options))
        .collect::<Result<_>>()?;

    let sum = |of: &dyn Fn(&Outcome) -> usize| outcomes.iter().map(of).sum();
    let counts = Counts {
        missing: counts.judged - counts.both,
        not_judged: counts.run - counts.both,
        without_relevant: sum(&|o| usize::from(o.relevant == 0)),
        self_hits: sum(&|o| o.self_hits),
        ties_matter: sum(&|o| usize::from(o.ties_matter)),
        ..counts
    };
    let scores = options.metrics.iter().zip(rules).enumerate();
    Ok(Evaluation {
        profile: options.profile,
        self_hits: options.self_hits(),
        level: options.level,
        counts,
        scores: scores.map(|(place, (&metric, rules))| score(metric, rules, place, &outcomes)).collect(),
        queries: qrels.queries().iter().map(str::to_owned).collect(),
    })
}

/// The error for two files about different queries.
fn strangers(qrels: &Qrels, run: &Run) -> Error {
    let first = |ids: &crate::read::Ids| ids.iter().next().unwrap_or_default().to_owned();
    Error::usage(
        "no query of the run has judgements",
        format!(
            "the run's first query is `{}`, the judgements' first is `{}`: are they of the same split, with ids \
             written the same way?",
            first(run.queries()),
            first(qrels.queries())
        ),
    )
}

fn outcome(
    qrels: &Qrels,
    run: &Run,
    judged_docs: &[Option<u32>],
    query: u32,
    rules: &[Rules],
    options: &EvalOptions,
) -> Result<Outcome> {
    let id = qrels.queries().get(query);
    let mut judged: Vec<(u32, i32)> = qrels.numbered(query).to_vec();
    judged.sort_unstable();
    let grades: Vec<i32> = judged.iter().map(|row| row.1).collect();
    let number = run.queries().find(id);
    let mut retrieved: Vec<Retrieved<'_>> = number
        .map_or(&[][..], |number| run.numbered(number))
        .iter()
        .map(|&(doc, score)| {
            let judged_doc = judged_docs.get(doc as usize).copied().flatten();
            let row = judged_doc.and_then(|doc| judged.binary_search_by_key(&doc, |row| row.0).ok());
            Retrieved {
                doc: run.docs().get(doc),
                score,
                grade: row.and_then(|row| judged.get(row)).map(|row| row.1),
                judged_anywhere: judged_doc.is_some(),
            }
        })
        .collect();
    let self_hits = retrieved.iter().filter(|r| r.doc == id).count();
    if options.self_hits() == SelfHits::Drop {
        retrieved.retain(|r| r.doc != id);
    }

    // Metrics mostly share their rules: one ranking serves all that do.
    let mut rankings: Vec<(Rules, Ranking)> = Vec::new();
    let mut values = Vec::with_capacity(rules.len());
    for (metric, rules) in options.metrics.iter().zip(rules) {
        let place = match rankings.iter().position(|(known, _)| known == rules) {
            Some(place) => place,
            None => {
                let ranking = Ranking::new(&retrieved, &grades, rules).map_err(|nan| {
                    Error::usage(format!("query `{id}`: {nan}"), "leave out documents without a score")
                })?;
                rankings.push((*rules, ranking));
                rankings.len() - 1
            }
        };
        if let Some((_, ranking)) = rankings.get(place) {
            let tied = metric.cut().is_some_and(|cut| ranking.tied_at(cut));
            values.push((ranking.value(*metric), tied));
        }
    }
    Ok(Outcome {
        present: number.is_some(),
        relevant: grades.iter().filter(|grade| **grade >= options.level).count(),
        self_hits,
        ties_matter: rankings.iter().any(|(_, ranking)| ranking.ties_matter()),
        values,
    })
}

/// Brings together what the queries say about one metric.
fn score(metric: Metric, rules: Rules, place: usize, outcomes: &[Outcome]) -> Score {
    let value = |o: &Outcome| o.values.get(place).map_or(0.0, |v| v.0);
    let relevant = |o: &Outcome| o.relevant > 0 || rules.without_relevant == WithoutRelevant::Zero;
    let counted = |missing: Missing| -> Vec<Option<f64>> {
        let counts = |o: &Outcome| relevant(o) && (o.present || missing == Missing::Zero);
        outcomes.iter().map(|o| counts(o).then(|| value(o))).collect()
    };
    let together = |values: &[Option<f64>]| {
        let (sum, n) = values.iter().flatten().fold((0.0, 0_usize), |(sum, n), v| (sum + v, n + 1));
        let value = if metric.is_count() || n == 0 { sum } else { sum / n as f64 };
        (rounded(value, rules.digits), n)
    };
    let per_query = counted(rules.missing);
    let (value, queries) = together(&per_query);
    let other = if rules.missing == Missing::Zero { Missing::Skip } else { Missing::Zero };
    let any_missing = outcomes.iter().any(|o| !o.present);
    let tied = outcomes.iter().filter(|o| o.values.get(place).is_some_and(|v| v.1)).count();
    Score {
        metric,
        rules,
        value,
        queries,
        other_missing: any_missing.then(|| together(&counted(other)).0),
        tied_at_cut: metric.cut().map(|_| tied),
        per_query,
    }
}

/// Rounds in decimal, half to even, as Python's `round`.
fn rounded(value: f64, digits: Option<u8>) -> f64 {
    digits.and_then(|digits| format!("{value:.0$}", usize::from(digits)).parse().ok()).unwrap_or(value)
}

/// One metric of two runs; differences are run minus baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The metric.
    pub metric: Metric,
    /// Place of the baseline among those given.
    pub baseline: usize,
    /// The run's mean over the compared queries.
    pub run_mean: f64,
    /// The baseline's mean over the same queries.
    pub baseline_mean: f64,
    /// Mean difference.
    pub difference: f64,
    /// BCa bootstrap interval of the mean difference, lower and upper end.
    pub interval: (f64, f64),
    /// Percentile bootstrap interval from the same resamples.
    pub percentile_interval: (f64, f64),
    /// Two-sided p of the sign-flip randomisation test.
    pub p: f64,
    /// The same after Holm's correction for all comparisons made together.
    pub p_holm: f64,
    /// Student's t, where the differences vary.
    pub t: Option<f64>,
    /// Its two-sided p.
    pub t_p: Option<f64>,
    /// Mean difference in standard deviations of the differences, where they vary.
    pub effect: Option<f64>,
    /// Queries in which the run is better.
    pub better: usize,
    /// Queries in which both are equal.
    pub equal: usize,
    /// Queries in which the run is worse.
    pub worse: usize,
    /// Queries compared: those that count in both.
    pub queries: usize,
}

/// Compares a run with baselines on the same judgements and options, metric by metric; counts, judged and hole are left
/// out, since more of them is neither better nor worse. The answer lists all metrics of the first baseline, then of the
/// next.
///
/// # Errors
/// Evaluations of different judgements or metrics, or no query that counts in both.
pub fn compare(run: &Evaluation, baselines: &[&Evaluation], seed: u64) -> Result<Vec<Comparison>> {
    let mut pairs = Vec::new();
    for (place, baseline) in baselines.iter().enumerate() {
        let metrics = |e: &Evaluation| e.scores.iter().map(|s| (s.metric, s.rules)).collect::<Vec<_>>();
        if run.queries != baseline.queries || metrics(run) != metrics(baseline) {
            return Err(Error::usage(
                "the evaluations to compare differ in judgements or metrics",
                "evaluate all runs with the same judgements and options",
            ));
        }
        let both = run.scores.iter().zip(&baseline.scores).filter(|(score, _)| score.metric.is_quality());
        pairs.extend(both.map(|(a, b)| (place, a, b)));
    }
    let mut found: Vec<Comparison> = pairs
        .into_par_iter()
        .map(|(place, a, b)| comparison(place, a, b, seed))
        .collect::<Option<_>>()
        .ok_or_else(|| Error::usage("no query counts in both runs", "compare runs over the same queries"))?;
    let adjusted = stats::holm(&found.iter().map(|c| c.p).collect::<Vec<_>>());
    found.iter_mut().zip(adjusted).for_each(|(comparison, p)| comparison.p_holm = p);
    Ok(found)
}

/// `None` when no query counts in both.
fn comparison(baseline: usize, a: &Score, b: &Score, seed: u64) -> Option<Comparison> {
    let values: Vec<(f64, f64)> =
        a.per_query.iter().zip(&b.per_query).filter_map(|(a, b)| a.zip(*b)).collect();
    let differences: Vec<f64> = values.iter().map(|(a, b)| a - b).collect();
    let difference = stats::mean(&differences)?;
    let bootstrap = Bootstrap::new(&differences, seed, ROUNDS)?;
    let t: Option<PairedT> = stats::paired_t(&differences);
    let ends = |interval: Interval| (interval.low, interval.high);
    let better = differences.iter().filter(|d| **d > 0.0).count();
    let worse = differences.iter().filter(|d| **d < 0.0).count();
    let p = stats::randomisation_p(&differences, seed, ROUNDS);
    Some(Comparison {
        metric: a.metric,
        baseline,
        run_mean: stats::mean(&values.iter().map(|v| v.0).collect::<Vec<_>>())?,
        baseline_mean: stats::mean(&values.iter().map(|v| v.1).collect::<Vec<_>>())?,
        difference,
        interval: ends(bootstrap.bca(CONFIDENCE)),
        percentile_interval: ends(bootstrap.percentile(CONFIDENCE)),
        p,
        p_holm: p,
        t: t.map(|t| t.t),
        t_p: t.map(|t| t.p),
        effect: stats::deviation(&differences).filter(|s| *s > 0.0).map(|s| difference / s),
        better,
        equal: differences.len() - better - worse,
        worse,
        queries: differences.len(),
    })
}

#[cfg(test)]
mod tests;
