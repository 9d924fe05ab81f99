//! `hardrock embed`, and `mine` and `search` with `--model`, from end to end with a real static encoder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use support::{bytes, data, file, manifest, run, succeed};

fn model() -> String {
    data("static-minilm").display().to_string()
}

/// The numbers of an `.npy` file of 32-bit floats.
fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    assert!(String::from_utf8_lossy(&bytes[..10 + header]).contains("'<f4'"));
    bytes[10 + header..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn texts(golden: &[serde_json::Value]) -> String {
    let line = |(i, g): (usize, &serde_json::Value)| {
        serde_json::json!({"_id": format!("d{i}"), "text": g["text"]}).to_string() + "\n"
    };
    golden.iter().enumerate().map(line).collect()
}

#[test]
fn vectors_agree_with_the_golden_ones_and_only_new_texts_are_encoded_again() {
    let folder = tempfile::tempdir().unwrap();
    let golden = std::fs::read_to_string(data("static-minilm/golden.jsonl")).unwrap();
    let golden: Vec<serde_json::Value> = golden.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let input = file(folder.path(), "texts.jsonl", &texts(&golden));
    let (input, out) = (input.display().to_string(), folder.path().join("v.npy"));
    let embed = |out: &Path, more: &[&str]| {
        let out = out.display().to_string();
        let start = ["embed", "--model", &model(), &input, "-o", &out, "--force", "--json"];
        let (stdout, _) = succeed(start.into_iter().chain(more.iter().copied()));
        let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        json["data"].clone()
    };
    let done = embed(&out, &[]);
    assert_eq!((done["vectors"].as_u64(), done["encoded"].as_u64()), (Some(10), Some(10)), "{done}");
    let values = npy(&out);
    for (got, golden) in values.chunks(128).zip(&golden) {
        for (x, want) in got.iter().zip(golden["embedding"].as_array().unwrap()) {
            assert!((f64::from(*x) - want.as_f64().unwrap()).abs() < 2e-6, "{}", golden["text"]);
        }
    }
    let ids = std::fs::read_to_string(folder.path().join("v.ids.txt")).unwrap();
    assert_eq!(ids.lines().count(), 10);

    std::fs::write(&input, texts(&golden) + "{\"_id\": \"new\", \"text\": \"a text nobody has seen\"}\n")
        .unwrap();
    let done = embed(&out, &[]);
    assert_eq!((done["vectors"].as_u64(), done["encoded"].as_u64()), (Some(11), Some(1)), "{done}");
    assert_eq!(npy(&out)[..values.len()], values);

    let short = folder.path().join("short.npy");
    let done = embed(&short, &["--truncate-dim", "16"]);
    assert_eq!((done["dim"].as_u64(), done["encoded"].as_u64()), (Some(16), Some(11)), "another vector");
    let length: f32 = npy(&short)[..16].iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5, "normalised again: {length}");
    let cut = folder.path().join("cut.npy");
    embed(&cut, &["--max-length", "1"]);
    assert_ne!(npy(&cut)[..128], values[..128], "two tokens became one");
    let prompted = folder.path().join("prompted.npy");
    let done = embed(&prompted, &["--prompt", "printf "]);
    assert_eq!(done["prompt"], "printf ");
    assert_ne!(npy(&prompted)[..128], values[..128]);
}

#[test]
fn search_among_shorter_numbers_finds_nearly_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let input = data("cwe").display().to_string();
    let found = |dtype: &str| -> std::collections::BTreeSet<(String, String)> {
        let (c, q, out) =
            (path(&format!("{dtype}.safetensors")), path("q.npy"), path(&format!("{dtype}.trec")));
        succeed(["embed", "--model", &model(), &input, "-o", &c, "-q", "--dtype", dtype]);
        if dtype == "f32" {
            succeed(["embed", "--model", &model(), &input, "--side", "query", "-o", &q, "-q"]);
        }
        let vectors = ["--corpus-vectors", &c, "--query-vectors", &q, "--top-k", "10", "-q", "-o", &out];
        succeed(["search", &input].iter().chain(&vectors));
        let text = std::fs::read_to_string(&out).unwrap();
        let fields = text.lines().map(|l| l.split(' ').collect::<Vec<_>>());
        fields.map(|f| (f[0].to_owned(), f[2].to_owned())).collect()
    };
    let full = found("f32");
    for (dtype, least) in [("f16", 0.99), ("bf16", 0.93), ("int8", 0.93)] {
        let same = found(dtype).intersection(&full).count() as f64 / full.len() as f64;
        assert!(same >= least && same <= 1.0, "{dtype}: {same}");
    }
    let (code, _, stderr) =
        run(["embed", "--model", &model(), &input, "-o", &path("x.npy"), "--dtype", "bf16"]);
    assert!(code == Some(2) && stderr.contains(".safetensors"), "{stderr}");
}

