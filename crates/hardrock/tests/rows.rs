//! Training-file formats through the public API: what is written, what comes back, and what is refused with which words.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use hardrock::rows::{
    Doc, FORMATS, Holds, ReadOptions, RowFormat, Short, TrainingRow, WriteOptions, Written, corpus_path,
    guess, read, writer,
};
use hardrock::{Error, Result};
use proptest::prelude::*;

fn doc(id: &str, text: &str, score: f32) -> Doc {
    Doc { id: Some(id.into()), text: Some(text.into()), score: Some(score), ..Doc::default() }
}

/// Two positives, three negatives.
fn dune() -> TrainingRow {
    let mut mined = doc("d9", "A dune is a hill of sand", 6.5);
    mined.rank = Some(3);
    mined.source = Some("bm25+vectors".into());
    let mut titled = doc("d5", "was filmed\tin 1984", 8.25);
    titled.title = "Dune".into();
    TrainingRow {
        query_id: Some("q1".into()),
        query: Some("who wrote Dune".into()),
        positives: vec![doc("d7", "Frank Herbert wrote it", 9.5), doc("d8", "a novel, 1965", -1.0)],
        negatives: vec![titled, mined, doc("d2", "He said \"sand\"", -2.5)],
    }
}

/// One positive, one negative.
fn short() -> TrainingRow {
    TrainingRow {
        query_id: Some("q2".into()),
        query: Some("tallest dune".into()),
        positives: vec![doc("d11", "Duna Federico Kirbus", 3.0)],
        negatives: vec![doc("d9", "A dune is a hill of sand", 2.0)],
    }
}

fn write(path: &Path, format: RowFormat, options: &WriteOptions, rows: &[TrainingRow]) -> Result<Written> {
    let mut out = writer(path, format, options)?;
    for row in rows {
        out.write(row)?;
    }
    out.finish()
}

fn text_of(format: RowFormat, name: &str, options: &WriteOptions, rows: &[TrainingRow]) -> (String, Written) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let written = write(&path, format, options, rows).unwrap();
    (std::fs::read_to_string(&path).unwrap(), written)
}

fn rows_of(path: &Path, format: RowFormat) -> Vec<TrainingRow> {
    read(path, format, &ReadOptions::default()).unwrap().map(|r| r.unwrap().1).collect()
}

fn back(format: RowFormat, name: &str, options: &WriteOptions, rows: &[TrainingRow]) -> Vec<TrainingRow> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path, format, options, rows).unwrap();
    rows_of(&path, format)
}

/// The first error of a file with these contents, as text and help.
fn refused(format: RowFormat, name: &str, contents: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, contents).unwrap();
    let error = match read(&path, format, &ReadOptions::default()) {
        Err(error) => error,
        Ok(rows) => rows.filter_map(Result::err).next().expect("an error"),
    };
    assert_eq!(error.exit_code(), 2);
    (
        error.to_string().replace(&format!("{}/", folder.path().display()), ""),
        error.help().unwrap_or_default(),
    )
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn options() -> WriteOptions {
    WriteOptions { negatives: 2, ..WriteOptions::default() }
}

fn scored() -> WriteOptions {
    WriteOptions { scores: true, ..options() }
}

/// What a format of texts can bring back: the joined text, the score where it was written.
fn texts_only(row: &TrainingRow, scores: bool) -> TrainingRow {
    let strip = |docs: &[Doc]| {
        let strip =
            |d: &Doc| Doc { text: Some(d.full_text()), score: d.score.filter(|_| scores), ..Doc::default() };
        docs.iter().map(strip).collect()
    };
    TrainingRow {
        query_id: None,
        query: row.query.clone(),
        positives: strip(&row.positives),
        negatives: strip(&row.negatives),
    }
}

