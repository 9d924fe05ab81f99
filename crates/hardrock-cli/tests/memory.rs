//! `--memory` is a ceiling that is kept, on a job whose inputs exceed it several times.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use support::manifest;

/// Bytes of the ceiling that the tests set.
const CEILING: u64 = 120 << 20;

/// What the limit of the system counts beyond resident memory: stacks and heaps that are reserved and not touched.
const RESERVED: u64 = 40 << 20;

/// A corpus of `documents` texts of about 2 KB over a vocabulary of 20,000 words, vectors of 64 dimensions, 300 queries.
fn make(folder: &Path, documents: usize) {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    std::fs::create_dir_all(folder.join("qrels")).unwrap();
    let open = |name: &str| BufWriter::new(File::create(folder.join(name)).unwrap());
    let (mut corpus, mut queries, mut qrels) =
        (open("corpus.jsonl"), open("queries.jsonl"), open("qrels/train.tsv"));
    let header = |rows: usize| {
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 64), }}");
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend_from_slice(format!("{text:117}\n").as_bytes());
        bytes
    };
    let (mut c, mut q) = (open("c.npy"), open("q.npy"));
    c.write_all(&header(documents)).unwrap();
    q.write_all(&header(300)).unwrap();
    writeln!(qrels, "query-id\tcorpus-id\tscore").unwrap();
    for d in 0..documents {
        let mut text = String::new();
        for _ in 0..300 {
            // Squared uniform numbers: some words are common, most are rare.
            let u = (next() % 10_000) as f64 / 10_000.0;
            text += &format!("w{} ", (u * u * 20_000.0) as u64);
        }
        writeln!(corpus, "{{\"_id\":\"d{d}\",\"text\":\"{}\"}}", text.trim()).unwrap();
        let vector: Vec<u8> =
            (0..64).flat_map(|_| ((next() % 2000) as f32 / 1000.0 - 1.0).to_le_bytes()).collect();
        c.write_all(&vector).unwrap();
        if d % (documents / 300) == 0 && d / (documents / 300) < 300 {
            let words: Vec<&str> = text.split(' ').take(8).collect();
            writeln!(queries, "{{\"_id\":\"q{d}\",\"text\":\"{}\"}}", words.join(" ")).unwrap();
            writeln!(qrels, "q{d}\td{d}\t1").unwrap();
            q.write_all(&vector).unwrap();
        }
    }
}

#[test]
fn a_job_several_times_the_ceiling_stays_below_it() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 180_000);
    let inputs: u64 =
        ["corpus.jsonl", "c.npy"].iter().map(|n| folder.path().join(n).metadata().unwrap().len()).sum();
    assert!(inputs > 2 * CEILING, "{inputs}");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = |out: &str, ceiling: Option<u64>| {
        let arguments = [
            "mine",
            &folder.path().display().to_string(),
            "-o",
            &path(out),
            "-q",
            "--threads",
            "2",
            "--source",
            "bm25,vectors",
            "--corpus-vectors",
            &path("c.npy"),
            "--query-vectors",
            &path("q.npy"),
            "--num-negatives",
            "3",
        ]
        .map(str::to_owned);
        // The limit counts anonymous memory, stacks and heaps included; the files are read, not mapped.
        let mut command = Command::new("sh");
        match ceiling {
            Some(bytes) => {
                command.args(["-c", &format!("ulimit -d {}; exec \"$0\" \"$@\"", (bytes + RESERVED) >> 10)])
            }
            None => command.args(["-c", "exec \"$0\" \"$@\""]),
        };
        command.arg(env!("CARGO_BIN_EXE_hardrock")).args(arguments);
        if let Some(bytes) = ceiling {
            command.args(["--memory", &bytes.to_string(), "--work", &path("work-small")]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        manifest(&folder.path().join(out))["peak_memory"].as_u64().unwrap()
    };
    let peak = run("small.jsonl", Some(CEILING));
    assert!(peak <= CEILING, "peak {} MiB", peak >> 20);
    run("large.jsonl", None);
    let read = |name: &str| std::fs::read(path(name)).unwrap();
    assert!(read("small.jsonl") == read("large.jsonl"), "a budget must not change the result");
}

/// Vectors of a file that is mostly holes: those of some rows, and their queries, which are the same.
fn holes(folder: &Path, rows: u64, dim: u64, filled: &[u64]) -> Vec<Vec<f32>> {
    use std::os::unix::fs::FileExt;
    let file = |name: &str, rows: u64| {
        let file = File::create(folder.join(name)).unwrap();
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
        let head = [b"\x93NUMPY\x01\x00\x76\x00".to_vec(), format!("{text:117}\n").into_bytes()].concat();
        file.write_all_at(&head, 0).unwrap();
        file.set_len(128 + rows * dim * 4).unwrap();
        file
    };
    let (corpus, queries) = (file("c.npy", rows), file("q.npy", filled.len() as u64));
    let mut state = 7u64;
    let mut vectors = Vec::new();
    for (place, &row) in filled.iter().enumerate() {
        let values: Vec<f32> = (0..dim)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) % 2000) as f32 / 1000.0 - 1.0
            })
            .collect();
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        corpus.write_all_at(&bytes, 128 + row * dim * 4).unwrap();
        queries.write_all_at(&bytes, 128 + place as u64 * dim * 4).unwrap();
        vectors.push(values);
    }
    vectors
}