#[test]
fn a_wrong_model_ends_before_anything_is_read_and_says_what_would_work() {
    let folder = tempfile::tempdir().unwrap();
    let input =
        file(folder.path(), "texts.jsonl", "{\"_id\": \"a\", \"text\": \"b\"}\n").display().to_string();
    let out = folder.path().join("v.npy").display().to_string();
    let (code, _, stderr) = run(["embed", "--model", "./no-such/folder", &input, "-o", &out]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("no-such/folder") && stderr.contains("sentence-transformers"), "{stderr}");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (code, _, stderr) = run(["mine", &input, "--model", &empty.display().to_string(), "-o", &out]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("empty"), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was written");
}

#[test]
fn mining_with_a_model_has_two_views_and_the_same_bytes_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let input = data("cwe").display().to_string();
    let mine = |name: &str, more: &[&str]| {
        let (out, work) = (folder.path().join(name), folder.path().join(format!("{name}.work")));
        let (path, work) = (out.display().to_string(), work.display().to_string());
        let start = ["mine", &input, "--model", &model(), "-o", &path, "--work", &work];
        let (_, stderr) = succeed(start.into_iter().chain(more.iter().copied()));
        (out, stderr)
    };
    let (one, stderr) = mine("one.jsonl", &["--threads", "1"]);
    assert!(stderr.contains("mined "), "{stderr}");
    let (two, _) = mine("two.jsonl", &["--threads", "2"]);
    assert_eq!(bytes(&one), bytes(&two));
    let json = manifest(&one);
    let pools = json["config"]["pool"].as_array().map_or(0, Vec::len);
    assert_eq!((pools, json["score_by"].as_str()), (2, Some("dense")), "{json}");

    // Another margin in the same work folder: nothing is encoded or searched again.
    let work = folder.path().join("one.jsonl.work").display().to_string();
    let again = folder.path().join("again.jsonl").display().to_string();
    let arguments =
        ["mine", &input, "--model", &model(), "-o", &again, "--work", &work, "--relative-margin", "0.05"];
    let before = vectors(Path::new(&work));
    succeed(arguments);
    assert!(!before.is_empty());
    assert_eq!(vectors(Path::new(&work)), before);
}

/// Files of vectors in a work folder.
fn vectors(work: &Path) -> Vec<std::path::PathBuf> {
    let stages = std::fs::read_dir(work).unwrap().map(|e| e.unwrap().path());
    let stages = stages.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("embeddings-"));
    let mut files: Vec<_> =
        stages.flat_map(|s| std::fs::read_dir(s).unwrap().map(|e| e.unwrap().path())).collect();
    files.sort();
    files
}

#[test]
fn searching_with_a_model_is_searching_among_its_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let input = data("cwe").display().to_string();
    let (c, q, by_model, by_vectors) = (path("c.npy"), path("q.npy"), path("m.trec"), path("v.trec"));
    succeed(["embed", "--model", &model(), &input, "-o", &c, "-q"]);
    succeed(["embed", "--model", &model(), &input, "--side", "query", "-o", &q, "-q"]);
    succeed(["search", &input, "--model", &model(), "--top-k", "10", "-o", &by_model, "-q"]);
    let given =
        ["search", &input, "--corpus-vectors", &c, "--query-vectors", &q, "--top-k", "10", "-q", "-o"];
    succeed(given.into_iter().chain([by_vectors.as_str()]));
    let lines = |path: &str| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|l| l.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect()
    };
    let (a, b) = (lines(&by_model), lines(&by_vectors));
    // Vectors from a file are normalised once more, which may turn the order of equal scores.
    let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    assert!(a.len() == b.len() && same * 1000 > a.len() * 999, "{same} of {}", a.len());

    let explained =
        ["mine", &input, "--model", &model(), "--max-length", "7", "--explain", "-o", &path("x.jsonl")];
    let (stdout, _) = succeed(explained);
    assert!(stdout.contains("dense"), "{stdout}");
}

/// A transformer small enough to ship with the tests.
fn transformer() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardrock/tests/fixtures/models/bert");
    folder.display().to_string()
}