#[test]
fn every_format_writes_two_rows_like_this() {
    let rows = [dune(), short()];
    let mut all = String::new();
    for facts in FORMATS.iter().filter(|f| f.format != RowFormat::Parquet) {
        let name = if facts.encodings[0].ending() == ".jsonl" { "a.jsonl" } else { "a.tsv" };
        // This format takes ids as numbers or as texts; the others keep them as they are.
        let (text, written) = text_of(facts.format, name, &options(), &rows);
        all += &format!("--- {} ({} of {} rows)\n{text}", facts.name, written.records, written.rows);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn scores_take_the_place_that_each_format_has() {
    let rows = [dune(), short()];
    let mut all = String::new();
    for format in [
        RowFormat::StTriplet,
        RowFormat::StNTuple,
        RowFormat::StLabeledPair,
        RowFormat::StLabeledList,
        RowFormat::FlagEmbedding,
    ] {
        all += &format!("--- {format}\n{}", text_of(format, "a.jsonl", &scored(), &rows).0);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn csv_quotes_what_must_be_quoted() {
    let mut row = short();
    row.query = Some("a, \"b\"\nand c".into());
    let (text, _) = text_of(RowFormat::StTriplet, "a.csv", &options(), &[row]);
    assert_eq!(
        text,
        "anchor,positive,negative\n\"a, \"\"b\"\"\nand c\",Duna Federico Kirbus,A dune is a hill of sand\n"
    );
}

#[test]
fn native_brings_everything_back_from_json_and_parquet() {
    let rows = vec![dune(), short(), TrainingRow { query_id: Some("q3".into()), ..TrainingRow::default() }];
    for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
        assert_eq!(back(RowFormat::Native, name, &options(), &rows), rows, "{name}");
    }
    assert_eq!(back(RowFormat::Parquet, "a.parquet", &options(), &rows), rows);
}

#[test]
fn triplets_with_several_positives_come_back_one_row_per_positive() {
    let row = texts_only(&dune(), true);
    let one = |p: usize| TrainingRow { positives: vec![row.positives[p].clone()], ..row.clone() };
    for name in ["a.jsonl", "a.parquet"] {
        assert_eq!(back(RowFormat::StTriplet, name, &scored(), &[dune()]), [one(0), one(1)], "{name}");
    }
}

#[test]
fn labeled_pairs_come_back_as_one_row() {
    for name in ["a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.csv.gz"] {
        let rows = [dune(), short()];
        let expected = rows.clone().map(|r| texts_only(&r, false));
        assert_eq!(back(RowFormat::StLabeledPair, name, &options(), &rows), expected, "{name}");
    }
}

#[test]
fn tevatron_keeps_ids_and_titles() {
    let strip = |d: &Doc| Doc { score: None, rank: None, source: None, ..d.clone() };
    let rows = [dune(), short()];
    let expected = rows.clone().map(|r| TrainingRow {
        positives: r.positives.iter().map(strip).collect(),
        negatives: r.negatives.iter().map(strip).collect(),
        ..r
    });
    assert_eq!(back(RowFormat::Tevatron, "a.jsonl", &options(), &rows), expected);
    let joined = expected.map(|mut r| {
        for d in r.positives.iter_mut().chain(&mut r.negatives) {
            (d.text, d.title) = (Some(d.full_text()), String::new());
        }
        r
    });
    assert_eq!(back(RowFormat::TevatronV2, "a.jsonl.gz", &options(), &rows), joined);
}

#[test]
fn tevatron_makes_ids_of_texts_where_there_are_none() {
    let rows = [texts_only(&dune(), false), texts_only(&short(), false)];
    let read = back(RowFormat::Tevatron, "a.jsonl", &options(), &rows);
    let ids: Vec<_> = read.iter().flat_map(|r| &r.negatives).map(|d| d.id.clone().unwrap()).collect();
    assert_eq!(ids[1], ids[3], "the same text in both rows");
    assert!(ids.iter().all(|id| id.len() == 16));
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn tevatron_v2_refuses_one_id_for_two_texts() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = short();
    other.negatives[0].text = Some("another text under d9".into());
    let path = folder.path().join("a.jsonl");
    let error = write(&path, RowFormat::TevatronV2, &options(), &[dune(), other]).unwrap_err();
    assert!(error.to_string().contains("document `d9` has two different texts"), "{error}");
    assert!(names(folder.path()).is_empty(), "neither file is left");
}

#[test]
fn a_run_is_ordered_as_trec_eval_orders_it() {
    let mut row = short();
    row.negatives = vec![doc("a", "", 1.0), doc("c", "", 2.0), doc("b", "", 1.0)];
    let (text, written) = text_of(RowFormat::TrecRun, "a.run", &options(), std::slice::from_ref(&row));
    assert_eq!(text, "q2 Q0 c 1 2 hardrock\nq2 Q0 b 2 1 hardrock\nq2 Q0 a 3 1 hardrock\n");
    assert_eq!(written.records, 3);
    // Without a score for each, the row's order is kept.
    row.negatives[1].score = None;
    let (text, _) = text_of(RowFormat::TrecRun, "a.run", &options(), &[row]);
    assert_eq!(text, "q2 Q0 a 1 3 hardrock\nq2 Q0 c 2 2 hardrock\nq2 Q0 b 3 1 hardrock\n");
}

#[test]
fn a_run_read_back_is_ranked_by_score_whatever_its_rank_column_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.run");
    std::fs::write(&path, "1 Q0 d1 1 0.5 x\r\n1\tQ0  d2 2 7 x extra\n\n2 Q0 d1 9 1 x\n").unwrap();
    let rows = rows_of(&path, RowFormat::TrecRun);
    assert_eq!(rows.len(), 2);
    let got: Vec<_> = rows[0].negatives.iter().map(|d| (d.id.clone().unwrap(), d.rank, d.score)).collect();
    assert_eq!(got, [("d2".into(), Some(0), Some(7.0)), ("d1".into(), Some(1), Some(0.5))]);
}

#[test]
fn short_rows_of_n_tuples_are_dropped_repeated_or_left_open_but_never_filled_with_a_positive() {
    let at = |short| WriteOptions { short, negatives: 3, ..WriteOptions::default() };
    let rows = [dune(), short()];
    let (text, written) = text_of(RowFormat::StNTuple, "a.jsonl", &at(Short::Drop), &rows);
    assert_eq!((text.lines().count(), written.short_rows, written.records), (2, 1, 2));
    let (text, _) = text_of(RowFormat::StNTuple, "a.jsonl", &at(Short::Repeat), &rows);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    for column in ["negative_1", "negative_2", "negative_3"] {
        assert_eq!(last[column], "A dune is a hill of sand");
    }
    let (text, _) = text_of(RowFormat::StNTuple, "a.jsonl", &at(Short::Fewer), &rows);
    assert!(text.ends_with("\"negative_2\":null,\"negative_3\":null}\n"), "{text}");
    let read = back(RowFormat::StNTuple, "a.csv", &at(Short::Fewer), &rows);
    assert_eq!(read.last().unwrap(), &texts_only(&short(), false));
}

#[test]
fn an_n_tuple_of_no_negatives_is_refused() {
    let none = WriteOptions { negatives: 0, ..WriteOptions::default() };
    let error = writer(Path::new("a.jsonl"), RowFormat::StNTuple, &none).err().unwrap();
    assert!(error.help().unwrap().contains("--num-negatives"));
}

#[test]
fn rows_that_a_shape_cannot_hold_are_counted() {
    let rows = [
        TrainingRow { negatives: Vec::new(), ..dune() },
        TrainingRow { positives: Vec::new(), ..dune() },
        short(),
    ];
    for (format, positives, negatives, records) in [
        (RowFormat::StTriplet, 1, 1, 1),
        (RowFormat::StLabeledPair, 0, 0, 7),
        (RowFormat::StLabeledList, 1, 0, 3),
        (RowFormat::FlagEmbedding, 1, 0, 2),
        (RowFormat::MsmarcoIds, 1, 1, 1),
        (RowFormat::TrecRun, 0, 1, 4),
    ] {
        let (_, w) = text_of(format, "a", &options(), &rows);
        assert_eq!(
            (w.without_positives, w.without_negatives, w.records),
            (positives, negatives, records),
            "{format}"
        );
        assert_eq!(w.rows, 3);
    }
}

#[test]
fn msmarco_hard_negatives_keep_systems_and_number_ids() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let line = r#"{"qid":571018,"pos":[7349777],"neg":{"ance":[2,3],"bm25":[2,1]}}"#;
    std::fs::write(&path, format!("{line}\n")).unwrap();
    let rows = rows_of(&path, RowFormat::MsmarcoHardNegatives);
    let sources: Vec<_> = rows[0].negatives.iter().map(|d| d.source.clone().unwrap()).collect();
    assert_eq!(sources, ["ance+bm25", "ance", "bm25"]);
    let (text, _) = text_of(RowFormat::MsmarcoHardNegatives, "b.jsonl", &options(), &rows);
    assert_eq!(text.trim_end(), line);
}

#[test]
fn an_error_midway_leaves_nothing() {
    for facts in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let path = if facts.format == RowFormat::Parquet { path.with_extension("parquet") } else { path };
        let mut bad = short();
        match facts.format {
            RowFormat::Native | RowFormat::Parquet => bad.negatives[0].score = Some(f32::NAN),
            _ if facts.holds == Holds::Ids => bad.negatives[0].id = None,
            _ => bad.negatives[0].text = None,
        }
        let mut out = writer(&path, facts.format, &options()).unwrap();
        for _ in 0..100 {
            out.write(&dune()).unwrap();
        }
        assert!(!names(folder.path()).is_empty(), "the temporary file");
        assert!(out.write(&TrainingRow { negatives: vec![bad.negatives[0].clone(); 2], ..bad }).is_err());
        drop(out);
        assert!(names(folder.path()).is_empty(), "{}", facts.name);
    }
}

