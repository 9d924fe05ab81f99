//! A sparse encoder from end to end: candidates by inner products of SPLADE vectors, kept between runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use support::{bytes, example, run, succeed};

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardrock/tests/fixtures/models/splade-distilbert")
}

#[test]
fn searching_with_a_sparse_model_finds_the_text_itself_first_and_encodes_once() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [
        "hello world",
        "a quick brown fox jumps",
        "printf(3) - formatted output conversion",
        "the cat sat on the mat",
    ];
    let lines = |prefix: &str| -> String {
        texts
            .iter()
            .enumerate()
            .map(|(i, t)| format!("{{\"_id\": \"{prefix}{i}\", \"text\": \"{t}\"}}\n"))
            .collect()
    };
    let corpus = support::file(folder.path(), "corpus.jsonl", &lines("d"));
    let queries = support::file(folder.path(), "queries.jsonl", &lines("q"));
    let model = model();
    let out = folder.path().join("run.trec");
    let name = |path: &Path| path.display().to_string();
    let arguments = |out: &Path, more: &[&str]| -> Vec<String> {
        let (corpus, queries, work) = (name(&corpus), name(&queries), name(&folder.path().join("work")));
        let files = ["search", "--corpus", &corpus, "--queries", &queries, "--work", &work];
        let (model, out) = (name(&model), name(out));
        let rest = ["--sparse-model", &model, "-o", &out];
        files.iter().chain(&rest).chain(more).map(|&word| word.to_owned()).collect()
    };
    succeed(arguments(&out, &["--top-k", "4"]));
    let found = std::fs::read_to_string(&out).unwrap();
    let rows: Vec<Vec<&str>> = found.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 16, "{found}");
    for row in &rows {
        assert!(row[4].parse::<f32>().unwrap() > 0.0, "{found}");
    }
    // The sum of squares of a vector is its product with itself.
    let own = |i: usize| -> f32 {
        let row = rows.iter().find(|r| r[0] == format!("q{i}") && r[2] == format!("d{i}")).unwrap();
        row[4].parse().unwrap()
    };
    for (i, j) in [(0, 1), (1, 2), (2, 3)] {
        let between: Vec<f32> = [(i, j), (j, i)]
            .iter()
            .map(|(a, b)| {
                let row = rows.iter().find(|r| r[0] == format!("q{a}") && r[2] == format!("d{b}")).unwrap();
                row[4].parse().unwrap()
            })
            .collect();
        assert!((between[0] - between[1]).abs() < 1e-3, "{found}");
        assert!(between[0] <= (own(i) * own(j)).sqrt() * 1.0001, "{found}");
    }
    // Beside another source, with the vectors that are kept.
    let two = folder.path().join("two.trec");
    let (_, stderr) =
        succeed(arguments(&two, &["--top-k", "2", "--source", "sparse,bm25", "--score-by", "sparse"]));
    assert!(stderr.contains("found"), "{stderr}");
    let best = |text: &str| text.lines().filter(|l| l.contains(" 1 ")).count();
    assert_eq!(best(&std::fs::read_to_string(&two).unwrap()), 4);
}

#[test]
fn mining_with_a_sparse_source_gives_the_same_bytes_for_any_threads_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mine = |name: &str, more: &[&str]| {
        let out = folder.path().join(name).join("out.jsonl");
        std::fs::create_dir_all(out.parent().unwrap()).unwrap();
        let paths = [example(), model(), out.clone()].map(|path| path.display().to_string());
        let fixed =
            ["mine", &paths[0], "--sparse-model", &paths[1], "--sparse-max-length", "12", "-o", &paths[2]];
        let all: Vec<String> = fixed.iter().chain(more).map(|&word| word.to_owned()).collect();
        (out, succeed(all).1)
    };
    let (one, stderr) = mine("one", &["--threads", "1"]);
    assert!(stderr.contains("mined"), "{stderr}");
    let (three, _) = mine("three", &["--threads", "3", "--memory", "96MiB"]);
    assert!(bytes(&one) == bytes(&three));
    let manifest = support::manifest(&one);
    let text = manifest.to_string();
    assert!(text.contains("\"sparse\"") && text.contains("splade-distilbert"), "{text}");
}

#[test]
fn a_sparse_model_that_no_source_uses_and_a_source_without_one_are_mistakes() {
    let (input, model) = (example().display().to_string(), model().display().to_string());
    let (code, _, stderr) = run(["mine", &input, "--source", "sparse", "-o", "x.jsonl"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--source sparse has no model") && stderr.contains("--sparse-model"), "{stderr}");
    let (code, _, stderr) =
        run(["mine", &input, "--source", "bm25", "--sparse-model", &model, "-o", "x.jsonl"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("add sparse to --source"), "{stderr}");
    let (code, _, stderr) = run(["mine", &input, "--sparse-model", "http://host", "-o", "x.jsonl"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("is an address"), "{stderr}");
}
