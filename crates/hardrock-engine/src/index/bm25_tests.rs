//! BM25 against the field's own tools, against its definition, and against itself under every budget.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::index::{TokenOptions, Tokenizer, Words};

fn tokenizer() -> Tokenizer {
    Tokenizer::new(TokenOptions { words: Words::Whitespace, ..TokenOptions::plain() }).unwrap()
}

fn forward(texts: &Vec<String>) -> Arc<Forward> {
    Arc::new(Forward::build(texts, tokenizer(), &Watch::default()).unwrap())
}

fn search(index: &Bm25, queries: &Vec<String>, k: usize) -> Neighbours {
    index.search(queries, 0..queries.len(), k, &Watch::default()).unwrap()
}

/// Scores every document by itself and sorts: the definition of the answer.
fn naive(index: &Bm25, query: &str, k: usize) -> Vec<(u32, f32)> {
    let terms = index.forward().query(query);
    let mut buffer = RowBuffer::default();
    let mut all: Vec<(u32, f32)> = (0..index.forward().len() as u32)
        .map(|doc| (doc, index.score(&terms, doc, &mut buffer).unwrap()))
        .filter(|(_, score)| *score > 0.0)
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

fn row(found: &Neighbours, row: usize) -> Vec<(u32, f32)> {
    let (items, scores) = found.row(row);
    items.iter().copied().zip(scores.iter().copied()).collect()
}

#[derive(serde::Deserialize)]
struct Fixture {
    docs: Vec<String>,
    queries: Vec<String>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    k1: f64,
    b: f64,
    scores: Vec<Vec<f64>>,
}

#[test]
fn scores_equal_those_of_bm25s_and_rank_bm25() {
    let fixture: Fixture = serde_json::from_str(include_str!("../../tests/fixtures/bm25.json")).unwrap();
    let forward = forward(&fixture.docs);
    for case in &fixture.cases {
        let options = Bm25Options { k1: case.k1, b: case.b };
        let index = Bm25::build(forward.clone(), options, u64::MAX).unwrap();
        let found = search(&index, &fixture.queries, fixture.docs.len());
        for (q, expected) in case.scores.iter().enumerate() {
            let mut scores = vec![0f64; fixture.docs.len()];
            row(&found, q).iter().for_each(|&(doc, score)| scores[doc as usize] = f64::from(score));
            for (got, want) in scores.iter().zip(expected) {
                assert!((got - want).abs() <= 1e-5 * want.max(1.0), "query {q}: {got} for {want}");
            }
        }
    }
}

#[test]
fn ties_go_to_the_lower_document_and_zeros_stay_out() {
    let docs: Vec<String> = ["x", "a b", "b a", "x", "a b"].map(String::from).to_vec();
    let index = Bm25::build(forward(&docs), Bm25Options::default(), u64::MAX).unwrap();
    let found = search(&index, &vec!["a".into(), "none of these".into()], 2);
    assert_eq!(found.starts, [0, 2, 2]);
    assert_eq!(found.items, [1, 2]);
    assert_eq!(found.scores[0], found.scores[1]);
}

#[test]
fn a_repeated_query_term_counts_twice() {
    let docs: Vec<String> = ["a", "b", "a b"].map(String::from).to_vec();
    let index = Bm25::build(forward(&docs), Bm25Options::default(), u64::MAX).unwrap();
    let found = search(&index, &vec!["a".into(), "a a".into()], 3);
    assert_eq!(found.row(0).1[0] * 2.0, found.row(1).1[0]);
}

#[test]
fn many_equal_scores_keep_the_lowest_documents_across_blocks() {
    // Two blocks, and more ties than the buffer of candidates holds; both the scan and the walk over rare postings.
    let docs: Vec<String> =
        (0..70_000).map(|i| if i % 97 == 0 { "rare common" } else { "also common" }.to_owned()).collect();
    let index = Bm25::build(forward(&docs), Bm25Options::default(), u64::MAX).unwrap();
    let found = search(&index, &vec!["common".into(), "rare".into(), "rare common".into()], 700);
    assert_eq!(found.row(0).0, (0..700).collect::<Vec<u32>>());
    assert_eq!(found.row(1).0, (0..700).map(|i| i * 97).collect::<Vec<u32>>());
    assert_eq!(found.row(2).0, (0..700).map(|i| i * 97).collect::<Vec<u32>>());
}

#[test]
fn an_empty_corpus_and_k_of_zero_find_nothing() {
    let index = Bm25::build(forward(&Vec::new()), Bm25Options::default(), 0).unwrap();
    assert_eq!(search(&index, &vec!["a".into()], 5).starts, [0, 0]);
    let index = Bm25::build(forward(&vec!["a".into(), String::new()]), Bm25Options::default(), 0).unwrap();
    assert_eq!(search(&index, &vec!["a".into()], 0).starts, [0, 0]);
    assert_eq!(search(&index, &vec!["a".into()], 9).items, [0]);
}

#[test]
fn parameters_out_of_range_are_refused() {
    let error = |k1, b| Bm25Options { k1, b }.check().unwrap_err().to_string();
    assert_eq!(error(-1.0, 0.5), "bm25.k1 must be >= 0 and finite, got -1");
    assert_eq!(error(1.0, f64::NAN), "bm25.b must be in [0, 1], got NaN");
}

#[test]
fn a_set_flag_stops_the_search() {
    let index = Bm25::build(forward(&vec!["a".into()]), Bm25Options::default(), u64::MAX).unwrap();
    let flag = AtomicBool::new(true);
    let watch = Watch { cancel: Some(&flag), progress: None };
    assert!(matches!(index.search(&vec!["a"], 0..1, 1, &watch), Err(IndexError::Cancelled)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_budget_and_thread_count_finds_what_the_definition_says(
        docs in proptest::collection::vec("[a-g]( [a-g]){0,8}|", 1..60),
        queries in proptest::collection::vec("[a-i]( [a-i]){0,5}", 1..40),
        k in 1usize..20,
        budget in 0u64..3000,
        threads in 1usize..4,
    ) {
        let forward = forward(&docs);
        let whole = Bm25::build(forward.clone(), Bm25Options::default(), u64::MAX).unwrap();
        // The tight one reads its rows from a file.
        let file = tempfile::NamedTempFile::new().unwrap();
        forward.write(&file).unwrap();
        let opened = Arc::new(Forward::open(file.path(), tokenizer(), 0).unwrap());
        let tight = Bm25::build(opened, Bm25Options::default(), budget).unwrap();
        let found = search(&whole, &queries, k);
        for (q, query) in queries.iter().enumerate() {
            prop_assert_eq!(row(&found, q), naive(&whole, query, k));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        prop_assert_eq!(pool.install(|| search(&tight, &queries, k)), found);
    }
}
