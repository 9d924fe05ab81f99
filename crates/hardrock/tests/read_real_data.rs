//! The real data sets load as their READMEs say. They lie in `../shared/data` beside the repository, or where
//! `HARDROCK_DATA` says; a missing one fails the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may")]

use std::path::PathBuf;

use hardrock::read::{Column, ColumnKind, ColumnSpec, DataSpec, Dataset, LoadOptions, notice};

fn data(name: &str) -> PathBuf {
    let root = std::env::var_os("HARDROCK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = root.join(name);
    assert!(folder.is_dir(), "{} is missing: set HARDROCK_DATA", folder.display());
    folder
}

fn load(name: &str, split: &str) -> (Dataset, tempfile::TempDir) {
    let work = tempfile::tempdir().unwrap();
    let spec = DataSpec { split: Some(split.into()), ..DataSpec::of_folder(data(name)) };
    let set = Dataset::load(&spec, &LoadOptions::new(work.path())).unwrap();
    (set, work)
}

#[test]
fn cwe_loads_with_its_titles_and_labels() {
    let work = tempfile::tempdir().unwrap();
    let columns = [ColumnSpec { name: "metadata.abstraction".into(), kind: ColumnKind::Label }];
    let options = LoadOptions { columns: &columns, ..LoadOptions::new(work.path()) };
    let set = Dataset::load(&DataSpec::of_folder(data("cwe")), &options).unwrap();
    assert_eq!(set.items.len(), 938);
    let cwe5 = set.items.find("CWE-5").unwrap();
    let (title, text) = set.items.record(cwe5).unwrap();
    assert_eq!(title, "J2EE Misconfiguration: Data Transmission Without Encryption");
    assert!(text.starts_with("Information sent over a network"));
    assert_eq!(set.items.text(cwe5).unwrap(), format!("{title} {text}"));
    let Some(Column::Label { values, names }) = set.items.column("metadata.abstraction") else { panic!() };
    assert_eq!(names[values[cwe5 as usize] as usize], "Variant");
    assert!(set.anchors.column("metadata.abstraction").is_none());
    let anchor = set.anchors.find("cwe-q0001").unwrap();
    let positives: Vec<&str> = set.positives(anchor).map(|i| set.items.id(i)).collect();
    assert_eq!(positives, ["CWE-88"]);
    let all = set.anchors.len() as u64 + set.notices[notice::UNJUDGED_QUERIES];
    assert_eq!(all, 1982);
}

#[test]
fn wordnet_loads_from_gzip() {
    let (set, _work) = load("wordnet", "test");
    assert_eq!(set.items.len(), 117_659);
    assert_eq!(set.anchors.len() as u64 + set.notices[notice::UNJUDGED_QUERIES], 34_500);
    assert!((0..set.anchors.len() as u32).all(|a| set.positives(a).next().is_some()));
}

#[test]
fn debian_packages_load_and_a_saved_set_is_the_same() {
    let (set, work) = load("debian-packages", "train");
    assert_eq!(set.items.len(), 57_126);
    assert_eq!(set.anchors.len() as u64 + set.notices[notice::UNJUDGED_QUERIES], 15_000);
    set.save(work.path()).unwrap();
    let again = Dataset::open(work.path()).unwrap();
    assert_eq!(again.items.text_hashes(), set.items.text_hashes());
    assert_eq!(again.judgements, set.judgements);
    assert_eq!(again.notices, set.notices);
    let mut bytes = 0;
    again
        .items
        .for_each(0..again.items.len(), &mut |i, text| {
            if i % 5000 == 0 {
                assert_eq!(text, set.items.text(i as u32).unwrap());
            }
            bytes += text.len() as u64;
        })
        .unwrap();
    assert_eq!(bytes, set.items.texts().bytes());
}

#[test]
fn an_oracle_is_a_split_only_for_those_who_name_it() {
    let (set, _work) = load("cwe", "oracle");
    let anchor = set.anchors.find("cwe-q0001").unwrap();
    assert_eq!(set.judgements.grade(anchor, set.items.find("CWE-88").unwrap()), Some(3));
    let folder = data("cwe");
    let spec = DataSpec {
        corpus: Some(folder.join("corpus.jsonl")),
        queries: Some(folder.join("queries.jsonl")),
        qrels: Some(folder.join("qrels/oracle.tsv")),
        ..DataSpec::default()
    };
    let error = spec.files().unwrap_err();
    assert!(error.to_string().ends_with("oracle.tsv: is an oracle, which is for scoring only"), "{error}");
    assert!(DataSpec { split: Some("oracle".into()), ..spec }.files().is_ok());
}

#[test]
fn a_missing_split_names_the_splits_but_no_oracle() {
    let spec = DataSpec { split: Some("tset".into()), ..DataSpec::of_folder(data("cwe")) };
    let error = spec.files().unwrap_err();
    assert!(error.to_string().ends_with("there are no qrels for the split `tset`"), "{error}");
    assert_eq!(error.help().unwrap(), "the splits here are dev, test, train; choose one with --split dev");
}
