//! `hardrock mine` from files to files, as a user meets it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use support::{data, example, file, manifest, run, succeed};

/// Mines the shipped example with these options into a native file; returns its rows and the summary.
fn mine_example(folder: &Path, options: &[&str]) -> (Vec<serde_json::Value>, String) {
    let out = folder.join("out.jsonl");
    let (input, out_text) = (example().display().to_string(), out.display().to_string());
    let fixed = ["mine", &input, "-o", &out_text, "--format", "native", "--force"];
    let (_, stderr) = succeed(fixed.into_iter().chain(options.iter().copied()));
    let text = fs::read_to_string(&out).unwrap();
    (text.lines().map(|l| serde_json::from_str(l).unwrap()).collect(), stderr)
}

/// Ids of the negatives of a native row.
fn negatives(row: &serde_json::Value) -> Vec<String> {
    row["negatives"].as_array().unwrap().iter().map(|d| d["doc_id"].as_str().unwrap().to_owned()).collect()
}

/// Positives per query of a split.
fn positives(split: &Path) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in fs::read_to_string(split).unwrap().lines().skip(1) {
        let mut fields = line.split('\t');
        let (query, doc) = (fields.next().unwrap(), fields.next().unwrap());
        map.entry(query.to_owned()).or_default().push(doc.to_owned());
    }
    map
}

#[test]
fn no_labelled_positive_is_ever_a_negative_and_the_counts_balance() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, stderr) = mine_example(folder.path(), &[]);
    let truth = positives(&example().join("qrels/train.tsv"));
    assert_eq!(rows.len(), truth.len());
    for row in &rows {
        let query = row["query_id"].as_str().unwrap();
        let found = negatives(row);
        assert!(!found.is_empty() && found.len() <= 5);
        assert!(found.iter().all(|d| !truth[query].contains(d)), "{query}: {found:?}");
    }
    let counts = &manifest(&folder.path().join("out.jsonl"))["counts"];
    let n = |name: &str| counts[name].as_u64().unwrap();
    let dropped: u64 = counts["dropped"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(n("retrieved"), n("kept") + dropped);
    assert_eq!(n("requested"), n("selected") + n("short"));
    assert_eq!(n("selected"), rows.iter().map(|r| negatives(r).len() as u64).sum::<u64>());
    assert_eq!(n("anchors"), rows.len() as u64);
    let last = stderr.lines().find(|l| l.starts_with("mined ")).unwrap();
    for word in ["negatives for", "candidates", "dropped", "known", "kin"] {
        assert!(last.contains(word), "{last}");
    }
}

#[test]
fn every_preset_and_every_selection_runs() {
    let folder = tempfile::tempdir().unwrap();
    for preset in [
        "naive",
        "shifted",
        "topk-abs",
        "topk-marginpos",
        "nv-retriever",
        "st",
        "flagembedding",
        "ance",
        "simans",
        "star",
    ] {
        let (rows, _) = mine_example(folder.path(), &["--preset", preset]);
        assert!(preset == "topk-abs" || !rows.is_empty(), "{preset}");
    }
    for rule in ["top", "random", "weighted:2", "bands:3", "mix:bm25=2,random=1", "simans:a=0.1,b=-1"] {
        let (rows, _) = mine_example(folder.path(), &["--select", rule]);
        for row in &rows {
            let mut found = negatives(row);
            found.sort();
            let before = found.len();
            found.dedup();
            assert_eq!(found.len(), before, "{rule}: a negative twice");
        }
    }
}

#[test]
fn a_margin_leaves_only_what_scores_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, _) = mine_example(folder.path(), &["--relative-margin", "0.2", "--filter", "known"]);
    let score = |d: &serde_json::Value| d["score"].as_f64().unwrap();
    for row in &rows {
        let weakest = row["positives"].as_array().unwrap().iter().map(score).fold(f64::INFINITY, f64::min);
        let hardest =
            row["negatives"].as_array().unwrap().iter().map(score).fold(f64::NEG_INFINITY, f64::max);
        assert!(hardest <= weakest * 0.8 + 1e-4, "{row}");
    }
}

#[test]
fn shortfall_is_counted_filled_or_left_out_but_never_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.jsonl");
    let strict = ["--filter", "known,kin:0.05", "--top-k", "10", "--num-negatives", "8"];
    let with = |what: &str| {
        let options: Vec<&str> = strict.iter().copied().chain(["--shortfall", what]).collect();
        let (rows, _) = mine_example(folder.path(), &options);
        let counts = manifest(&out)["counts"].clone();
        let n = |name: &str| counts[name].as_u64().unwrap();
        (rows, n("short"), n("filled"), n("dropped_anchors"))
    };
    let (_, short, filled, _) = with("fewer");
    assert!(short > 0 && filled == 0);
    let (rows, short_after, filled, _) = with("random");
    assert_eq!((short_after, filled), (0, short));
    assert!(rows.iter().all(|r| negatives(r).len() == 8));
    let (rows, _, _, left_out) = with("drop");
    assert!(left_out > 0 && rows.iter().all(|r| negatives(r).len() == 8));
}

