//! `hardrock search` and `hardrock generate` from end to end, with `hardrock eval` as the reader of the run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;

use support::{data, example, succeed};

#[test]
fn a_search_finds_what_bm25_is_known_to_find() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) =
        (data("cwe").display().to_string(), folder.path().join("run.trec").display().to_string());
    let (_, stderr) = succeed(["search", &input, "-o", &out, "--split", "test"]);
    assert!(stderr.contains("documents for 394 queries"), "{stderr}");
    let qrels = data("cwe/qrels/test.tsv").display().to_string();
    let (json, _) = succeed(["eval", "--qrels", &qrels, "--run", &out, "-m", "ndcg@10,recall@100", "--json"]);
    // bm25s with the same stop words and stemmer gives .41 and .80 on this split.
    assert!(json.contains("ndcg@10"), "{json}");
    let line = fs::read_to_string(&out).unwrap().lines().next().unwrap().to_owned();
    assert_eq!(line.split(' ').count(), 6, "{line}");
}

#[test]
fn every_query_is_searched_for_and_positives_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) =
        (example().display().to_string(), folder.path().join("all.trec").display().to_string());
    succeed(["search", &input, "-o", &out, "--top-k", "20", "-q"]);
    let text = fs::read_to_string(&out).unwrap();
    let mut queries: Vec<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
    queries.dedup();
    let all = fs::read_to_string(example().join("queries.jsonl")).unwrap().lines().count();
    assert!(queries.len() + 5 >= all && queries.len() <= all, "{} of {all}", queries.len());
    assert!(text.contains("cwe-q0001 Q0 CWE-88 "), "the labelled positive is a document like any other");
    let parquet = folder.path().join("all.parquet").display().to_string();
    succeed(["search", &input, "-o", &parquet, "--top-k", "20", "-q"]);
    assert!(fs::read(&parquet).unwrap().starts_with(b"PAR1"));
}

#[test]
fn completions_and_man_pages_name_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let (bash, _) = succeed(["generate", "bash"]);
    let man = folder.path().join("man").display().to_string();
    succeed(["generate", "man", "--folder", &man]);
    for command in ["mine", "search", "embed", "eval", "explain", "report", "convert", "formats", "validate"]
    {
        assert!(
            bash.contains(&format!("hardrock__{command}")) || bash.contains(&format!("__subcmd__{command}")),
            "{command}"
        );
        assert!(folder.path().join(format!("man/hardrock-{command}.1")).exists(), "{command}");
    }
}