#[test]
fn vectors_ten_times_the_ceiling_are_streamed_as_the_plan_says() {
    const ROWS: u64 = 56_000;
    const DIM: u64 = 4096;
    const SMALL: u64 = 86 << 20;
    let folder = tempfile::tempdir().unwrap();
    let filled: Vec<u64> = (0..40).map(|i| i * 1399 + 5).collect();
    let vectors = holes(folder.path(), ROWS, DIM, &filled);
    const { assert!(ROWS * DIM * 4 >= 10 * SMALL) };
    let path = |name: &str| folder.path().join(name).display().to_string();
    let qrels: String = filled.iter().enumerate().map(|(q, d)| format!("{q}\t{d}\t1\n")).collect();
    std::fs::write(path("qrels.tsv"), format!("query-id\tcorpus-id\tscore\n{qrels}")).unwrap();
    let run = |more: &[&str]| {
        let ceiling = SMALL.to_string();
        let (c, q, qrels, out) = (path("c.npy"), path("q.npy"), path("qrels.tsv"), path("out.jsonl"));
        let job = ["mine", "--corpus-vectors", &c, "--query-vectors", &q, "--qrels", &qrels, "-o", &out];
        let small = ["--memory", &ceiling, "--threads", "2", "--top-k", "12", "--num-negatives", "8"];
        let output = support::hardrock(job.iter().chain(&small).chain(more)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let plan = run(&["--explain"]);
    for word in
        ["ceiling 86.0 MiB", "875.0 MiB in 32 bits", "streamed in chunks of", "1 pass, 875.0 MiB read"]
    {
        assert!(plan.contains(word), "{word}: {plan}");
    }
    let json: serde_json::Value = serde_json::from_str(&run(&["--explain", "--json"])).unwrap();
    let source = &json["data"]["sources"][0]["memory"];
    let (chunk, room) = (source["streamed"]["bytes"].as_u64().unwrap(), source["room"].as_u64().unwrap());
    assert!(2 * chunk <= room && room < json["data"]["memory"]["ceiling"].as_u64().unwrap(), "{source}");

    run(&["-q"]);
    let json = manifest(&folder.path().join("out.jsonl"));
    let peak = json["peak_memory"].as_u64().unwrap();
    assert!(peak <= SMALL, "peak {} MiB", peak >> 20);
    // The nearest others by a plain scan of the rows that are not zero.
    let unit = |v: &Vec<f32>| {
        let norm = v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        v.iter().map(|x| f64::from(*x) / norm).collect::<Vec<f64>>()
    };
    let units: Vec<Vec<f64>> = vectors.iter().map(unit).collect();
    let text = std::fs::read_to_string(path("out.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 40);
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let own: usize = row["query_id"].as_str().unwrap().parse().unwrap();
        let mut others: Vec<(f64, u64)> = (0..40)
            .filter(|&d| d != own)
            .map(|d| (units[own].iter().zip(&units[d]).map(|(x, y)| x * y).sum(), filled[d]))
            .collect();
        others.sort_by(|a, b| b.0.total_cmp(&a.0));
        let near: Vec<String> = others.iter().take(8).map(|(_, d)| d.to_string()).collect();
        let found: Vec<&str> =
            row["negatives"].as_array().unwrap().iter().map(|d| d["doc_id"].as_str().unwrap()).collect();
        assert_eq!(found, near, "{own}");
    }
}
