//! What `validate` finds, on planted faults, and that it finds nothing on clean data.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use hardrock::rows::{ReadOptions, RowFormat};
use hardrock::validate::{Check, Severity, Validation, validate};

fn training(contents: &str) -> Validation {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    std::fs::write(&path, contents).unwrap();
    validate(&path, None, &ReadOptions::default()).unwrap()
}

/// Kind, count and place of the first example.
fn found(v: &Validation) -> Vec<(Check, u64, &str)> {
    v.findings.iter().map(|f| (f.check, f.count, f.examples[0].place.as_str())).collect()
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("qrels")).unwrap();
    for (name, contents) in files {
        std::fs::write(folder.path().join(name), contents).unwrap();
    }
    folder
}

#[test]
fn clean_rows_have_no_finding() {
    let v = training(
        "{\"query\":\"q one\",\"pos\":[\"p one\"],\"neg\":[\"n one\",\"n two\"]}\n{\"query\":\"q two\",\"pos\":[\"p two\"],\"neg\":[\"n one\"]}\n",
    );
    assert_eq!(found(&v), []);
    assert_eq!(v.errors(), 0);
    assert_eq!(v.counts, [("rows", 2), ("anchors", 2), ("positives", 2), ("negatives", 3)]);
    assert_eq!(v.collisions.unwrap().expected_rows, 0.0);
}

#[test]
fn a_positive_of_another_row_of_the_same_anchor_is_found_among_the_negatives() {
    let v = training(
        "{\"query\":\"who?\",\"pos\":[\"Alice\"],\"neg\":[\"Bob\"]}\n{\"query\":\"Who\",\"pos\":[\"bob!\"],\"neg\":[\"Carol\"]}\n",
    );
    assert_eq!(
        found(&v),
        [(Check::PositiveAmongNegatives, 1, "t.jsonl:1"), (Check::RepeatedAnchor, 1, "t.jsonl:2")],
        "by normalised text, and not counted as a collision between rows too"
    );
    assert_eq!(v.findings[0].severity, Severity::Error);
    assert_eq!(v.findings[0].examples[0].what, "document \"Bob\" of query \"who?\"");
}

#[test]
fn a_positive_is_found_by_its_id_where_there_are_no_texts() {
    let v = training("{\"qid\":1,\"pos\":[7],\"neg\":{\"bm25\":[8,7,9]}}\n");
    assert_eq!(found(&v), [(Check::PositiveAmongNegatives, 1, "t.jsonl:1")]);
}

#[test]
fn faults_within_a_row_are_told_apart() {
    let v = training(concat!(
        "{\"query\":\"the anchor\",\"pos\":[\"p\",\"P.\"],\"neg\":[\"The Anchor\",\" \"]}\n",
        "{\"query\":\"r\",\"pos\":[],\"neg\":[\"x\"]}\n",
        "{\"query\":\"s\",\"pos\":[\"S\"],\"neg\":[]}\n",
    ));
    assert_eq!(
        found(&v),
        [
            (Check::SelfNegative, 1, "t.jsonl:1"),
            (Check::EmptyText, 1, "t.jsonl:1"),
            (Check::NoPositive, 1, "t.jsonl:2"),
            (Check::NoNegative, 1, "t.jsonl:3"),
            (Check::SelfPositive, 1, "t.jsonl:3"),
            (Check::RepeatedInRow, 1, "t.jsonl:1"),
        ]
    );
}

#[test]
fn ids_with_two_texts_and_texts_with_two_ids_are_found() {
    let row = |q: &str, p: (&str, &str), n: (&str, &str)| {
        format!(
            "{{\"query_id\":\"{q}\",\"query\":\"{q} text\",\"positives\":[{{\"doc_id\":\"{}\",\"text\":\"{}\"}}],\"negatives\":[{{\"doc_id\":\"{}\",\"text\":\"{}\"}}]}}\n",
            p.0, p.1, n.0, n.1
        )
    };
    let v = training(
        &(row("q1", ("a", "alpha"), ("b", "beta"))
            + &row("q2", ("c", "gamma"), ("a", "other"))
            + &row("q3", ("d", "delta"), ("e", "Beta"))),
    );
    assert_eq!(found(&v), [(Check::DuplicateId, 1, "t.jsonl:2"), (Check::DuplicateText, 1, "t.jsonl:3")]);
}