#[test]
fn pairs_and_run_files_and_fusion_work_together() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = file(
        folder.path(),
        "pairs.tsv",
        "question\tanswer\nhow to mend a tap\treplace the worn washer of the tap\nhow to bake bread\tknead the dough and bake the bread\nhow to mend a fence\tnail new boards to the fence\n",
    );
    let run_file =
        file(folder.path(), "other.trec", "0 Q0 2 1 9.5 x\n0 Q0 1 2 3.5 x\n1 Q0 0 1 2.0 x\n9 Q0 0 1 1.0 x\n");
    let out = folder.path().join("out.jsonl");
    let source = format!("bm25,run:{}", run_file.display());
    let paths = [pairs.display().to_string(), out.display().to_string()];
    succeed([
        "mine",
        "--pairs",
        &paths[0],
        "-o",
        &paths[1],
        "--source",
        &source,
        "--score-by",
        "rrf",
        "--filter",
        "known",
        "--format",
        "native",
    ]);
    let manifest = manifest(&out);
    assert_eq!(manifest["sources"], serde_json::json!(["bm25", "other"]));
    assert_eq!(manifest["score_by"], "rrf");
    let notices = manifest["notices"].as_object().unwrap();
    assert!(notices.keys().any(|k| k.contains("for queries that are no anchor")), "{notices:?}");
}

#[test]
fn the_spec_that_is_printed_says_the_same_as_the_flags() {
    let folder = tempfile::tempdir().unwrap();
    let (input, a, b) = (
        example().display().to_string(),
        folder.path().join("a.jsonl").display().to_string(),
        folder.path().join("b.jsonl").display().to_string(),
    );
    let flags = [
        "--num-negatives",
        "3",
        "--filter",
        "known,text,kin:0.4",
        "--relative-margin",
        "0.1",
        "--select",
        "bands:2",
    ];
    succeed(["mine", &input, "-o", &a, "-q"].into_iter().chain(flags));
    let (toml, _) = succeed(["mine", &input, "-o", &b, "--print-spec"].into_iter().chain(flags));
    let spec = file(folder.path(), "mine.toml", &toml);
    succeed(["mine", &spec.display().to_string(), "-q"]);
    assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
}

#[test]
fn explain_prints_a_plan_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (example().display().to_string(), folder.path().join("out.jsonl"));
    let out_text = out.display().to_string();
    let (stdout, _) = succeed(["mine", &input, "-o", &out_text, "--explain"]);
    for word in ["source    bm25: 100 per anchor", "judge     by the score of bm25", "estimate"] {
        assert!(stdout.contains(word), "{stdout}");
    }
    assert!(!out.exists());
}

/// Every bad input: exit code 2, a message that names what is wrong and how to mend it, and no output.
#[test]
fn bad_usage_ends_with_code_2_a_help_line_and_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let input = example().display().to_string();
    let out = folder.path().join("out.jsonl");
    let out_text = out.display().to_string();
    let cases: &[(&[&str], &str, &str)] = &[
        (&["--filter", "knwon"], "no filter `knwon`", "did you mean `known`?"),
        (&["--source", "bm26"], "no source `bm26`", "did you mean `bm25`?"),
        (&["--preset", "nv-retriver"], "no preset", "did you mean `nv-retriever`?"),
        (&["--select", "tpo"], "no selection rule `tpo`", "did you mean `top`?"),
        (&["--split", "trian"], "trian", "train"),
        (&["--num-negatives", "0"], "--num-negatives is 0", "at least 1"),
        (&["--relative-margin", "1.5"], "relative must be in [0, 1]", ""),
        (&["--range-min", "5", "--range-max", "5"], "leaves no rank", "above --range-min"),
        (&["--score-by", "dense"], "no such source", "one of bm25, or rrf"),
        (&["--filter", "agree:3"], "asks for 3 sources", "--source"),
        (&["--memory", "1MiB"], "too little", "give at least"),
        (&["--language", "klingon"], "klingon", ""),
        (&["--threads", "0"], "--threads is 0", ""),
    ];
    for (options, problem, help) in cases {
        let fixed = ["mine", &input, "-o", &out_text];
        let (code, _, stderr) = run(fixed.into_iter().chain(options.iter().copied()));
        assert_eq!(code, Some(2), "{options:?}: {stderr}");
        assert!(stderr.contains(problem) && stderr.contains(help), "{options:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert!(!out.exists(), "{options:?} wrote an output");
    }
}

