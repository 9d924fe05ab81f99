//! Models as filters, from end to end: a cross-encoder in a folder and behind an address, and a guide.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hardrock::models::{self, ModelOptions};
use serde_json::{Value, json};
use support::{bytes, file, hardrock, manifest, run, succeed};

fn model(name: &str) -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardrock/tests/fixtures/models");
    models.join(name).display().to_string()
}

const WORDS: [&str; 12] =
    ["cat", "dog", "library", "image", "server", "vector", "fox", "lazy", "mat", "format", "query", "file"];

/// Text number `n`: five words.
fn text(n: usize) -> String {
    let word = |i: usize| WORDS[(n * 7 + i * i * (n % 5 + 1) + i) % WORDS.len()];
    (0..5).map(word).collect::<Vec<_>>().join(" ")
}

/// A folder in BEIR layout: 40 documents, 20 anchors with two positives each.
fn dataset(folder: &Path) -> String {
    let line = |kind: &str, n: usize, text: String| {
        format!("{}\n", json!({"_id": format!("{kind}{n}"), "text": text}))
    };
    let corpus: String = (0..40).map(|n| line("d", n, format!("{} number {n}", text(n)))).collect();
    let queries: String = (0..20).map(|n| line("q", n, format!("{} {n}", text(3 * n + 1)))).collect();
    let qrels: String =
        (0..20).flat_map(|n| [n, n + 17]).zip(0..).map(|(d, i)| format!("q{}\td{d}\t1\n", i / 2)).collect();
    file(folder, "data/corpus.jsonl", &corpus);
    file(folder, "data/queries.jsonl", &queries);
    file(folder, "data/qrels/train.tsv", &format!("query-id\tcorpus-id\tscore\n{qrels}"));
    folder.join("data").display().to_string()
}

fn texts(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for name in ["data/corpus.jsonl", "data/queries.jsonl"] {
        for line in std::fs::read_to_string(folder.join(name)).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            all.insert(
                record["_id"].as_str().unwrap().to_owned(),
                record["text"].as_str().unwrap().to_owned(),
            );
        }
    }
    all
}

/// What is known about each anchor of an output.
fn explained(out: &Path) -> Vec<Value> {
    let one = |n: usize| {
        let (stdout, _) =
            succeed(["explain", &out.display().to_string(), "--query", &format!("q{n}"), "--json"]);
        serde_json::from_str::<Value>(&stdout).unwrap()["data"].clone()
    };
    (0..20).map(one).collect()
}

