//! The `beir` profile against BEIR's own evaluator, on the values of `fixtures/make_beir.py`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use hardrock::eval::{EvalOptions, evaluate};
use hardrock::listing::{Qrels, Run};
use hardrock_core::metrics::{Metric, Profile};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    qrels: Vec<(String, String, i32)>,
    run: Vec<(String, String, f64)>,
    expected: BTreeMap<String, f64>,
}

#[test]
fn every_metric_equals_beir_to_its_five_digits() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/beir.json")).unwrap();
    let qrels = Qrels::from_rows(fixture.qrels.iter().map(|(q, d, g)| (&**q, &**d, *g))).unwrap();
    let run = Run::from_rows(fixture.run.iter().map(|(q, d, s)| (&**q, &**d, *s))).unwrap();
    let value = |metric: Metric, profile| {
        let options = EvalOptions { metrics: vec![metric], profile, ..EvalOptions::default() };
        evaluate(&qrels, &run, &options).unwrap().scores[0].value
    };
    let mut unlike_trec = 0;
    for (name, &expected) in &fixture.expected {
        // Names such as NDCG@10, Recall@3 and Accuracy@1 are read as they are.
        let metric: Metric = name.parse().unwrap();
        let ours = value(metric, Profile::Beir);
        // Sums in another order may fall on the other side of a rounding.
        assert!((ours - expected).abs() < 1.5e-5, "{name}: {ours} {expected}");
        unlike_trec += u32::from((value(metric, Profile::Trec) - expected).abs() > 1e-3);
    }
    assert_eq!(fixture.expected.len(), 8 * 3);
    assert!(unlike_trec > 12, "the profile must matter: {unlike_trec}");
}
