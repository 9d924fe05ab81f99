//! `convert`, `formats` and `validate` through the binary: exit codes, messages and JSON.

mod support;

use support::{file, run, succeed};

const ROWS: &str = "{\"query\":\"who wrote Dune\",\"pos\":[\"Frank Herbert\"],\"neg\":[\"Brian Herbert\",\"a hill of sand\"]}\n";

#[test]
fn convert_says_what_it_wrote_and_refuses_to_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let input = file(folder.path(), "mined.jsonl", ROWS);
    let output = folder.path().join("train.st-triplet.csv.gz");
    let arguments = ["convert", input.to_str().unwrap(), output.to_str().unwrap()];
    let (stdout, stderr) = succeed(arguments);
    assert_eq!(stdout, "");
    assert!(
        stderr.ends_with("train.st-triplet.csv.gz: 1 rows of flagembedding as 2 records of st-triplet\n"),
        "{stderr}"
    );
    let (code, _, stderr) = run(arguments);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("already exists") && stderr.contains("--force"), "{stderr}");
    let (stdout, _) = succeed(arguments.into_iter().chain(["--force", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (json["data"]["to"].as_str(), json["data"]["records"].as_u64()),
        (Some("st-triplet"), Some(2))
    );
    let back = folder.path().join("back.native.jsonl");
    succeed(["convert", output.to_str().unwrap(), back.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(back).unwrap().matches("\"negatives\":[{").count(), 1);
}

#[test]
fn convert_names_line_field_and_mend_of_a_bad_row() {
    let folder = tempfile::tempdir().unwrap();
    let input =
        file(folder.path(), "mined.jsonl", &format!("{ROWS}{{\"query\":\"q\",\"pos\":\"p\",\"neg\":[]}}\n"));
    let output = folder.path().join("train.st-triplet.jsonl");
    let (code, _, stderr) = run(["convert", input.to_str().unwrap(), output.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("mined.jsonl:2: field `pos`: is a string, but must be a list"), "{stderr}");
    assert!(stderr.contains("write [\"p\"]"), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the input is there");
}

#[test]
fn formats_suggests_the_nearest_name() {
    let (code, _, stderr) = run(["formats", "flagembeding"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("did you mean `flagembedding`?"), "{stderr}");
    let (stdout, _) = succeed(["formats", "msmarco-ids"]);
    assert!(stdout.contains("7\t12\t31"), "{stdout}");
}

#[test]
fn validate_ends_with_1_for_errors_and_0_for_clean_data() {
    let folder = tempfile::tempdir().unwrap();
    let clean = file(folder.path(), "clean.jsonl", ROWS);
    let (stdout, _) = succeed(["validate", clean.to_str().unwrap()]);
    assert!(stdout.ends_with("no errors, no warnings\n"), "{stdout}");
    let bad = file(folder.path(), "bad.jsonl", &ROWS.replace("Brian", "Frank"));
    let (code, stdout, _) = run(["validate", bad.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("error: positives among the negatives: 1\n  bad.jsonl:1  document \"Frank Herbert\""),
        "{stdout}"
    );
    let (code, stdout, _) = run(["validate", bad.to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, json["data"]["findings"][0]["check"].as_str()),
        (Some(1), Some("positive-among-negatives"))
    );
}
