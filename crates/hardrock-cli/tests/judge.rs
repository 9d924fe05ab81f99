//! `hardrock judge` and the promise, from files to files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::{example, file, hardrock, manifest, run, succeed};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Mines the shipped example; returns the mined file.
fn mined(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let out = folder.join(name);
    let (data, path) = (text(&example()), text(&out));
    let fixed = ["mine", &data, "-o", &path, "--format", "native", "--force"];
    succeed(fixed.into_iter().chain(options.iter().copied()));
    out
}

/// Judges with keys from a pipe.
fn keys(run: &Path, options: &[&str], keys: &str) -> String {
    let path = text(run);
    let fixed = ["judge", &path, "--judge", "me"];
    let mut child = hardrock(fixed.into_iter().chain(options.iter().copied()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(keys.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn every_candidate_has_a_p_fn_and_the_option_bounds_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = mined(folder.path(), "a.jsonl", &["--filter", "known,text"]);
    let p_fn = &manifest(&out)["p_fn"];
    let bins = p_fn["bins"].as_array().unwrap();
    let all: u64 = bins.iter().map(|b| b["candidates"].as_u64().unwrap()).sum();
    assert_eq!(all, manifest(&out)["counts"]["retrieved"].as_u64().unwrap());
    let strict = mined(folder.path(), "b.jsonl", &["--filter", "known,text", "--max-p-fn", "0.003"]);
    let bins = manifest(&strict)["p_fn"]["bins"].clone();
    let above = bins.as_array().unwrap().iter().filter(|b| b["from"].as_f64().unwrap() >= 0.003);
    assert!(above.clone().count() > 0, "{bins}");
    above.for_each(|b| assert_eq!(b["selected"], 0, "{bins}"));
    assert!(manifest(&strict)["counts"]["dropped"]["max-p-fn"].as_u64().unwrap() > 0);
    let none = mined(folder.path(), "c.jsonl", &["--filter", "known,text", "--p-fn", "none"]);
    assert!(manifest(&none).get("p_fn").is_none());
}

#[test]
fn weights_are_what_p_fn_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let out = mined(folder.path(), "a.jsonl", &["--weight", "p_fn"]);
    let first: serde_json::Value =
        serde_json::from_str(fs::read_to_string(&out).unwrap().lines().next().unwrap()).unwrap();
    for doc in first["negatives"].as_array().unwrap() {
        let weight = doc["weight"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&weight));
    }
    let (code, _, stderr) = run([
        "mine",
        &text(&example()),
        "-o",
        &text(&folder.path().join("x.jsonl")),
        "--format",
        "flagembedding",
        "--weight",
        "p_fn",
    ]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no place for weights"), "{stderr}");
}

#[test]
fn keys_are_stored_undone_and_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let out = mined(folder.path(), "a.jsonl", &[]);
    // Two, one of them taken back and given anew, then a third; the sitting ends.
    let said = keys(&out, &["-n", "10"], "nybnuq");
    assert!(said.contains("3 verdicts, 0 relevant"), "{said}");
    let exported = folder.path().join("v.jsonl");
    succeed(["judge", &text(&out), "--export", &text(&exported)]);
    let before = fs::read_to_string(&exported).unwrap();
    assert_eq!(before.lines().count(), 3);
    assert_eq!(before.matches("\"unsure\"").count(), 1);
    // The next sitting begins behind them.
    keys(&out, &["-n", "10"], "yq");
    succeed(["judge", &text(&out), "--export", &text(&exported)]);
    assert_eq!(fs::read_to_string(&exported).unwrap().lines().count(), 4);
    let promoted = folder.path().join("new.tsv");
    let (stdout, _) = succeed(["judge", &text(&out), "--promote", &text(&promoted)]);
    assert!(stdout.contains("1 confirmed"), "{stdout}");
    assert_eq!(fs::read_to_string(&promoted).unwrap().lines().count(), 2);
}

#[test]
fn verdicts_prove_a_promise_and_a_change_voids_it() {
    let folder = tempfile::tempdir().unwrap();
    let base = ["--filter", "known,text"];
    let first = mined(folder.path(), "a.jsonl", &base);
    let empty = file(folder.path(), "none.qrels", "");
    succeed([
        "judge",
        &text(&first),
        "-n",
        "20",
        "--max-false-negatives",
        "0.1",
        "--by",
        &format!("qrels:{}", text(&empty)),
    ]);
    let store = folder.path().join("a.jsonl.verdicts.sqlite");
    let promise = |share: &str, more: &[&str]| {
        let out = text(&folder.path().join("p.jsonl"));
        let store = text(&store);
        let data = text(&example());
        let fixed = ["mine", &data, "-o", &out, "--force", "--format", "native", "--verdicts", &store];
        let asked = ["--max-false-negatives", share];
        run(fixed.into_iter().chain(base).chain(asked).chain(more.iter().copied()))
    };
    // Twenty-two slots are the fewest that prove 10 % at 90 %.
    let (code, _, stderr) = promise("0.1", &[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("do not prove") && stderr.contains("more slots"), "{stderr}");
    succeed([
        "judge",
        &text(&first),
        "-n",
        "60",
        "--max-false-negatives",
        "0.1",
        "--by",
        &format!("qrels:{}", text(&empty)),
    ]);
    let (code, _, stderr) = promise("0.1", &[]);
    assert_eq!(code, Some(0), "{stderr}");
    let proved = manifest(&folder.path().join("p.jsonl"))["p_fn"]["promise"].clone();
    assert_eq!((proved["kind"].as_str(), proved["hits"].as_u64()), (Some("confident"), Some(0)));
    assert!(proved["upper"].as_f64().unwrap() <= 0.1 && stderr.contains("at most 10 %"), "{proved}");
    // Other numbers, another share: the verdicts prove nothing, and the output says why.
    for (share, more, why) in [
        ("0.1", &["--num-negatives", "3"][..], "num-negatives changed"),
        ("0.2", &[], "chosen after the verdicts"),
    ] {
        let (code, _, stderr) = promise(share, more);
        assert_eq!(code, Some(0), "{stderr}");
        let promise = manifest(&folder.path().join("p.jsonl"))["p_fn"]["promise"].clone();
        assert_eq!(promise["kind"], "estimate");
        assert!(promise["void"][0].as_str().unwrap().contains(why), "{promise}");
        assert!(stderr.contains("an estimate, not a promise"), "{stderr}");
    }
}

#[test]
fn what_a_judge_found_relevant_is_no_negative() {
    let folder = tempfile::tempdir().unwrap();
    let first = mined(folder.path(), "a.jsonl", &[]);
    let row: serde_json::Value =
        serde_json::from_str(fs::read_to_string(&first).unwrap().lines().next().unwrap()).unwrap();
    let (query, doc) = (row["query_id"].as_str().unwrap(), row["negatives"][0]["doc_id"].as_str().unwrap());
    let line = format!("{{\"query_id\":\"{query}\",\"doc_id\":\"{doc}\",\"answer\":\"relevant\"}}\n");
    let verdicts = file(folder.path(), "v.jsonl", &line);
    let out = mined(folder.path(), "b.jsonl", &["--verdicts", &text(&verdicts)]);
    let row: serde_json::Value =
        serde_json::from_str(fs::read_to_string(&out).unwrap().lines().next().unwrap()).unwrap();
    let negatives = row["negatives"].as_array().unwrap();
    assert!(negatives.iter().all(|d| d["doc_id"].as_str() != Some(doc)));
    assert_eq!(manifest(&out)["counts"]["dropped"]["judged"], 1);
}

#[test]
fn bench_hides_positives_and_names_a_setting() {
    let folder = tempfile::tempdir().unwrap();
    let mut corpus = String::new();
    let mut queries = String::new();
    let mut qrels = String::from("query-id\tcorpus-id\tscore\n");
    for i in 0..30 {
        corpus += &format!("{{\"_id\":\"d{i}a\",\"text\":\"topic{i} engine for cars and word{i}\"}}\n");
        corpus += &format!("{{\"_id\":\"d{i}b\",\"text\":\"topic{i} engine for boats\"}}\n");
        queries += &format!("{{\"_id\":\"q{i}\",\"text\":\"topic{i} engine\"}}\n");
        qrels += &format!("q{i}\td{i}a\t1\nq{i}\td{i}b\t1\n");
    }
    file(folder.path(), "corpus.jsonl", &corpus);
    file(folder.path(), "queries.jsonl", &queries);
    file(folder.path(), "qrels/train.tsv", &qrels);
    let (stdout, _) = succeed(["bench", &text(folder.path()), "--json"]);
    let bench: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let rows = bench["data"]["rows"].as_array().unwrap();
    assert_eq!(bench["data"]["anchors"], 30);
    let naive = rows.iter().find(|r| r["name"] == "naive").unwrap();
    assert_eq!((naive["found"].as_u64(), naive["served"].as_u64()), (Some(30), Some(30)), "{naive}");
    assert!(rows.iter().any(|r| r["name"] == "p_fn at most 0.1"));
    assert!(!bench["data"]["recommendation"].as_str().unwrap().is_empty());
}
