//! `hardrock search` and `hardrock generate` from end to end, with `hardrock eval` as the reader of the run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;

use support::{data, example, manifest, run, succeed};

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

#[test]
fn an_approximate_search_says_how_much_it_found_and_finds_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (input, model) = (data("cwe").display().to_string(), data("static-minilm").display().to_string());
    let search = |name: &str, more: &[&str]| {
        let (out, work) = (path(name), path(&format!("{name}.work")));
        let start = ["search", &input, "--model", &model, "--top-k", "10", "-o", &out, "--work", &work];
        let (_, stderr) = succeed(start.into_iter().chain(more.iter().copied()));
        (std::fs::read_to_string(&out).unwrap(), stderr)
    };
    let (exact, stderr) = search("exact.trec", &[]);
    assert!(!stderr.contains("recall"), "{stderr}");
    let (one, stderr) = search("one.trec", &["--approximate", "0.6", "--threads", "1"]);
    assert!(stderr.contains("dense: recall 0."), "{stderr}");
    assert_ne!(exact, one, "half a search finds less");
    assert_eq!(one, search("two.trec", &["--approximate", "0.6", "--threads", "2"]).0);

    let recall = manifest(&folder.path().join("one.trec"))["recall"]["dense"].clone();
    assert_eq!(recall["target"], 0.6);
    let pairs = |text: &str| -> std::collections::BTreeSet<String> {
        text.lines().map(|l| l.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
    };
    let (exact, found) = (pairs(&exact), pairs(&one));
    let share = exact.intersection(&found).count() as f64 / exact.len() as f64;
    let said = |key: &str| recall[key].as_f64().unwrap();
    assert!(said("low") >= 0.55 && said("low") < said("mean") && said("mean") < said("high"), "{recall}");
    assert!((share - said("mean")).abs() < 0.05, "{share} {recall}");

    // Again from the same work folder: measured once, said again.
    let (out, work) = (path("one.trec"), path("one.trec.work"));
    let again =
        ["search", &input, "--model", &model, "--top-k", "10", "-o", &out, "--work", &work, "--force"];
    let (_, stderr) = succeed(again.into_iter().chain(["--approximate", "0.6"]));
    assert!(stderr.contains("dense: recall 0."), "{stderr}");

    let (code, _, stderr) = run(["search", &input, "-o", &path("x.trec"), "--approximate"]);
    assert_eq!(code, Some(2), "{stderr}");
    let arguments = ["search", &input, "--model", &model, "-o", &path("x.trec"), "--approximate", "1.5"];
    let (code, _, stderr) = run(arguments);
    assert!(code == Some(2) && stderr.contains("a recall of 1.5"), "{stderr}");
}