#[test]
fn vectors_in_8_bits_are_kept_apart_and_are_the_same_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String =
        (0..60).map(|i| format!("{{\"_id\": \"d{i}\", \"text\": \"the fox {i} and a dog\"}}\n")).collect();
    let input = file(folder.path(), "texts.jsonl", &lines).display().to_string();
    let embed = |name: &str, more: &[&str]| {
        let out = folder.path().join(name);
        let path = out.display().to_string();
        let start = ["embed", "--model", &transformer(), &input, "-o", &path, "--force", "--json"];
        let (stdout, _) = succeed(start.into_iter().chain(more.iter().copied()));
        let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        (npy(&out), json["data"]["encoded"].as_u64(), json["data"]["precision"].as_str().map(str::to_owned))
    };
    let (whole, encoded, precision) = embed("whole.npy", &[]);
    assert_eq!((encoded, precision.as_deref()), (Some(60), Some("f32")));
    let eight = ["--precision", "int8"];
    let (rounded, encoded, precision) = embed("rounded.npy", &eight);
    assert_eq!((encoded, precision.as_deref()), (Some(60), Some("int8")), "nothing of the other precision");
    assert_ne!(rounded, whole);
    let dim = whole.len() / 60;
    for (a, b) in whole.chunks(dim).zip(rounded.chunks(dim)) {
        let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.99, "{cosine}");
    }
    // Both are still there.
    assert_eq!(embed("whole.npy", &["--precision", "f32"]).1, Some(0));
    assert_eq!(embed("rounded.npy", &eight).1, Some(0));
    let work = folder.path().join("other").display().to_string();
    let alone = ["--precision", "int8", "--threads", "1", "--work", &work];
    assert_eq!(embed("alone.npy", &alone).0, rounded);

    let out = folder.path().join("said.npy").display().to_string();
    let (_, stderr) =
        succeed(["embed", "--model", &transformer(), &input, "-o", &out, "--precision", "int8"]);
    assert!(stderr.contains("computed in int8"), "{stderr}");
}

#[test]
fn a_precision_reaches_mining_and_its_manifest_and_is_refused_where_nothing_would_follow() {
    let folder = tempfile::tempdir().unwrap();
    let corpus: String =
        (0..40).map(|i| format!("{{\"_id\": \"d{i}\", \"text\": \"the fox {i} sees a dog\"}}\n")).collect();
    file(folder.path(), "data/corpus.jsonl", &corpus);
    let queries: String = (0..5).map(|i| format!("{{\"_id\": \"q{i}\", \"text\": \"fox {i}\"}}\n")).collect();
    file(folder.path(), "data/queries.jsonl", &queries);
    let judged: String = (0..5).map(|i| format!("q{i}\td{i}\t1\n")).collect();
    file(folder.path(), "data/qrels/train.tsv", &format!("query-id\tcorpus-id\tscore\n{judged}"));
    let data = folder.path().join("data").display().to_string();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let options = ["--model", &transformer(), "--precision", "int8"];
    let (out, run_out) = (path("m.jsonl"), path("r.trec"));
    succeed(["mine", &data, "--source", "dense", "-o", &out].into_iter().chain(options));
    let json = manifest(Path::new(&out));
    assert_eq!(json["config"]["pool"][0]["source"]["dense"]["precision"], "int8", "{json}");
    let kept = vectors(&folder.path().join(".hardrock")).len();
    succeed(["search", &data, "-o", &run_out].into_iter().chain(options));
    assert_eq!(vectors(&folder.path().join(".hardrock")).len(), kept, "the search takes mining's vectors");
    let explain = ["mine", &data, "--source", "dense", "--explain", "-o", &path("x.jsonl")];
    let (stdout, _) = succeed(explain.into_iter().chain(options));
    assert!(stdout.contains("encoded in int8"), "{stdout}");
    succeed(["mine", &data, "--source", "dense", "-o", &path("f.jsonl"), "--model", &transformer()]);
    assert!(vectors(&folder.path().join(".hardrock")).len() > kept, "32 bits are encoded anew");

    let refused = |arguments: &[&str], says: &str| {
        let (code, _, stderr) = run(["embed", &data, "-o", &path("no.npy")].iter().chain(arguments));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    };
    refused(&["--model", &model(), "--precision", "int8"], "is a static model");
    refused(&["--model", "http://127.0.0.1:9/v1#m", "--precision", "int8"], "--precision int8 cannot be set");
    refused(&["--model", &transformer(), "--precision", "int4"], "one of f32, int8");
}
