//! `hardrock train` and the source `static` of mining, from end to end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::{bytes, data, example, file, hardrock, manifest, run, succeed};

/// Pairs that words alone do not solve: one word of two is the same on both sides, the other is to be learned.
fn pairs(folder: &Path, count: usize) -> String {
    let mut text = String::from("anchor,positive\n");
    for i in 0..count {
        let (a, b) = (i % 20, (i / 20) % 20);
        text += &format!("ask{a} about{b} nr{i},reply{a} about{b} item{i}\n");
    }
    file(folder, "pairs.csv", &text).display().to_string()
}

fn weights(model: &Path) -> Vec<u8> {
    std::fs::read(model.join("model.safetensors")).unwrap()
}

/// nDCG@10 by epoch.
fn curve(model: &Path) -> Vec<Option<f64>> {
    let text = std::fs::read_to_string(model.join("metrics.jsonl")).unwrap();
    let line =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["measured"]["ndcg"].as_f64();
    text.lines().map(line).collect()
}

#[test]
fn one_command_goes_from_pairs_to_a_model_that_beats_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let input = pairs(folder.path(), 400);
    let model = folder.path().join("model");
    let out = model.display().to_string();
    let common =
        ["train", "--pairs", &input, "-o", &out, "--dim", "32", "--batch-size", "32", "--epochs", "8"];
    let (stdout, _) = succeed(common.into_iter().chain(["--learning-rate", "0.05", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let told = &json["data"];
    assert_eq!((told["pairs"].as_u64(), told["held_out"].as_u64()), (Some(360), Some(40)), "{told}");
    assert!(told["mined"].as_u64().unwrap() > 0, "{told}");
    let curve = curve(&model);
    let best = told["best"].as_u64().unwrap() as usize;
    assert!(best > 0 && curve[best].unwrap() > curve[0].unwrap() + 0.2, "{curve:?}");
    assert!(
        curve.iter().flatten().all(|value| *value <= curve[best].unwrap()),
        "the best is kept: {curve:?}"
    );

    for name in
        ["modules.json", "tokenizer.json", "config_sentence_transformers.json", "1_Normalize/config.json"]
    {
        assert!(model.join(name).is_file(), "{name}");
    }
    let card = std::fs::read_to_string(model.join("README.md")).unwrap();
    let hash = blake3_of(&input);
    assert!(card.contains("pairs.csv") && card.contains(&hash) && card.contains("size = 32"), "{card}");
    assert!(!card.contains(&folder.path().display().to_string()), "no path of this machine: {card}");
    assert!(std::fs::read_to_string(model.join("curves.svg")).unwrap().contains("nDCG@10 after epoch 1"));

    // The folder is a model like any other.
    let texts =
        file(folder.path(), "t.jsonl", "{\"_id\": \"a\", \"text\": \"ask1 about2\"}\n").display().to_string();
    let vectors = folder.path().join("v.npy").display().to_string();
    succeed(["embed", "--model", &out, &texts, "-o", &vectors]);

    // It is not overwritten unasked, and nothing but a model is replaced.
    let (code, _, stderr) = run(common);
    assert_eq!(code, Some(2), "{stderr}");
    let stranger = folder.path().join("stranger");
    file(&stranger, "thesis.tex", "x");
    let (code, _, stderr) =
        run(["train", "--pairs", &input, "-o", &stranger.display().to_string(), "--force"]);
    assert!(code == Some(2) && stranger.join("thesis.tex").is_file(), "{stderr}");

    // A second training goes on from the first.
    let next = folder.path().join("next");
    let next_out = next.display().to_string();
    succeed([
        "train",
        "--pairs",
        &input,
        "--model",
        &out,
        "-o",
        &next_out,
        "--epochs",
        "1",
        "--num-negatives",
        "0",
    ]);
    let start = self::curve(&next)[0].unwrap();
    assert!((start - curve[best].unwrap()).abs() < 1e-9, "{start} for {curve:?}");
}

fn blake3_of(path: &str) -> String {
    // The manifest of a mined file names the hash of its input.
    let out = format!("{path}.mined.jsonl");
    succeed(["mine", "--pairs", path, "-o", &out]);
    let inputs = manifest(Path::new(&out))["inputs"].clone();
    inputs.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
}

#[test]
fn threads_change_no_bit_and_every_option_changes_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let input = pairs(folder.path(), 200);
    let train = |name: &str, more: &[&str]| {
        let model = folder.path().join(name);
        let out = model.display().to_string();
        let start = [
            "train",
            "--pairs",
            &input,
            "-o",
            &out,
            "--dim",
            "16",
            "--batch-size",
            "32",
            "--epochs",
            "2",
            "-q",
        ];
        // A later option of the same name would be an error: take the defaults out that are given again.
        let start: Vec<&str> = start.to_vec();
        let mut arguments: Vec<&str> = Vec::new();
        let mut rest = start.iter();
        while let Some(word) = rest.next() {
            if word.starts_with("--") && more.contains(word) {
                rest.next();
            } else {
                arguments.push(word);
            }
        }
        succeed(arguments.into_iter().chain(more.iter().copied()));
        weights(&model)
    };
    let one = train("one", &["--threads", "1"]);
    assert_eq!(train("three", &["--threads", "3"]), one);
    let others: [&[&str]; 13] = [
        &["--seed", "1"],
        &["--dim", "24"],
        &["--vocabulary", "40"],
        &["--max-length", "2"],
        &["--source", "random"],
        &["--num-negatives", "0"],
        &["--num-negatives", "3"],
        &["--epochs", "1"],
        &["--batch-size", "16"],
        &["--learning-rate", "0.003"],
        &["--temperature", "0.2"],
        &["--two-sided"],
        &["--validation", "0"],
    ];
    let mut seen = vec![one];
    for (at, more) in others.iter().enumerate() {
        let got = train(&format!("other{at}"), more);
        assert!(!seen.contains(&got), "{more:?} changes nothing");
        seen.push(got);
    }
    assert_eq!(curve(&folder.path().join("other12")), [None; 3], "nothing is held out");
}

#[test]
fn the_toml_file_says_the_same_as_the_options_and_a_typo_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let input = pairs(folder.path(), 100);
    let options =
        ["train", "--pairs", &input, "--dim", "8", "--epochs", "1", "--batch-size", "16", "--patience", "2"];
    let (toml, _) =
        succeed(options.into_iter().chain(["--mine-negatives", "2", "--filter", "known", "--print-spec"]));
    let config = file(folder.path(), "job.toml", &toml).display().to_string();
    let [by_toml, by_options] = ["t", "o"].map(|name| folder.path().join(name));
    succeed(["train", &config, "-o", &by_toml.display().to_string(), "-q"]);
    let more = ["--mine-negatives", "2", "--filter", "known", "-q", "-o"];
    let out = by_options.display().to_string();
    succeed(options.into_iter().chain(more).chain([out.as_str()]));
    assert_eq!(weights(&by_toml), weights(&by_options));

    let typo = toml.replace("epochs =", "epocs =");
    let config = file(folder.path(), "typo.toml", &typo).display().to_string();
    let (code, _, stderr) = run(["train", &config, "-o", "x"]);
    assert!(code == Some(2) && stderr.contains("epocs"), "{stderr}");
    let (code, _, stderr) = run(["train", "--pairs", &input, "-o", "x", "--batch-size", "1"]);
    assert!(code == Some(2) && stderr.contains("batch.size"), "{stderr}");
    let (code, _, stderr) = run(["train", "--pairs", &input, "--model", "/no/such/model", "-o", "x"]);
    assert!(code == Some(2) && stderr.contains("no/such/model"), "{stderr}");
    let (code, _, stderr) = run(["train", "--pairs", &input]);
    assert!(code == Some(2) && stderr.contains("-o"), "{stderr}");
}

