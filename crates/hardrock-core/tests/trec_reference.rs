//! Metrics and statistics against pytrec_eval, ir_measures and scipy, on the values of `fixtures/make_trec.py`.
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be read fails the test")]

use std::collections::BTreeMap;

use hardrock_core::metrics::{Metric, Profile, Ranking, Retrieved, Rules};
use hardrock_core::stats::{Bootstrap, Interval, paired_t, randomisation_p};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct Query {
    run: Vec<(String, f64)>,
    qrels: Vec<(String, i32)>,
    expected: BTreeMap<i32, BTreeMap<String, f64>>,
    judged: Option<BTreeMap<String, f64>>,
    msmarco_rr_10: Option<f64>,
}

impl Query {
    fn value(&self, metric: Metric, rules: &Rules) -> f64 {
        let grades: Vec<i32> = self.qrels.iter().map(|(_, grade)| *grade).collect();
        let retrieved: Vec<Retrieved<'_>> = self
            .run
            .iter()
            .map(|(doc, score)| {
                let grade = self.qrels.iter().find(|(d, _)| d == doc).map(|(_, grade)| *grade);
                Retrieved { doc, score: *score, grade, judged_anywhere: grade.is_some() }
            })
            .collect();
        Ranking::new(&retrieved, &grades, rules).unwrap().value(metric)
    }
}

fn fixture() -> Vec<Query> {
    serde_json::from_str::<Fixture>(include_str!("fixtures/trec.json")).unwrap().queries
}

#[test]
fn every_metric_equals_pytrec_eval_on_queries_full_of_ties() {
    let mut compared = 0;
    for (number, query) in fixture().iter().enumerate() {
        for (&level, values) in &query.expected {
            for (name, &expected) in values {
                let metric: Metric = name.parse().unwrap();
                let ours = query.value(metric, &Profile::Trec.rules(metric, level));
                assert!(
                    (ours - expected).abs() < 1e-9,
                    "query {number}, level {level}, {name}: {ours} {expected}"
                );
                compared += 1;
            }
        }
    }
    // 320 queries, two levels, 8 metrics without a cut and 5 with three cuts each.
    assert_eq!(compared, 320 * 2 * (8 + 15));
}

#[test]
fn judged_equals_ir_measures_where_ties_cannot_matter() {
    let queries = fixture();
    let mut compared = 0;
    for query in &queries {
        for (name, &expected) in query.judged.iter().flatten() {
            let metric: Metric = name.parse().unwrap();
            let ours = query.value(metric, &Profile::Trec.rules(metric, 1));
            assert!((ours - expected).abs() < 1e-12, "{name}: {ours} {expected}");
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn the_msmarco_profile_equals_its_script() {
    let metric: Metric = "mrr@10".parse().unwrap();
    let rules = Profile::Msmarco.rules(metric, 1);
    let mut unlike_trec = 0;
    for query in &fixture() {
        if let Some(expected) = query.msmarco_rr_10 {
            let ours = query.value(metric, &rules);
            assert!((ours - expected).abs() < 1e-12, "{ours} {expected}");
            unlike_trec += u32::from(query.value(metric, &Profile::Trec.rules(metric, 1)) != ours);
        }
    }
    assert!(unlike_trec > 50, "the order of ties must show: {unlike_trec}");
}

#[derive(Deserialize)]
struct Statistics {
    name: String,
    differences: Vec<f64>,
    t: f64,
    p: f64,
    randomisation: Option<f64>,
    percentile: Option<(f64, f64)>,
    bca: Option<(f64, f64)>,
}

fn statistics() -> Vec<Statistics> {
    serde_json::from_str(include_str!("fixtures/stats.json")).unwrap()
}

#[test]
fn paired_t_equals_scipy() {
    for case in statistics() {
        let ours = paired_t(&case.differences).unwrap();
        assert!((ours.t - case.t).abs() < 1e-10, "{}: {} {}", case.name, ours.t, case.t);
        assert!((ours.p - case.p).abs() < 1e-10, "{}: {} {}", case.name, ours.p, case.p);
        assert_eq!(ours.freedom, case.differences.len() - 1);
    }
}

#[test]
fn exact_randomisation_equals_scipy() {
    let exact: Vec<Statistics> = statistics().into_iter().filter(|c| c.randomisation.is_some()).collect();
    assert_eq!(exact.len(), 2);
    for case in exact {
        let ours = randomisation_p(&case.differences, 0, 0);
        assert!((ours - case.randomisation.unwrap()).abs() < 1e-12, "{}: {ours}", case.name);
    }
}

#[test]
fn bootstrap_intervals_agree_with_scipy_up_to_sampling() {
    let mut compared = 0;
    for case in statistics() {
        let Some(bootstrap) = Bootstrap::new(&case.differences, 0, 200_000) else { continue };
        for (ours, theirs) in [(bootstrap.percentile(0.95), case.percentile), (bootstrap.bca(0.95), case.bca)]
        {
            let Some((low, high)) = theirs else { continue };
            // Two runs of scipy differ by up to a hundredth of the width at this number of resamples.
            let near = 0.015 * (high - low);
            let Interval { low: l, high: h } = ours;
            assert!((l - low).abs() < near && (h - high).abs() < near, "{}: {ours:?} {theirs:?}", case.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
}

#[test]
fn bca_moves_a_skewed_interval_towards_the_tail() {
    let skewed = statistics().into_iter().find(|c| c.name == "skewed").unwrap();
    let bootstrap = Bootstrap::new(&skewed.differences, 0, 10_000).unwrap();
    assert!(bootstrap.bca(0.95).high > bootstrap.percentile(0.95).high);
}
