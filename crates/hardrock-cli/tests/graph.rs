//! The source `graph` and the families that it makes, from end to end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use support::{bytes, data, file, manifest, run, succeed};

/// Mines the shared `cwe` set with the shared static encoder; the path of the output.
fn mine(folder: &Path, name: &str, more: &[&str]) -> PathBuf {
    let (out, work) = (folder.join(name), folder.join("work"));
    let (input, model) = (data("cwe").display().to_string(), data("static-minilm").display().to_string());
    let (path, work) = (out.display().to_string(), work.display().to_string());
    let start = ["mine", &input, "-q", "--work", &work, "-o", &path, "--format", "native"];
    let model = ["--model", &model];
    let model = if more.iter().any(|a| a.ends_with("bm25")) { &model[..0] } else { &model[..] };
    succeed(start.iter().chain(model).chain(more));
    out
}

/// Per query: the documents of some of the rows of a run.
fn per_query(lines: &str) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        map.entry(fields[0].to_owned()).or_default().push(fields[2].to_owned());
    }
    map
}

#[test]
fn candidates_of_an_anchor_are_the_documents_nearest_to_its_positives() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let none = ["--filter", "none", "--num-negatives", "20", "--no-candidates", "--source"];
    let graph = mine(folder.path(), "graph.jsonl", &[&none[..], &["graph", "--top-k", "20"]].concat());

    // The same by searching the corpus for its own documents.
    let (model, corpus) = (data("static-minilm"), data("cwe").join("corpus.jsonl").display().to_string());
    let (model, run_file, c) = (model.display().to_string(), path("self.trec"), path("c.npy"));
    succeed(["embed", "--model", &model, &corpus, "-o", &c, "-q"]);
    succeed([
        "search",
        "--corpus-vectors",
        &c,
        "--query-vectors",
        &c,
        "--top-k",
        "21",
        "-q",
        "-o",
        &run_file,
    ]);
    let near = per_query(&std::fs::read_to_string(&run_file).unwrap());

    let mut checked = 0;
    for line in std::fs::read_to_string(&graph).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let ids = |side: &str| -> Vec<String> {
            let all = row[side].as_array().unwrap().iter();
            all.map(|d| d["doc_id"].as_str().unwrap().to_owned()).collect()
        };
        if let [positive] = &ids("positives")[..] {
            let others: BTreeSet<&String> =
                near[positive].iter().filter(|d| *d != positive).take(20).collect();
            let found = ids("negatives");
            let same = found.iter().filter(|d| others.contains(d)).count();
            // The last ones may be of equal score.
            assert!(found.len() == 20 && same >= 19, "{positive}: {found:?}");
            checked += 1;
        }
    }
    assert!(checked > 500, "{checked}");
    assert_eq!(manifest(&graph)["score_by"], "graph");
}

#[test]
fn the_graph_joins_other_sources_with_scores_of_its_own_and_the_same_bytes_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let sources = ["--source", "bm25,graph:bm25", "--select", "mix:bm25=2,graph-bm25=3"];
    let one = mine(folder.path(), "one.jsonl", &[&sources[..], &["--threads", "1"]].concat());
    let json = manifest(&one);
    assert_eq!(json["score_by"], "bm25", "a graph is not what judges where something else can: {json}");
    let again = [&sources[..], &["--threads", "2", "--memory", "90MiB", "--fresh"]].concat();
    let two = mine(folder.path(), "two.jsonl", &again);
    assert_eq!(bytes(&one), bytes(&two));
    let other = mine(folder.path(), "three.jsonl", &[&sources[..], &["--graph-neighbours", "3"]].concat());
    assert_ne!(bytes(&one).1, bytes(&other).1, "fewer neighbours, fewer candidates");
    let further = mine(folder.path(), "four.jsonl", &[&sources[..], &["--graph-retrieved", "5"]].concat());
    let retrieved = |out: &Path| manifest(out)["counts"]["retrieved"].as_u64().unwrap();
    assert!(retrieved(&other) < retrieved(&one) && retrieved(&one) != retrieved(&further));

    let (input, work) = (data("cwe").display().to_string(), folder.path().join("work").display().to_string());
    let start = ["mine", &input, "-o", "-", "--format", "native", "--graph-retrieved", "5", "--print-spec"];
    let (toml, _) = succeed(start.iter().chain(&sources));
    let (spec, five) = (file(folder.path(), "job.toml", &toml), folder.path().join("five.jsonl"));
    succeed(["mine", &spec.display().to_string(), "-q", "--work", &work, "-o", &five.display().to_string()]);
    assert_eq!(bytes(&further), bytes(&five), "{toml}");
}

#[test]
fn an_approximate_graph_measures_its_recall() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--source", "graph", "--approximate", "0.9", "--graph-neighbours", "10"];
    let recall = |out: &Path| manifest(out)["recall"]["graph"]["mean"].as_f64().unwrap();
    let out = mine(folder.path(), "approximate.jsonl", &options);
    assert!((0.9..=1.0).contains(&recall(&out)), "{}", manifest(&out)["recall"]);
}