/// Checks every verdict of `filter` against scores that `score` gives, with the rule "above the lowest positive less the
/// margin". Answers how many it dropped.
fn check(out: &Path, filter: &str, margin: f32, score: impl Fn(&str, &str) -> f32) -> usize {
    let mut dropped = 0;
    for anchor in explained(out) {
        let query = anchor["query_id"].as_str().unwrap();
        let sources: Vec<&str> =
            anchor["sources"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        assert_eq!(sources, ["bm25", filter]);
        let positives = anchor["positives"].as_array().unwrap();
        let lowest = positives
            .iter()
            .map(|p| score(query, p["doc_id"].as_str().unwrap()))
            .fold(f32::INFINITY, f32::min);
        for candidate in anchor["candidates"].as_array().unwrap() {
            let evidence = &candidate["evidence"][1];
            assert!(evidence["rank"].is_null());
            if candidate["reason"] == "known" {
                assert!(evidence["score"].is_null(), "a cheaper filter had dropped it");
                continue;
            }
            let own = score(query, candidate["doc_id"].as_str().unwrap());
            let stored = evidence["score"].as_f64().unwrap() as f32;
            assert!((stored - own).abs() < 1e-5, "{stored} {own}");
            let goes = candidate["reason"] == filter;
            assert!(
                goes == (own > lowest - margin) || (own - lowest + margin).abs() < 1e-5,
                "{candidate} {lowest}"
            );
            if goes {
                dropped += 1;
                let threshold = candidate["threshold"].as_f64().unwrap() as f32;
                assert!((threshold - (lowest - margin)).abs() < 1e-5);
                let positive = candidate["against"].as_str().unwrap();
                assert!((score(query, positive) - lowest).abs() < 1e-5, "{positive}");
                assert!(candidate["because"].as_str().unwrap().contains("scores it"));
            }
        }
    }
    dropped
}

/// A message without the breaks and rules that a terminal's width puts into it.
fn flat(stderr: &str) -> String {
    stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

#[test]
fn a_cross_encoder_judges_what_lives_and_another_margin_asks_it_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let texts = texts(folder.path());
    let mine = |name: &str, filter: &str, more: &[&str]| -> PathBuf {
        let out = folder.path().join(name);
        let out_text = out.display().to_string();
        let fixed = ["mine", &data, "-o", &out_text, "--filter", filter, "--top-k", "12", "-q"];
        succeed(fixed.into_iter().chain(more.iter().copied()));
        out
    };
    let cross = model("cross-bert");
    let filter = |rest: &str| format!("known,rerank:{cross}{rest}");
    let a = mine("a.jsonl", &filter(",margin=0.2"), &[]);
    let (quiet, never) = (hardrock::mine::Silent, std::sync::atomic::AtomicBool::new(false));
    let reranker = models::open_reranker(&cross, &ModelOptions::default(), &quiet, &never).unwrap();
    let score = |query: &str, document: &str| {
        let mut out = [f32::NAN];
        reranker
            .score(&[(texts[query].as_str(), texts[document].as_str())], &mut out, &AtomicBool::new(false))
            .unwrap();
        out[0]
    };
    let dropped = check(&a, "rerank", 0.2, score);
    let counts = manifest(&a)["counts"].clone();
    assert!(dropped > 20 && counts["dropped"]["rerank"].as_u64() == Some(dropped as u64), "{dropped}");
    assert!(counts["kept"].as_u64().unwrap() > 20);
    let inputs = manifest(&a)["inputs"].clone();
    assert_eq!(inputs[format!("rerank: {cross}")], reranker.fingerprint());

    // Bytes of a run do not depend on threads, on what was kept, or on flags against TOML.
    let one = mine(
        "one.jsonl",
        &filter(",margin=0.2"),
        &["--threads", "1", "--work", &folder.path().join("w").display().to_string()],
    );
    assert_eq!(bytes(&one), bytes(&a));
    let (toml, _) =
        succeed(["mine", &data, "--filter", &filter(",margin=0.2"), "--top-k", "12", "--print-spec"]);
    let job = file(folder.path(), "job.toml", &toml).display().to_string();
    let out = folder.path().join("t.jsonl");
    succeed(["mine", &job, "-o", &out.display().to_string(), "-q"]);
    assert_eq!(bytes(&out), bytes(&a));

    let scores = || -> usize {
        let work = std::fs::read_dir(folder.path().join(".hardrock")).unwrap().map(|e| e.unwrap().path());
        let stages = work.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("scores-"));
        stages.map(|p| std::fs::read_dir(p).unwrap().count()).sum()
    };
    let kept = scores();
    assert!(kept > 0);
    let b = mine("b.jsonl", &filter(",max=0.4,against=max"), &[]);
    assert_eq!(scores(), kept, "nothing was scored again");
    assert_ne!(bytes(&b).1, bytes(&a).1);
    for candidate in explained(&b).iter().flat_map(|a| a["candidates"].as_array().unwrap()) {
        let score = candidate["evidence"][1]["score"].as_f64();
        assert_eq!(
            candidate["reason"] == "rerank",
            score.is_some_and(|s| s > f64::from(0.4f32)),
            "{candidate}"
        );
    }
    let cut = mine("cut.jsonl", &filter(",max=0.4,max-length=8"), &[]);
    assert!(scores() > kept, "another length gives other scores");
    assert_ne!(bytes(&cut).1, bytes(&b).1);
    let deep = mine("deep.jsonl", &filter(",max=0.4,depth=3"), &[]);
    for anchor in explained(&deep) {
        let asked =
            anchor["candidates"].as_array().unwrap().iter().filter(|c| !c["evidence"][1]["score"].is_null());
        assert!(asked.count() <= 3);
    }
    let (plan, _) = succeed([
        "mine",
        &data,
        "-o",
        "x.jsonl",
        "--filter",
        &filter(""),
        "--explain",
        "--work",
        &folder.path().join("e").display().to_string(),
    ]);
    assert!(plan.contains("models    judge"), "{plan}");
}