#[test]
fn a_broken_line_is_named_or_skipped_into_the_rejects_file() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = "{\"_id\":\"d1\",\"text\":\"red fox\"}\n{\"_id\":\"d2\",\"text\":\n{\"_id\":\"d3\",\"text\":\"red sea\"}\n";
    file(folder.path(), "corpus.jsonl", corpus);
    file(folder.path(), "queries.jsonl", "{\"_id\":\"q1\",\"text\":\"red\"}\n");
    file(folder.path(), "qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n");
    let (input, out) = (folder.path().display().to_string(), folder.path().join("out.jsonl"));
    let out_text = out.display().to_string();
    let (code, _, stderr) = run(["mine", &input, "-o", &out_text]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("corpus.jsonl:2") && stderr.contains("help"), "{stderr}");
    assert!(!out.exists());
    succeed(["mine", &input, "-o", &out_text, "--on-bad-row", "skip"]);
    let rejects: PathBuf = folder.path().join("out.jsonl.rejects.jsonl");
    assert_eq!(fs::read_to_string(rejects).unwrap().lines().count(), 1);
}

/// A small npy file of f32 rows.
fn npy(path: &Path, rows: &[Vec<f32>]) {
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows.len(), rows[0].len());
    let padded = header.len().div_ceil(64) * 64 + 64 - 11;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&((padded + 1) as u16).to_le_bytes());
    bytes.extend_from_slice(format!("{header:padded$}\n").as_bytes());
    bytes.extend(rows.iter().flatten().flat_map(|v| v.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

#[test]
fn given_vectors_find_the_nearest_and_bad_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut corpus = String::new();
    for i in 0..6 {
        corpus += &format!("{{\"_id\":\"d{i}\",\"text\":\"document number {i} of its kind\"}}\n");
    }
    file(folder.path(), "corpus.jsonl", &corpus);
    file(
        folder.path(),
        "queries.jsonl",
        "{\"_id\":\"q0\",\"text\":\"first\"}\n{\"_id\":\"q1\",\"text\":\"second\"}\n",
    );
    file(folder.path(), "qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td5\t1\n");
    let angle = |a: f32| vec![a.cos(), a.sin()];
    let rows: Vec<Vec<f32>> = (0..6).map(|i| angle(i as f32 * 0.3)).collect();
    let (c, q) = (folder.path().join("c.npy"), folder.path().join("q.npy"));
    npy(&c, &rows);
    npy(&q, &[angle(0.0), angle(1.5)]);
    let (input, out) = (folder.path().display().to_string(), folder.path().join("out.jsonl"));
    let (c_text, q_text, out_text) =
        (c.display().to_string(), q.display().to_string(), out.display().to_string());
    let mine = |options: &[&str]| {
        let fixed = [
            "mine",
            &input,
            "-o",
            &out_text,
            "--force",
            "--corpus-vectors",
            &c_text,
            "--query-vectors",
            &q_text,
        ];
        let rest = ["--format", "native", "--filter", "known", "--num-negatives", "2"];
        run(fixed.into_iter().chain(rest).chain(options.iter().copied()))
    };
    let (code, _, stderr) = mine(&[]);
    assert_eq!(code, Some(0), "{stderr}");
    let row: serde_json::Value = serde_json::from_str(fs::read_to_string(&out).unwrap().trim()).unwrap();
    assert_eq!(negatives(&row), ["d4", "d3"], "only the judged query, by its own row of the file");
    let score = row["negatives"][0]["score"].as_f64().unwrap();
    assert!((score - f64::from(0.3f32.cos())).abs() < 1e-6, "{score}");

    npy(&q, &[angle(0.0), vec![f32::NAN, 0.0]]);
    let (code, _, stderr) = mine(&[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("q.npy") && stderr.contains("NaN"), "{stderr}");
    npy(&q, &[vec![1.0, 0.0, 0.0], vec![1.0, 0.0, 0.0]]);
    let (code, _, stderr) = mine(&[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("dimensions"), "{stderr}");
    npy(&q, &[angle(0.0), angle(1.0), angle(2.0)]);
    let (code, _, stderr) = mine(&[]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("3 vectors"), "{stderr}");
}

#[test]
fn two_vector_files_and_judgements_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let angle = |a: f32| vec![a.cos(), a.sin()];
    let (c, q) = (folder.path().join("c.npy"), folder.path().join("q.npy"));
    npy(&c, &(0..6).map(|i| angle(i as f32 * 0.3)).collect::<Vec<_>>());
    npy(&q, &[angle(0.0), angle(1.5)]);
    file(folder.path(), "c.ids.txt", "a\nb\nc\nd\ne\nf\n");
    let qrels = file(folder.path(), "qrels.tsv", "query-id\tcorpus-id\tscore\n0\ta\t1\n1\tf\t1\n");
    let out = folder.path().join("out.jsonl");
    let texts = [&c, &q, &qrels, &out].map(|p| p.display().to_string());
    let [c, q, qrels, out_text] = &texts;
    let vectors = ["mine", "--corpus-vectors", c, "--query-vectors", q, "-o", out_text];
    let with = |options: &[&str]| run(vectors.into_iter().chain(options.iter().copied()).map(str::to_owned));
    let (code, _, stderr) = with(&["--qrels", qrels, "--num-negatives", "2"]);
    assert_eq!(code, Some(0), "{stderr}");
    let rows = fs::read_to_string(&out).unwrap();
    let rows: Vec<serde_json::Value> = rows.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows.iter().map(negatives).collect::<Vec<_>>(), [["b", "c"], ["e", "d"]]);
    assert!(rows[0]["query"].is_null() && rows[0]["negatives"][0]["text"].is_null(), "{}", rows[0]);
    let run_file = folder.path().join("run.trec").display().to_string();
    succeed(["search", "--corpus-vectors", c, "--query-vectors", q, "-o", &run_file, "--top-k", "2", "-q"]);
    let lines = fs::read_to_string(&run_file).unwrap();
    let found: Vec<&str> = lines.lines().map(|l| l.split(' ').nth(2).unwrap()).collect();
    assert_eq!(found, ["a", "b", "f", "e"]);
    for (options, problem) in [
        (&["--filter", "known,near"][..], "the filter `near` reads texts"),
        (&["--format", "flagembedding"], "holds texts"),
        (&["--source", "bm25,vectors"], "the source `bm25` reads texts"),
    ] {
        let (code, _, stderr) = with(&[&["--qrels", qrels, "--force"], options].concat());
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(problem), "{stderr}");
    }
}