#[test]
fn families_by_graph_drop_what_is_near_to_what_is_near_a_positive() {
    let folder = tempfile::tempdir().unwrap();
    // Documents 0, 1, 2 lie at 0, 10 and 20 degrees, 3 and 4 elsewhere: a chain from the positive over 1 to 2.
    let rows = |angles: &[f64]| -> String {
        let values: Vec<u8> = angles
            .iter()
            .flat_map(|a| [a.to_radians().cos() as f32, a.to_radians().sin() as f32])
            .flat_map(f32::to_le_bytes)
            .collect();
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 2), }}", angles.len());
        let name = folder.path().join(format!("v{}.npy", angles.len()));
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend_from_slice(format!("{header:117}\n").as_bytes());
        std::fs::write(&name, [bytes, values].concat()).unwrap();
        name.display().to_string()
    };
    let (c, q) = (rows(&[0.0, 10.0, 20.0, 60.0, 90.0]), rows(&[5.0]));
    let words = ["one", "two", "three", "four", "five"];
    let corpus: String =
        (0..5).map(|d| format!("{{\"_id\":\"d{d}\",\"text\":\"{}\"}}\n", words[d])).collect();
    let corpus = file(folder.path(), "corpus.jsonl", &corpus).display().to_string();
    let queries =
        file(folder.path(), "queries.jsonl", "{\"_id\":\"q\",\"text\":\"x\"}\n").display().to_string();
    let qrels = file(folder.path(), "q.tsv", "query-id\tcorpus-id\tscore\nq\td0\t1\n").display().to_string();
    let out = folder.path().join("out.jsonl");
    let job = |source: &str, filter: &str, more: &[&str]| {
        let path = out.display().to_string();
        let start = ["mine", "--corpus", &corpus, "--queries", &queries, "--qrels", &qrels, "-o", &path];
        let vectors = ["--corpus-vectors", &c, "--query-vectors", &q, "--source", source, "--filter", filter];
        let end = ["--format", "native", "--force"];
        run(start.iter().chain(&vectors).chain(&end).chain(more))
    };
    let negatives = |filter: &str| -> Vec<String> {
        let (code, _, stderr) = job("vectors,graph", filter, &["--family-by", "graph"]);
        assert_eq!(code, Some(0), "{stderr}");
        let row: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
        let all = row["negatives"].as_array().unwrap().iter();
        all.map(|d| d["doc_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(negatives("known,family"), ["d3", "d4"], "a cosine of 0.95 where nothing is said: 18 degrees");
    assert_eq!(negatives("known,family:0.99"), ["d1", "d2", "d3", "d4"], "8 degrees");
    assert_eq!(manifest(&out)["config"]["filters"]["family_by"], "graph");

    let refused = |source: &str, filter: &str, more: &[&str], word: &str| {
        let (code, _, stderr) = job(source, filter, more);
        assert!(code == Some(2) && stderr.contains(word), "{stderr}");
    };
    refused("vectors", "known,family", &["--family-by", "graph"], "--source graph");
    refused("graph", "known,family", &["--family-by", "graph", "--metric", "dot"], "cosine");
    refused("vectors,graph:bm25", "known,family", &["--family-by", "graph"], "cosine");
    refused("vectors,graph", "known", &["--family-by", "graph"], "add family to --filter");
    refused("vectors", "known", &["--graph-retrieved", "3"], "add graph to --source");
    refused("vectors", "known", &["--graph-neighbours", "3"], "add graph to --source");
    refused("graph", "known", &["--graph-neighbours", "0"], "at least 1");
    refused("graph:run", "known", &[], "bm25, dense, vectors");
    refused("graph:dense", "known", &[], "--model");
}

#[test]
fn a_plan_says_what_the_graph_costs_and_a_run_makes_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (input, work) = (data("cwe").display().to_string(), path("work"));
    let job = ["mine", &input, "--source", "bm25,graph", "--work", &work];
    let explain = || succeed(job.iter().chain(&["-o", &path("x.jsonl") as &str, "--explain"])).0;
    let plan = explain();
    let line = plan.lines().find(|l| l.starts_with("graph ")).unwrap_or_else(|| panic!("{plan}"));
    assert!(line.contains("100 each for ") && line.contains("documents/s"), "{line}");
    let graphs = || -> Vec<_> {
        let stages = std::fs::read_dir(path("work")).unwrap().map(|e| e.unwrap().path());
        let mut graphs: Vec<PathBuf> = stages.map(|s| s.join("graph.bin")).filter(|g| g.exists()).collect();
        graphs.sort();
        graphs.iter().map(|g| (g.clone(), g.metadata().unwrap().modified().unwrap())).collect()
    };
    assert!(graphs().is_empty(), "a plan searches a sample only");
    succeed(job.iter().chain(&["-q", "-o", &path("one.jsonl") as &str]));
    let made = graphs();
    assert_eq!(made.len(), 1);
    assert!(!explain().contains("documents/s"), "it is there");
    succeed(job.iter().chain(&[
        "-q",
        "-o",
        &path("two.jsonl") as &str,
        "--top-k",
        "40",
        "--graph-neighbours",
        "100",
    ]));
    assert_eq!(graphs(), made, "another number of candidates needs no other graph");

    let corpus = format!("{input}/corpus.jsonl");
    let labels = [
        "search",
        "--corpus",
        &corpus,
        "--queries",
        &corpus,
        "--source",
        "graph",
        "-o",
        &path("s.trec") as &str,
    ];
    let (code, _, stderr) = run(labels);
    assert!(code == Some(2) && stderr.contains("--graph-retrieved"), "{stderr}");
    succeed(labels.iter().chain(&["--graph-retrieved", "2", "--top-k", "5", "-q"]));
    let found = per_query(&std::fs::read_to_string(path("s.trec")).unwrap());
    assert!(found.len() > 900 && found.values().all(|d| d.len() <= 5));
}