#[test]
fn a_killed_training_goes_on_and_ends_with_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let input = pairs(folder.path(), 400);
    let options =
        ["--dim", "64", "--epochs", "8", "--patience", "0", "--batch-size", "16", "--num-negatives", "0"];
    let (toml, _) = succeed(["train", "--pairs", &input, "--print-spec"].into_iter().chain(options));
    let toml = toml.replace("checkpoint_seconds = 30.0", "checkpoint_seconds = 0.0");
    let config = file(folder.path(), "job.toml", &toml).display().to_string();
    let train = |name: &str| {
        let (out, work) = (folder.path().join(name), folder.path().join(format!("{name}.work")));
        let (out, work) = (out.display().to_string(), work.display().to_string());
        hardrock(["train", &config, "-o", &out, "--work", &work, "--json"])
    };
    assert!(train("whole").output().unwrap().status.success());

    let mut child = train("killed").stdout(std::process::Stdio::null()).spawn().unwrap();
    let work = folder.path().join("killed.work");
    let checkpoint = || {
        let stages = std::fs::read_dir(&work).ok()?.flatten();
        let mut stages = stages.filter(|s| s.file_name().to_string_lossy().starts_with("train-"));
        stages.find_map(|s| s.path().join("000000.chunk").exists().then_some(()))
    };
    let begun = Instant::now();
    while checkpoint().is_none() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Some steps more, so that the kill falls between two checkpoints or into one.
    std::thread::sleep(Duration::from_millis(30));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path().join("killed").exists(), "the kill came before the end");
    let output = train("killed").output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["data"]["resumed"], true);
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    assert_eq!(weights(&killed), weights(&whole));
    assert_eq!(curve(&killed), curve(&whole));
}

#[test]
fn the_source_static_gives_a_dense_view_without_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let input = example().display().to_string();
    let mine = |name: &str, more: &[&str]| {
        let (out, work) = (folder.path().join(name), folder.path().join(format!("{name}.work")));
        let (path, work) = (out.display().to_string(), work.display().to_string());
        let start = ["mine", &input, "--source", "bm25,static", "-o", &path, "--work", &work];
        succeed(start.into_iter().chain(more.iter().copied()));
        out
    };
    let one = mine("one.jsonl", &["--threads", "1"]);
    let three = mine("three.jsonl", &["--threads", "3"]);
    assert_eq!(bytes(&one), bytes(&three));
    assert_eq!(manifest(&one)["score_by"], "static");
    let seeded = mine("seeded.jsonl", &["--seed", "5"]);
    assert_ne!(bytes(&one).0, bytes(&seeded).0, "the start is drawn");
    // The encoder is a stage like any other: other filters use it again.
    let stages = |work: &str| {
        let names = std::fs::read_dir(folder.path().join(work)).unwrap().flatten();
        names.filter(|n| n.file_name().to_string_lossy().starts_with("static-")).count()
    };
    let out = folder.path().join("one.jsonl").display().to_string();
    let work = folder.path().join("one.jsonl.work").display().to_string();
    succeed([
        "mine",
        &input,
        "--source",
        "bm25,static",
        "-o",
        &out,
        "--work",
        &work,
        "--force",
        "--filter",
        "known",
    ]);
    assert_eq!(stages("one.jsonl.work"), 1);

    let queries = data("cwe/queries.jsonl").display().to_string();
    let corpus = data("cwe/corpus.jsonl").display().to_string();
    let run_file = folder.path().join("r.trec").display().to_string();
    let (code, _, stderr) =
        run(["search", "--corpus", &corpus, "--queries", &queries, "--source", "static", "-o", &run_file]);
    assert!(code == Some(2) && stderr.contains("static learns from pairs"), "{stderr}");
}