#[test]
fn an_outside_program_judges_and_its_failure_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let program = file(
        folder.path(),
        "judge.py",
        "import sys, json\nfor line in sys.stdin:\n    r = json.loads(line)\n    print(json.dumps({'keep': not r['doc_id'].endswith('7'), 'value': 0.25}))\n",
    );
    let filter = format!("known,command:python3 '{}'", program.display());
    let (rows, _) = mine_example(folder.path(), &["--filter", &filter, "--split", "dev", "--top-k", "10"]);
    assert!(rows.iter().flat_map(negatives).all(|d| !d.ends_with('7')));
    let counts = manifest(&folder.path().join("out.jsonl"))["counts"].clone();
    assert!(counts["dropped"]["command"].as_u64().unwrap() > 0);

    file(
        folder.path(),
        "judge.py",
        "import sys\nsys.stdin.readline()\nprint('nonsense')\nsys.exit('the judge is ill')\n",
    );
    let filter = format!("known,command:python3 '{}' --now", program.display());
    let input = example().display().to_string();
    let out = folder.path().join("other.jsonl").display().to_string();
    let (code, _, stderr) = run(["mine", &input, "-o", &out, "--filter", &filter, "--split", "dev"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("command") && stderr.contains("the judge is ill"), "{stderr}");
    assert!(!Path::new(&out).exists());
}

/// What the guarantee of the defaults rests on: a quarter of the naive false negatives at no less hardness.
#[test]
fn the_default_saves_false_negatives_on_real_data() {
    let folder = tempfile::tempdir().unwrap();
    let input = data("debian-packages");
    let oracle = data("debian-packages/qrels/oracle_strict.tsv.gz");
    let truth = support::oracle(&oracle, 1);
    let share = |options: &[&str]| {
        let out = folder.path().join("out.jsonl");
        let (input, out_text) = (input.display().to_string(), out.display().to_string());
        let fixed =
            ["mine", &input, "-o", &out_text, "--format", "native", "--force", "-q", "--split", "dev"];
        succeed(fixed.into_iter().chain(options.iter().copied()));
        let (mut wrong, mut all) = (0u64, 0u64);
        for line in fs::read_to_string(&out).unwrap().lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let query = row["query_id"].as_str().unwrap().to_owned();
            for negative in negatives(&row) {
                all += 1;
                wrong += u64::from(truth.contains(&(query.clone(), negative)));
            }
        }
        wrong as f64 / all as f64
    };
    let naive = share(&["--preset", "sentence-transformers"]);
    let ours = share(&["--num-negatives", "3"]);
    assert!(naive > 0.05, "the data hold natural false negatives: {naive}");
    assert!(ours <= naive / 4.0, "default {ours}, naive {naive}");
}