#[test]
fn a_batch_of_all_rows_holds_every_collision() {
    // Four rows; the negative of row 1 is the positive of rows 2 and 3, that of row 4 the positive of row 1.
    let v = training(concat!(
        "{\"query\":\"q1\",\"pos\":[\"p1\"],\"neg\":[\"p2\"]}\n",
        "{\"query\":\"q2\",\"pos\":[\"p2\"],\"neg\":[\"x\"]}\n",
        "{\"query\":\"q3\",\"pos\":[\"p2\"],\"neg\":[\"y\"]}\n",
        "{\"query\":\"q4\",\"pos\":[\"p4\"],\"neg\":[\"p1\"]}\n",
    ));
    assert_eq!(found(&v), [(Check::CrossRow, 2, "t.jsonl:1"), (Check::SharedPositive, 2, "t.jsonl:2")]);
    let c = v.collisions.unwrap();
    assert_eq!(c.batch, 4);
    // The batch is the whole file: both rows collide for certain.
    assert_eq!(c.expected_rows, 2.0);
}

#[test]
fn a_run_has_no_positives_and_that_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.run");
    std::fs::write(&path, "1 Q0 d1 1 2.5 x\n1 Q0 d2 2 2 x\n").unwrap();
    let v = validate(&path, None, &ReadOptions::default()).unwrap();
    assert_eq!((v.format, found(&v)), (Some(RowFormat::TrecRun), vec![]));
}

#[test]
fn a_folder_with_every_fault_names_each_by_file_and_line() {
    let data = folder(&[
        (
            "corpus.jsonl",
            concat!(
                "{\"_id\":\"d1\",\"title\":\"\",\"text\":\"one\"}\n",
                "{\"_id\":\"d2\",\"title\":\"\",\"text\":\"One!\"}\n",
                "{\"_id\":\"d1\",\"title\":\"\",\"text\":\"again\"}\n",
                "{\"_id\":\"d3\",\"title\":\"\",\"text\":\" \"}\n",
                "{\"_id\":\"d4\",\"title\":\"\",\"text\":\"question\"}\n",
            ),
        ),
        (
            "queries.jsonl",
            "{\"_id\":\"q1\",\"text\":\"question\"}\n{\"_id\":\"q2\",\"text\":\"unasked\"}\n{\"_id\":\"q3\",\"text\":\"no\"}\n",
        ),
        (
            "qrels/train.tsv",
            "query-id\tcorpus-id\tscore\nq1\td4\t1\nq1\td4\t1\nq1\td1\t1\nq1\td1\t0\nq9\td1\t1\nq1\tnone\t1\nq3\td1\t0\n",
        ),
    ]);
    let v = validate(data.path(), None, &ReadOptions::default()).unwrap();
    assert_eq!(
        found(&v),
        [
            (Check::DuplicateId, 1, "corpus.jsonl:3"),
            (Check::EmptyText, 1, "corpus.jsonl:4"),
            (Check::NoPositive, 1, "train.tsv:8"),
            (Check::MissingDocument, 1, "train.tsv:7"),
            (Check::MissingQuery, 1, "train.tsv:6"),
            (Check::Contradiction, 1, "train.tsv:5"),
            (Check::SelfPositive, 2, "train.tsv:2"),
            (Check::DuplicateText, 1, "corpus.jsonl:2"),
            (Check::RepeatedJudgement, 1, "train.tsv:3"),
            (Check::UnjudgedQuery, 1, "queries.jsonl:2"),
        ]
    );
    assert_eq!(v.errors(), 5);
}

#[test]
fn the_shipped_example_has_no_error() {
    let cwe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/cwe");
    let v = validate(&cwe, None, &ReadOptions::default()).unwrap();
    assert_eq!(v.errors(), 0, "{:?}", v.findings);
    assert!(v.counts.iter().all(|(_, n)| *n > 100), "{:?}", v.counts);
}

#[test]
fn a_folder_that_is_none_says_what_belongs_there() {
    let empty = tempfile::tempdir().unwrap();
    let error = validate(empty.path(), None, &ReadOptions::default()).unwrap_err();
    assert!(error.help().unwrap().contains("corpus.jsonl, queries.jsonl and qrels/*.tsv"));
}
