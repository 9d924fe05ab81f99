//! One bad input each, and the exact words that a person gets: where it is, what is wrong, what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may")]

use std::path::Path;

use hardrock::Result;
use hardrock::read::{ColumnKind, ColumnSpec, DataSpec, Dataset, LoadOptions, OnBadRow, Reject, notice};

const CORPUS: &str = "{\"_id\":\"d1\",\"text\":\"one\"}\n{\"_id\":\"d2\",\"text\":\"two\"}\n";
const QUERIES: &str = "{\"_id\":\"q1\",\"text\":\"first\"}\n{\"_id\":\"q2\",\"text\":\"second\"}\n";
const QRELS: &str = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n";

/// A BEIR folder with one part replaced.
fn folder(replaced: &str, content: impl AsRef<[u8]>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("qrels")).unwrap();
    let parts = [("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels/train.tsv", QRELS)];
    for (name, text) in parts.into_iter().filter(|(name, _)| *name != replaced) {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    std::fs::write(dir.path().join(replaced), content).unwrap();
    dir
}

fn load(dir: &Path, spec: impl FnOnce(&mut DataSpec)) -> Result<Dataset> {
    let mut data = DataSpec::of_folder(dir);
    spec(&mut data);
    Dataset::load(&data, &LoadOptions::new(&dir.join("work")))
}

/// The message without the folder, and the help below it.
fn told(dir: &Path, result: Result<Dataset>) -> String {
    let error = result.err().expect("this input is bad");
    assert_eq!(error.exit_code(), 2, "{error}");
    let text = format!("{error}\n{}", error.help().unwrap_or_default());
    text.replace(&format!("{}/", dir.display()), "").replace(&dir.display().to_string(), "FOLDER")
}

fn bad(replaced: &str, content: impl AsRef<[u8]>) -> String {
    let dir = folder(replaced, content);
    told(dir.path(), load(dir.path(), |_| {}))
}