#[test]
fn outputs_appear_only_at_the_end_and_never_over_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.jsonl");
    let mut out = writer(&path, RowFormat::TevatronV2, &options()).unwrap();
    out.write(&dune()).unwrap();
    assert!(!path.exists());
    assert_eq!(out.finish().unwrap().files, [path.clone(), folder.path().join("train.corpus.jsonl")]);
    assert_eq!(names(folder.path()), ["train.corpus.jsonl", "train.jsonl"]);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(writer(&path, RowFormat::Native, &options()), Err(Error::Exists { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(
        matches!(writer(&path, RowFormat::TevatronV2, &options()), Err(Error::Exists { .. })),
        "the corpus is there"
    );
    let forced = WriteOptions { force: true, ..options() };
    write(&path, RowFormat::TevatronV2, &forced, &[dune()]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let rows: Vec<TrainingRow> = (0..3000)
        .map(|i| TrainingRow { query_id: Some(format!("q{i}")), ..if i % 3 == 0 { short() } else { dune() } })
        .collect();
    for (format, name) in [
        (RowFormat::Parquet, "a.parquet"),
        (RowFormat::StTriplet, "a.parquet"),
        (RowFormat::StLabeledList, "a.parquet"),
        (RowFormat::Native, "a.jsonl.gz"),
        (RowFormat::Native, "a.jsonl.zst"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let bytes = |name: &str| {
            let path = folder.path().join(name);
            write(&path, format, &options(), &rows).unwrap();
            std::fs::read(path).unwrap()
        };
        assert!(bytes(name) == bytes(&format!("again.{name}")), "{format} {name}");
        // More rows than one batch of the Parquet writer holds, in the order given.
        if format == RowFormat::Parquet {
            assert!(rows_of(&folder.path().join(name), format) == rows);
        }
    }
}

#[test]
fn formats_are_guessed_from_contents() {
    for facts in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        for ending in ["jsonl", "csv", "parquet", "x.gz"] {
            let path = folder.path().join(format!("file.{ending}"));
            if facts.format.encoding(&path).is_err() {
                continue;
            }
            let mut row = dune();
            row.negatives[0].text = Some("was filmed in 1984".into());
            write(&path, facts.format, &options(), &[row]).unwrap();
            assert_eq!(guess(&path).unwrap(), facts.format, "{} as .{ending}", facts.name);
        }
    }
}

#[test]
fn a_file_of_no_known_format_shows_its_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, "{\"query\":\"q\",\"postives\":[]}\n").unwrap();
    let error = guess(&path).unwrap_err();
    assert!(error.to_string().ends_with("the fields are `query`, `postives`"), "{error}");
    assert!(error.help().unwrap().contains("is `postives` meant as `positives` of native?"));
}

#[test]
fn bad_records_name_line_field_problem_and_mend() {
    let good = "{\"query\":\"q\",\"pos\":[\"p\"],\"neg\":[]}\n";
    let flag = |line: &str| refused(RowFormat::FlagEmbedding, "a.jsonl", &format!("{good}\n{line}\n"));
    let all = [
        flag(r#"{"query":"q","pos":"a string","neg":[]}"#),
        flag(r#"{"query":"q","positive":["p"],"neg":[]}"#),
        flag(r#"{"query":["q"],"pos":["p"]}"#),
        flag(r#"{"query":7,"pos":["p"]}"#),
        flag(r#"{"query":"q","pos":["p",3]}"#),
        flag(r#"{"query":"q","pos":["p"],"neg":["n"],"neg_scores":[1,2]}"#),
        flag(r#"{"query":"q","pos":["p"],"pos_scores":[1e99]}"#),
        flag(r#"{"query":"q","pos":["p"],"pos_scores":[NaN]}"#),
        flag(r#"{"query":"q","pos":["p"],"pos":["r"]}"#),
        flag(r#"{"query":"q","pos":["p"]"#),
        refused(RowFormat::FlagEmbedding, "a.jsonl", "[\n"),
        refused(RowFormat::StTriplet, "a.csv", "question,anser,negative\na,b,c\n"),
        refused(RowFormat::StTriplet, "a.csv", "question,answer,negativ\na,b,c\n"),
        refused(RowFormat::StTriplet, "a.csv", "question,answer,negative\na,b\n"),
        refused(RowFormat::StTriplet, "a.tsv", "query\tquery\tnegative\na\tb\tc\n"),
        refused(RowFormat::StLabeledPair, "a.jsonl", r#"{"query":"q","answer":"a","score":0.5}"#),
        refused(RowFormat::StLabeledPair, "a.jsonl", r#"{"query":"q","answer":"a","label":2}"#),
        refused(RowFormat::Tevatron, "a.jsonl", r#"{"query_id":"1","query":"q","positive_passages":["p"]}"#),
        refused(RowFormat::Native, "a.jsonl", r#"{"query_id":"1","query":"q","negative":[]}"#),
        refused(RowFormat::MsmarcoTriples, "a.tsv", "q\tp\n"),
        refused(RowFormat::TrecRun, "a.run", "q Q0 d 1 nan x\n"),
    ];
    let lines: Vec<String> = all.iter().map(|(error, help)| format!("{error}\n    {help}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_given_column_that_is_not_there_gets_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "\u{FEFF}titel,body,negative\r\na,b,c\r\n").unwrap();
    let named = |anchor: &str| ReadOptions {
        anchor: Some(anchor.into()),
        positive: Some("body".into()),
        ..ReadOptions::default()
    };
    let error = read(&path, RowFormat::StTriplet, &named("title")).unwrap().next().unwrap().unwrap_err();
    assert_eq!(error.help().unwrap(), "did you mean `titel`? rename it to `title`");
    let (line, row) = read(&path, RowFormat::StTriplet, &named("titel")).unwrap().next().unwrap().unwrap();
    assert_eq!((line, row.query.as_deref()), (2, Some("a")));
}

#[test]
fn tevatron_v2_reads_document_text_and_names_missing_documents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    let corpus: PathBuf = corpus_path(&path);
    std::fs::write(&corpus, "{\"docid\":1,\"document_text\":\"one\"}\n").unwrap();
    let line = |id: u8| {
        format!(
            r#"{{"query_id":"1","query_text":"q","positive_document_ids":["{id}"],"negative_document_ids":[]}}"#
        )
    };
    std::fs::write(&path, format!("{}\n{}\n", line(1), line(2))).unwrap();
    let mut rows = read(&path, RowFormat::TevatronV2, &ReadOptions::default()).unwrap();
    assert_eq!(rows.next().unwrap().unwrap().1.positives[0].text.as_deref(), Some("one"));
    let error = rows.next().unwrap().unwrap_err().to_string();
    assert!(
        error.ends_with("t.jsonl:2: field `positive_document_ids`: document `2` is not in the corpus"),
        "{error}"
    );
}

fn any_text() -> impl Strategy<Value = String> {
    // Quotes, separators, line breaks and other scripts; no NUL, which text files refuse.
    "[a-zA-Z0-9 ,\"'\\\\\t\n\r\u{e4}\u{4f60}\u{1f600}]{1,12}".prop_filter("visible", |t| !t.trim().is_empty())
}

fn any_doc() -> impl Strategy<Value = Doc> {
    let score = proptest::option::of(-1e30f32..1e30);
    let source = proptest::option::of("[a-z]{1,4}(\\+[a-z]{1,4})?");
    (proptest::option::of("[a-z0-9:/-]{1,6}"), "[a-z ]{0,4}", any_text(), score, any::<Option<u32>>(), source)
        .prop_map(|(id, title, text, score, rank, source)| Doc {
            id,
            title,
            text: Some(text),
            score,
            rank,
            source,
            weight: None,
        })
}

prop_compose! {
    fn any_row()(
        query_id in proptest::option::of("[a-z0-9]{1,6}"),
        query in any_text(),
        positives in proptest::collection::vec(any_doc(), 0..4),
        negatives in proptest::collection::vec(any_doc(), 0..5),
    ) -> TrainingRow {
        TrainingRow { query_id, query: Some(query), positives, negatives }
    }
}

fn any_rows() -> impl Strategy<Value = Vec<TrainingRow>> {
    proptest::collection::vec(any_row(), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn native_files_lose_nothing(rows in any_rows(), name in 0usize..4) {
        let (format, name) = [
            (RowFormat::Native, "a.jsonl"),
            (RowFormat::Native, "a.jsonl.gz"),
            (RowFormat::Native, "a.jsonl.zst"),
            (RowFormat::Parquet, "a.parquet"),
        ][name];
        prop_assert_eq!(back(format, name, &options(), &rows), rows);
    }

    #[test]
    fn flagembedding_keeps_every_text_and_score(mut rows in any_rows()) {
        rows.retain(|r| !r.positives.is_empty());
        prop_assume!(!rows.is_empty());
        for doc in rows.iter_mut().flat_map(|r| r.positives.iter_mut().chain(&mut r.negatives)) {
            doc.score.get_or_insert(0.5);
        }
        let expected: Vec<_> = rows.iter().map(|r| texts_only(r, true)).collect();
        prop_assert_eq!(back(RowFormat::FlagEmbedding, "a.jsonl", &scored(), &rows), expected);
    }

    #[test]
    fn triplets_are_the_product_of_both_sides(rows in any_rows(), name in 0usize..4) {
        let name = ["a.jsonl", "a.csv", "a.tsv", "a.parquet"][name];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let written = write(&path, RowFormat::StTriplet, &options(), &rows).unwrap();
        let expected: usize = rows.iter().map(|r| r.positives.len() * r.negatives.len()).sum();
        prop_assert_eq!(written.records, expected as u64);
        // A file without a line is refused by the reader.
        prop_assume!(expected > 0);
        let flat = |rows: &[TrainingRow]| -> Vec<[String; 3]> {
            let product = |r: &TrainingRow| {
                let r = r.clone();
                let pairs = r.positives.clone().into_iter().flat_map(move |p| r.negatives.clone().into_iter().map(move |n| (p.clone(), n)));
                pairs.collect::<Vec<_>>()
            };
            rows.iter().flat_map(|r| product(r).into_iter().map(|(p, n)| [r.query.clone().unwrap(), p.full_text(), n.full_text()])).collect()
        };
        prop_assert_eq!(flat(&rows_of(&path, RowFormat::StTriplet)), flat(&rows));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120), format in 0..FORMATS.len()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, &bytes).unwrap();
        let _ = guess(&path);
        if let Ok(rows) = read(&path, FORMATS[format].format, &ReadOptions::default()) {
            rows.take(200).for_each(drop);
        }
    }
}