#[test]
fn a_guide_drops_what_it_puts_above_the_positive() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let texts = texts(folder.path());
    let guide = model("bert");
    let out = folder.path().join("g.jsonl");
    let filter = format!("guide:{guide},margin=0.05,known");
    succeed(["mine", &data, "-o", &out.display().to_string(), "--filter", &filter, "--top-k", "12", "-q"]);
    let encoder = models::open(&guide, &ModelOptions::default()).unwrap();
    let vector = |prompt: &str, text: &str| {
        let mut out = vec![0.0; encoder.dim()];
        encoder.encode(&[format!("{prompt}{text}").as_str()], &mut out, &AtomicBool::new(false)).unwrap();
        out
    };
    let score = |query: &str, document: &str| -> f32 {
        let prompts = encoder.prompts();
        let (a, b) = (vector(&prompts.query, &texts[query]), vector(&prompts.passage, &texts[document]));
        a.iter().zip(&b).map(|(a, b)| a * b).sum()
    };
    let dropped = check(&out, "guide", 0.05, score);
    assert!(dropped > 20, "{dropped}");
    assert_eq!(manifest(&out)["counts"]["dropped"]["guide"].as_u64(), Some(dropped as u64));
}

#[test]
fn a_model_that_cannot_judge_ends_the_run_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let says = |filter: String| {
        let out = folder.path().join("x.jsonl");
        let (code, _, stderr) = run(["mine", &data, "-o", &out.display().to_string(), "--filter", &filter]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(!folder.path().join(".hardrock").exists(), "nothing was begun");
        flat(&stderr)
    };
    assert!(says(format!("rerank:{}", model("bert"))).contains("guide:FOLDER"));
    assert!(says(format!("guide:{}", model("cross-bert"))).contains("rerank:FOLDER"));
    assert!(says("rerank:nowhere".into()).contains("there is no model `nowhere`"));
    assert!(says("rerank:m,margin=-1".into()).contains("rerank.margin must be >= 0 and finite"));
    assert!(says(format!("rerank:{},dpeth=3", model("cross-bert"))).contains("did you mean `depth`?"));
}

/// Words that two texts share, by the longer one's number of words.
fn shared(a: &str, b: &str) -> f64 {
    let count = a.split(' ').filter(|word| b.split(' ').any(|other| other == *word)).count();
    count as f64 / 8.0
}

/// Text Embeddings Inference with a cross-encoder: 500 for request `shaky`, 400 from request `ill` on.
fn serve(stream: TcpStream, scored: &AtomicUsize, asked: &AtomicUsize, shaky: usize, ill: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut length, mut path) = (0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            }
            if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let number = asked.fetch_add(1, Ordering::Relaxed);
        let (status, answer) = if path == "/info" {
            (200, json!({"model_id": "words", "model_sha": "1"}))
        } else if number >= ill.load(Ordering::Relaxed) {
            (400, json!({"error": "the judge is ill"}))
        } else if number == shaky {
            (500, json!({"error": "just now"}))
        } else {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let query = body["query"].as_str().unwrap();
            let texts = body["texts"].as_array().unwrap();
            scored.fetch_add(texts.len(), Ordering::Relaxed);
            let score =
                |(i, t): (usize, &Value)| json!({"index": i, "score": shared(query, t.as_str().unwrap())});
            (200, texts.iter().enumerate().rev().map(score).collect())
        };
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", answer.len());
        if stream.write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_server_scores_each_pair_once_through_faults_and_a_broken_run() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let texts = texts(folder.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let [scored, asked, ill]: [Arc<AtomicUsize>; 3] = Default::default();
    ill.store(usize::MAX, Ordering::Relaxed);
    let shared_counts = (scored.clone(), asked.clone(), ill.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (scored, asked, ill) = shared_counts.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &scored, &asked, 4, &ill));
        }
    });
    let mine = |name: &str, rest: &str| {
        let out = folder.path().join(name);
        let filter = format!("known,rerank:{address},batch=4,concurrency=2{rest}");
        let output =
            hardrock(["mine", &data, "-o", &out.display().to_string(), "--filter", &filter, "--top-k", "12"])
                .output()
                .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), out)
    };
    ill.store(12, Ordering::Relaxed);
    let (code, stderr, out) = mine("a.jsonl", "");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(flat(&stderr).contains("status 400") && flat(&stderr).contains("the judge is ill"), "{stderr}");
    assert!(!out.exists());

    ill.store(usize::MAX, Ordering::Relaxed);
    let (code, stderr, out) = mine("a.jsonl", "");
    assert_eq!(code, Some(0), "{stderr}");
    let dropped = check(&out, "rerank", 0.0, |q, d| shared(&texts[q], &texts[d]) as f32);
    assert!(dropped > 10, "{dropped}");

    scored.store(0, Ordering::Relaxed);
    asked.store(100, Ordering::Relaxed);
    let (code, stderr, _) = mine("b.jsonl", ",max=0.5");
    assert_eq!((code, scored.load(Ordering::Relaxed)), (Some(0), 1), "only the probe: {stderr}");
}