#[test]
fn broken_json() {
    insta::assert_snapshot!(bad("corpus.jsonl", "{\"_id\":\"d1\",\"text\":\"one\"}\n{\"_id\":\"d2\" \"text\":\"x\"}\n"), @r#"
    corpus.jsonl:2: broken JSON at column 13: expected `,` or `}`
    one JSON object per line is wanted, such as {"_id": "d1", "text": "…"}
    "#);
    insta::assert_snapshot!(bad("corpus.jsonl", "{\"_id\":\"d1\",\"text\":\"on"), @r#"
    corpus.jsonl:1: broken JSON: the line ends too early (EOF while parsing a string)
    one JSON object per line is wanted, such as {"_id": "d1", "text": "…"}
    "#);
    insta::assert_snapshot!(bad("corpus.jsonl", "[{\"_id\":\"d1\",\"text\":\"one\"}]"), @r#"
    corpus.jsonl: is one JSON array, JSON lines are wanted
    write one object per line: jq -c '.[]'
    "#);
    insta::assert_snapshot!(bad("corpus.jsonl", "\"d1\"\n"), @r#"
    corpus.jsonl:1: invalid type: string "d1", expected an object with named fields
    one JSON object per line is wanted, such as {"_id": "d1", "text": "…"}
    "#);
}

#[test]
fn wrong_field_name() {
    insta::assert_snapshot!(bad("corpus.jsonl", "{\"_id\":\"d1\",\"txt\":\"one\"}\n"), @r#"
    corpus.jsonl:1: field `text`: missing
    did you mean `txt`? The fields here are `_id`, `txt`
    "#);
    insta::assert_snapshot!(bad("corpus.jsonl", "{\"key\":\"d1\",\"text\":\"one\"}\n"), @r#"
    corpus.jsonl:1: field `_id`: missing
    the fields here are `key`, `text`; `id`, `docid`, `doc_id`, `document_id`, `corpus-id`, `corpus_id`, `pid` would do as well
    "#);
    insta::assert_snapshot!(bad("qrels/train.tsv", "query-id\tcorpusid\tscore\nq1\td1\t1\n"), @r#"
    qrels/train.tsv: field `corpus-id`: missing
    did you mean `corpusid`? The fields here are `query-id`, `corpusid`, `score`
    "#);
}

#[test]
fn wrong_kind_of_value() {
    insta::assert_snapshot!(bad("corpus.jsonl", "{\"_id\":\"d1\",\"text\":[\"one\"]}\n"), @r#"
    corpus.jsonl:1: field `text`: a list where a string is wanted
    write the text as one string
    "#);
    insta::assert_snapshot!(bad("corpus.jsonl", "{\"_id\":1.5,\"text\":\"one\"}\n"), @r#"
    corpus.jsonl:1: field `_id`: 1.5 is no id
    an id is a string or a whole number
    "#);
    insta::assert_snapshot!(bad("corpus.jsonl", "{\"_id\":\"\",\"text\":\"one\"}\n"), @r#"
    corpus.jsonl:1: field `_id`: empty
    give every record an id of its own
    "#);
    insta::assert_snapshot!(bad("corpus.jsonl", "{\"_id\":\"a\",\"text\":\"one\",\"_id\":\"b\"}\n"), @r#"
    corpus.jsonl:1: field `_id`: twice in this record
    keep one of them
    "#);
}

#[test]
fn empty_text() {
    insta::assert_snapshot!(bad("corpus.jsonl", "{\"_id\":\"d1\",\"text\":\" \"}\n"), @r#"
    corpus.jsonl:1: field `text`: empty (id `d1`)
    give it a text, remove the record, or leave such out with --on-bad-row skip
    "#);
    insta::assert_snapshot!(bad("queries.jsonl", "{\"_id\":\"q1\",\"text\":null}\n"), @r#"
    queries.jsonl:1: field `text`: empty (id `q1`)
    give it a text, remove the record, or leave such out with --on-bad-row skip
    "#);
}

#[test]
fn duplicate_id() {
    let text = "{\"_id\":\"d1\",\"text\":\"one\"}\n\n{\"_id\":\"d1\",\"text\":\"one\"}\n";
    insta::assert_snapshot!(bad("corpus.jsonl", text), @r#"
    corpus.jsonl:3: field `_id`: `d1` was already given in line 1
    ids must be distinct: rename or remove one, or keep the first of each with --on-bad-row skip
    "#);
}

#[test]
fn bytes_that_are_no_text() {
    insta::assert_snapshot!(bad("corpus.jsonl", b"{\"_id\":\"d1\",\"text\":\"caf\xE9\"}\n"), @r#"
    corpus.jsonl:1: byte 24 (0xE9) is no valid UTF-8
    convert the file to UTF-8, for example: iconv -f LATIN1 -t UTF-8
    "#);
    insta::assert_snapshot!(bad("qrels/train.tsv", b"query-id\tcorpus-id\tscore\nq1\td\x001\t1\n"), @r#"
    qrels/train.tsv:2: NUL byte at byte 5
    remove it, or fetch the file again: text files hold no NUL bytes
    "#);
    insta::assert_snapshot!(bad("corpus.jsonl", ""), @r#"
    corpus.jsonl: the file is empty
    check how it was made or fetched
    "#);
}

#[test]
fn qrels_of_another_split() {
    insta::assert_snapshot!(bad("qrels/train.tsv", "query-id\tcorpus-id\tscore\nt7\td1\t1\nt8\td2\t1\n"), @r#"
    qrels/train.tsv: of its 2 queries only 0 are in queries.jsonl; `t7`, for one, is not
    these are the judgements of another split or of other queries: choose the split that fits, or the queries that do
    "#);
}

#[test]
fn qrels_of_another_corpus() {
    insta::assert_snapshot!(bad("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\tx1\t1\n"), @r#"
    qrels/train.tsv: none of its documents is in corpus.jsonl, such as `x1`
    these judgements belong to another corpus, or its ids are written in another way
    "#);
}

#[test]
fn qrels_with_bad_lines() {
    insta::assert_snapshot!(bad("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t0.5\n"), @r#"
    qrels/train.tsv:2: field `score`: "0.5" is no grade
    grades are whole numbers; a run with scores is not a qrels file, use it as a source: run:FILE
    "#);
    insta::assert_snapshot!(bad("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\n"), @r#"
    qrels/train.tsv:2: 2 columns where the header has 3
    every line needs the same columns; a tab or comma inside a text must be quoted (CSV) or removed
    "#);
    insta::assert_snapshot!(bad("qrels/train.tsv", "q1\td1\n"), @r#"
    qrels/train.tsv: line 1 has 2 columns and is no header
    begin the file with a header line; it needs at least the columns `query-id`, `corpus-id`, `score`
    "#);
    insta::assert_snapshot!(bad("qrels/train.tsv", format!("{QRELS}query-id\tcorpus-id\tscore\n")), @r#"
    qrels/train.tsv:4: the header line stands here again
    remove it
    "#);
    insta::assert_snapshot!(bad("qrels/train.tsv", format!("{QRELS}q1\td1\t0\n")), @r#"
    qrels/train.tsv:4: `q1` and `d1` are judged 0 here and 1 in line 2
    keep one of the two judgements
    "#);
}

#[test]
fn a_missing_split_and_missing_files() {
    let dir = folder("qrels/test.tsv", QRELS);
    let missing = load(dir.path(), |s| s.split = Some("dev".into()));
    insta::assert_snapshot!(told(dir.path(), missing), @r#"
    FOLDER: there are no qrels for the split `dev`
    the splits here are test, train; choose one with --split test
    "#);
    std::fs::remove_file(dir.path().join("corpus.jsonl")).unwrap();
    let text = told(dir.path(), load(dir.path(), |_| {}));
    assert!(
        text.contains(": holds no corpus.jsonl\na BEIR folder has corpus.jsonl, corpus.jsonl.gz"),
        "{text}"
    );
    let nowhere = load(&dir.path().join("wrk"), |_| {});
    insta::assert_snapshot!(told(dir.path(), nowhere), @r#"
    wrk: there is no such file
    check the path
    "#);
}

#[test]
fn an_unreadable_file_is_told_by_its_name() {
    let dir = folder("corpus.jsonl", CORPUS);
    std::fs::remove_file(dir.path().join("corpus.jsonl")).unwrap();
    // A folder where the file should be: refused for every user, root too.
    std::fs::create_dir(dir.path().join("documents.jsonl")).unwrap();
    let result = load(dir.path(), |s| {
        let folder = s.folder.take().unwrap();
        s.queries = Some(folder.join("queries.jsonl"));
        s.corpus = Some(folder.join("documents.jsonl"));
    });
    insta::assert_snapshot!(told(dir.path(), result), @r#"
    documents.jsonl: is a folder without data files
    data files end in .jsonl, .tsv, .csv (each also .gz, .zst) or .parquet
    "#);
}

#[test]
fn strict_makes_missing_ones_errors() {
    let dir = folder("qrels/train.tsv", format!("{QRELS}q1\td9\t1\nq9\td1\t1\nq1\td2\t-1\n"));
    let set = load(dir.path(), |_| {}).unwrap();
    assert_eq!(set.notices[notice::MISSING_DOCUMENTS], 1);
    assert_eq!(set.notices[notice::MISSING_QUERIES], 1);
    assert_eq!(set.notices[notice::NEGATIVE_GRADES], 1);
    insta::assert_snapshot!(told(dir.path(), load(dir.path(), |s| s.strict = true)), @r#"
    qrels/train.tsv:4: document `d9` is not in corpus.jsonl
    add it, remove the line, or leave out --strict
    "#);
}

#[test]
fn contradicting_keys() {
    let dir = folder("corpus.jsonl", CORPUS);
    let told_of = |f: fn(&mut DataSpec)| told(dir.path(), load(dir.path(), f));
    insta::assert_snapshot!(told_of(|s| s.pairs = Some("p.csv".into())), @r#"
    `folder` and `pairs` contradict each other
    give a folder in BEIR layout, or `corpus` and `queries` (with `qrels`), or `pairs`, or `triples`, or `rows`
    "#);
    insta::assert_snapshot!(told_of(|s| s.folder = None), @r#"
    no data is given
    give a folder in BEIR layout, or `corpus` and `queries` (with `qrels`), or `pairs`, or `triples`, or `rows`
    "#);
    insta::assert_snapshot!(told_of(|s| s.anchor_column = Some("q".into())), @r#"
    `anchor_column` and `folder` contradict each other
    give a folder in BEIR layout, or `corpus` and `queries` (with `qrels`), or `pairs`, or `triples`, or `rows`
    "#);
}

#[test]
fn a_column_that_no_record_has() {
    let dir = folder("corpus.jsonl", "{\"_id\":\"d1\",\"text\":\"one\",\"family\":\"a\"}\n");
    let columns = [ColumnSpec { name: "famly".into(), kind: ColumnKind::Label }];
    let work = dir.path().join("work");
    let options = LoadOptions { columns: &columns, ..LoadOptions::new(&work) };
    let result = Dataset::load(&DataSpec::of_folder(dir.path()), &options);
    insta::assert_snapshot!(told(dir.path(), result), @r#"
    no record has a field `famly`
    did you mean `family`? The fields are `_id`, `family`, `text`; fields inside an object are written `metadata.year`
    "#);
}

#[test]
fn a_time_that_is_none() {
    let dir = folder("corpus.jsonl", "{\"_id\":\"d1\",\"text\":\"one\",\"when\":\"May\"}\n");
    let columns = [ColumnSpec { name: "when".into(), kind: ColumnKind::Time }];
    let work = dir.path().join("work");
    let options = LoadOptions { columns: &columns, ..LoadOptions::new(&work) };
    let result = Dataset::load(&DataSpec::of_folder(dir.path()), &options);
    insta::assert_snapshot!(told(dir.path(), result), @r#"
    corpus.jsonl:1: field `when`: "May" is no time
    a time is a number, a year, or an ISO date such as 2019-05-31 or 2019-05-31T12:00:00Z
    "#);
}

#[test]
fn pairs_with_a_wrong_column() {
    let dir = folder("pairs.csv", "question,answer\na,b\n");
    let named = |anchor: &str| {
        let spec = DataSpec {
            pairs: Some(dir.path().join("pairs.csv")),
            anchor_column: Some(anchor.into()),
            ..DataSpec::default()
        };
        Dataset::load(&spec, &LoadOptions::new(&dir.path().join("work")))
    };
    insta::assert_snapshot!(told(dir.path(), named("quesion")), @r#"
    pairs.csv: field `quesion`: missing
    did you mean `question`? The fields here are `question`, `answer`
    "#);
    assert_eq!(named("question").unwrap().anchors.text(0).unwrap(), "a");
    let one = dir.path().join("one.jsonl");
    std::fs::write(&one, "{\"query\":\"a\",\"id\":3}\n").unwrap();
    let spec = DataSpec { pairs: Some(one), ..DataSpec::default() };
    let result = Dataset::load(&spec, &LoadOptions::new(&dir.path().join("work")));
    insta::assert_snapshot!(told(dir.path(), result), @r#"
    one.jsonl: needs 2 text columns, its columns are `query`, `id`
    name them with --anchor-column and --positive-column, or use another shape of data
    "#);
}

#[test]
fn one_id_with_two_texts_in_training_rows() {
    let row = |text: &str| {
        format!(
            "{{\"query_id\":\"q1\",\"query\":\"a\",\"positives\":[{{\"doc_id\":\"d1\",\"text\":\"{text}\"}}]}}\n"
        )
    };
    let dir = folder("rows.jsonl", row("one") + &row("two"));
    let spec = DataSpec { rows: Some(dir.path().join("rows.jsonl")), ..DataSpec::default() };
    let result = Dataset::load(&spec, &LoadOptions::new(&dir.path().join("work")));
    insta::assert_snapshot!(told(dir.path(), result), @r#"
    rows.jsonl:2: field `positives`: `d1` stands for another text here than before
    one id, one text: rename one of them, or leave the row out with --on-bad-row skip
    "#);
}

#[test]
fn training_rows_of_ids_need_their_texts() {
    let dir = folder("rows.tsv", "q1\td1\td2\n");
    let mut spec = DataSpec { rows: Some(dir.path().join("rows.tsv")), ..DataSpec::default() };
    let work = dir.path().join("work");
    let result = Dataset::load(&spec, &LoadOptions::new(&work));
    insta::assert_snapshot!(told(dir.path(), result), @r#"
    rows.tsv:1: field `query`: query `q1` is given by its id alone
    name the file with the texts: --queries FILE
    "#);
    spec.corpus = Some(dir.path().join("corpus.jsonl"));
    spec.queries = Some(dir.path().join("queries.jsonl"));
    let set = Dataset::load(&spec, &LoadOptions::new(&work)).unwrap();
    let given = set.given.as_ref().unwrap().of(0).0.to_vec();
    assert_eq!((set.positives(0).collect::<Vec<_>>(), given), (vec![0], vec![1]));
}

#[test]
fn skipped_rows_are_counted_and_written_out() {
    let corpus = "{\"_id\":\"d1\",\"text\":\"one\"}\nnonsense\n{\"_id\":\"d1\",\"text\":\"again\"}\n\
                  {\"_id\":\"d3\",\"text\":\"\"}\n{\"_id\":\"d2\",\"text\":\"two\"}\n";
    let dir = folder("corpus.jsonl", corpus);
    let rejects = dir.path().join("rejects.jsonl");
    let work = dir.path().join("work");
    let options = LoadOptions { rejects: Some(&rejects), ..LoadOptions::new(&work) };
    let spec = DataSpec { on_bad_row: OnBadRow::Skip, ..DataSpec::of_folder(dir.path()) };
    let set = Dataset::load(&spec, &options).unwrap();
    assert_eq!((set.items.len(), set.notices[notice::SKIPPED]), (2, 3));
    let lines = std::fs::read_to_string(&rejects).unwrap();
    let rejects: Vec<Reject> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let told: Vec<(u64, Option<&str>, &str)> =
        rejects.iter().map(|r| (r.line, r.field.as_deref(), r.raw.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, None, "nonsense"),
            (3, Some("_id"), "{\"_id\":\"d1\",\"text\":\"again\"}"),
            (4, Some("text"), "{\"_id\":\"d3\",\"text\":\"\"}"),
        ]
    );
}

#[test]
fn skipping_everything_is_an_error() {
    let dir = folder("corpus.jsonl", "nonsense\n");
    let result = load(dir.path(), |s| s.on_bad_row = OnBadRow::Skip);
    insta::assert_snapshot!(told(dir.path(), result), @r#"
    no document is left: 1 rows could not be read, the first: corpus.jsonl:1: broken JSON at column 2: expected ident
    check that these are the right files
    "#);
}

#[test]
fn a_full_disk_is_the_systems_word() {
    // /dev/full refuses every write: the work folder cannot even be made below it.
    let dir = folder("corpus.jsonl", CORPUS);
    let result =
        Dataset::load(&DataSpec::of_folder(dir.path()), &LoadOptions::new(Path::new("/dev/full/work")));
    let error = result.err().unwrap();
    assert!(error.to_string().starts_with("cannot create /dev/full/work: "), "{error}");
}
