//! The same small data in every shape that can hold it loads as the same data set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use hardrock::read::{Column, ColumnKind, ColumnSpec, DataSpec, Dataset, LoadOptions, notice};
use proptest::prelude::*;

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

fn parquet(dir: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let path = write(dir, name, "");
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn load(dir: &Path, spec: &DataSpec) -> Dataset {
    Dataset::load(spec, &LoadOptions::new(&dir.join("work"))).unwrap()
}

/// Anchors with their texts and positives, documents with their titles and texts.
fn shown(set: &Dataset) -> String {
    let mut out = String::new();
    for a in 0..set.anchors.len() as u32 {
        let positives: Vec<&str> = set.positives(a).map(|i| set.items.id(i)).collect();
        out +=
            &format!("{} {:?} -> {}\n", set.anchors.id(a), set.anchors.text(a).unwrap(), positives.join(" "));
    }
    for i in 0..set.items.len() as u32 {
        let (title, text) = set.items.record(i).unwrap();
        out += &format!("{} {title:?} {text:?}\n", set.items.id(i));
    }
    out
}

const JUDGED: &str = "1 \"what is dune\" -> d7 d9\n2 \"who wrote it\" -> d7\nd7 \"Dune\" \"a novel\"\nd8 \"\" \"unrelated\"\nd9 \"Arrakis\" \"a planet\"\n";
const CORPUS: &str = "{\"_id\":\"d7\",\"title\":\"Dune\",\"text\":\"a novel\"}\n{\"_id\":\"d8\",\"title\":\"\",\"text\":\"unrelated\"}\n\
                      {\"_id\":\"d9\",\"title\":\"Arrakis\",\"text\":\"a planet\",\"more\":{\"x\":[1]}}\n";
const QUERIES: &str = "{\"_id\":\"1\",\"text\":\"what is dune\"}\n{\"_id\":\"2\",\"text\":\"who wrote it\"}\n{\"_id\":\"3\",\"text\":\"unjudged\"}\n";
const QRELS: &str = "query-id\tcorpus-id\tscore\n1\td7\t1\n1\td9\t2\n2\td7\t1\n2\td8\t0\n";

#[test]
fn a_beir_folder_in_every_packing() {
    let dir = tempfile::tempdir().unwrap();
    for (number, pack) in ["", ".gz", ".zst"].into_iter().enumerate() {
        let folder = dir.path().join(number.to_string());
        for (name, text) in [("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels/train.tsv", QRELS)]
        {
            let text = format!("\u{FEFF}{}", text.replace('\n', "\r\n"));
            let bytes = match pack {
                ".gz" => {
                    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    std::io::Write::write_all(&mut out, text.as_bytes()).unwrap();
                    out.finish().unwrap()
                }
                ".zst" => zstd::encode_all(text.as_bytes(), 1).unwrap(),
                _ => text.into_bytes(),
            };
            write(&folder, &format!("{name}{pack}"), bytes);
        }
        let set = load(dir.path(), &DataSpec::of_folder(folder));
        assert_eq!(shown(&set), JUDGED);
        assert_eq!(set.notices[notice::BOM], 3);
        assert_eq!(set.notices[notice::CRLF], 11);
        assert_eq!(set.notices[notice::UNJUDGED_QUERIES], 1);
    }
}

#[test]
fn the_level_decides_who_is_a_positive() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels/train.tsv", QRELS)] {
        write(dir.path(), name, text);
    }
    let set = load(dir.path(), &DataSpec { level: 2, ..DataSpec::of_folder(dir.path()) });
    assert_eq!(set.positives(0).map(|i| set.items.id(i)).collect::<Vec<_>>(), ["d9"]);
    assert_eq!(set.notices[notice::NO_POSITIVE], 1);
}

#[test]
fn hub_layout_with_shards_and_number_ids() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    parquet(
        at,
        "corpus/corpus-00000-of-00002.parquet",
        vec![("_id", texts(&["d7"])), ("title", texts(&["Dune"])), ("text", texts(&["a novel"]))],
    );
    parquet(
        at,
        "corpus/corpus-00001-of-00002.parquet",
        vec![
            ("_id", texts(&["d8", "d9"])),
            ("title", texts(&["", "Arrakis"])),
            ("text", texts(&["unrelated", "a planet"])),
        ],
    );
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    parquet(
        at,
        "queries/queries-00000-of-00001.parquet",
        vec![("_id", ids), ("text", texts(&["what is dune", "who wrote it", "unjudged"]))],
    );
    let qrels: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2]));
    let score: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 1]));
    parquet(
        at,
        "qrels/train-00000-of-00001.parquet",
        vec![("query-id", qrels), ("corpus-id", texts(&["d7", "d9", "d7"])), ("score", score)],
    );
    let set = load(at, &DataSpec::of_folder(at));
    assert_eq!(shown(&set), JUDGED);
    assert_eq!(set.notices[notice::NUMBER_IDS], 6);
}

#[test]
fn parquet_that_is_wrong_names_row_and_columns() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(at, "queries.jsonl", QUERIES);
    write(at, "qrels/train.tsv", QRELS);
    let path =
        parquet(at, "corpus.parquet", vec![("_id", texts(&["d7", "d7"])), ("text", texts(&["a", "b"]))]);
    let told = |at: &Path| {
        let error =
            Dataset::load(&DataSpec::of_folder(at), &LoadOptions::new(&at.join("work"))).err().unwrap();
        format!("{error}\n{}", error.help().unwrap_or_default()).replace(&format!("{}/", at.display()), "")
    };
    assert!(told(at).starts_with("corpus.parquet:2: field `_id`: `d7` was already given in line 1\n"));
    std::fs::remove_file(path).unwrap();
    parquet(at, "corpus.parquet", vec![("_id", texts(&["d7"])), ("txt", texts(&["a"]))]);
    assert_eq!(
        told(at),
        "corpus.parquet: field `text`: missing\ndid you mean `txt`? The fields here are `_id`, `txt`"
    );
    let whole = std::fs::read(at.join("corpus.parquet")).unwrap();
    write(at, "corpus.parquet", &whole[..whole.len() / 2]);
    assert!(told(at).starts_with("corpus.parquet: "), "{}", told(at));
}

#[test]
fn ms_marco_tables() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let spec = DataSpec {
        corpus: Some(write(at, "collection.tsv", "7\ta \"quoted\" novel\n8\tunrelated\n9\ta planet\n")),
        queries: Some(write(at, "queries.train.tsv", "1\twhat is dune\n2\twho wrote it\n")),
        qrels: Some(write(at, "qrels.train.tsv", "1\t0\t7\t1\n1\t0\t9\t1\n2\t0\t7\t1\n")),
        ..DataSpec::default()
    };
    let set = load(at, &spec);
    insta::assert_snapshot!(shown(&set), @r#"
    1 "what is dune" -> 7 9
    2 "who wrote it" -> 7
    7 "" "a \"quoted\" novel"
    8 "" "unrelated"
    9 "" "a planet"
    "#);
    assert_eq!(set.notices[notice::NO_HEADER], 3);
    assert_eq!(spec.files().unwrap().len(), 3);
}

#[test]
fn trec_qrels_with_blanks_and_comments() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let spec = DataSpec {
        corpus: Some(write(at, "c.jsonl", CORPUS)),
        queries: Some(write(at, "q.jsonl", QUERIES)),
        qrels: Some(write(at, "qrels.txt", "# topic\n1 0 d7 1\n1   Q0\u{20}d9  2\n2 0 d7 1\n2 0 d8 -1\n")),
        ..DataSpec::default()
    };
    let set = load(at, &spec);
    assert_eq!(shown(&set), JUDGED);
    assert_eq!(set.notices[notice::NEGATIVE_GRADES], 1);
}

#[test]
fn queries_without_qrels_are_anchors_without_positives() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let spec = DataSpec {
        corpus: Some(write(at, "c.jsonl", CORPUS)),
        queries: Some(write(at, "q.jsonl", QUERIES)),
        ..DataSpec::default()
    };
    let set = load(at, &spec);
    assert_eq!((set.anchors.len(), set.notices[notice::NO_POSITIVE]), (3, 3));
}

#[test]
fn pairs_merge_equal_texts() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let rows = [
        ("what is dune", "a novel"),
        ("what is dune", "a planet"),
        ("who, then?", "a novel"),
        ("who, then?", "a novel"),
    ];
    let jsonl: String =
        rows.iter().map(|(a, b)| format!("{{\"label\":1,\"q\":\"{a}\",\"p\":\"{b}\"}}\n")).collect();
    let csv: String = rows.iter().map(|(a, b)| format!("\"{a}\",\"{b}\"\n")).collect();
    let tsv: String = rows.iter().map(|(a, b)| format!("{a}\t{b}\n")).collect();
    let (a, b): (Vec<&str>, Vec<&str>) = rows.iter().copied().unzip();
    let files = [
        write(at, "a.jsonl", jsonl),
        write(at, "a.csv", &csv),
        write(at, "b.csv", format!("question,answer\n{csv}")),
        write(at, "a.tsv", tsv),
        parquet(at, "a.parquet", vec![("one", texts(&a)), ("two", texts(&b))]),
    ];
    for file in files {
        let set = load(at, &DataSpec { pairs: Some(file.clone()), ..DataSpec::default() });
        let expected = "q1 \"what is dune\" -> d1 d2\nq2 \"who, then?\" -> d1\nd1 \"\" \"a novel\"\nd2 \"\" \"a planet\"\n";
        assert_eq!(shown(&set), expected, "{}", file.display());
    }
}

#[test]
fn pairs_find_their_documents_in_a_given_corpus() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut spec = DataSpec {
        corpus: Some(write(at, "c.jsonl", CORPUS)),
        pairs: Some(write(
            at,
            "p.jsonl",
            "{\"anchor\":\"a\",\"positive\":\"Dune a novel\"}\n{\"anchor\":\"a\",\"positive\":\"new\"}\n",
        )),
        ..DataSpec::default()
    };
    let set = load(at, &spec);
    assert_eq!(set.positives(0).map(|i| set.items.id(i).to_owned()).collect::<Vec<_>>(), ["d7", "d4"]);
    assert_eq!(set.notices[notice::ADDED], 1);
    spec.strict = true;
    let error = Dataset::load(&spec, &LoadOptions::new(&at.join("work"))).err().unwrap();
    assert!(
        error.to_string().ends_with("p.jsonl:2: field `positive`: document `new` is not in the corpus"),
        "{error}"
    );
}

#[test]
fn triples_hold_their_negatives() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let file = write(at, "triples.train.small.tsv", "a\tp\tn1\na\tp\tn2\nb\tn1\tp\n");
    let set = load(at, &DataSpec { triples: Some(file), ..DataSpec::default() });
    let given = set.given.as_ref().unwrap();
    let names = |a: u32| given.of(a).0.iter().map(|&i| set.items.text(i).unwrap()).collect::<Vec<_>>();
    assert_eq!((names(0), names(1)), (vec!["n1".to_owned(), "n2".into()], vec!["p".to_owned()]));
    assert!(given.of(0).1[0].is_nan());
    assert_eq!(set.judgements.len(), 2);
}

#[test]
fn training_rows_load_with_ids_scores_and_negatives() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let flag = write(
        at,
        "f.jsonl",
        "{\"query\":\"a\",\"pos\":[\"p\"],\"neg\":[\"n1\",\"n2\"],\"pos_scores\":[1.0],\"neg_scores\":[0.5,0.25]}\n",
    );
    let set = load(at, &DataSpec { rows: Some(flag), ..DataSpec::default() });
    assert_eq!(shown(&set), "q1 \"a\" -> d1\nd1 \"\" \"p\"\nd2 \"\" \"n1\"\nd3 \"\" \"n2\"\n");
    assert_eq!(set.given.as_ref().unwrap().of(0), (&[1, 2][..], &[0.5, 0.25][..]));
    let tevatron = write(
        at,
        "t.jsonl",
        "{\"query_id\":\"x\",\"query\":\"a\",\"positive_passages\":[{\"docid\":\"p1\",\"title\":\"T\",\"text\":\"p\"}],\"negative_passages\":[{\"docid\":\"n1\",\"title\":\"\",\"text\":\"n\"}]}\n",
    );
    let set = load(at, &DataSpec { rows: Some(tevatron), ..DataSpec::default() });
    assert_eq!(shown(&set), "x \"a\" -> p1\np1 \"T\" \"p\"\nn1 \"\" \"n\"\n");
    let v2 = write(
        at,
        "v.jsonl",
        "{\"query_id\":\"x\",\"query_text\":\"a\",\"positive_document_ids\":[\"d7\"],\"negative_document_ids\":[\"d8\",\"gone\"]}\n",
    );
    write(at, "v.corpus.jsonl", "{\"docid\":\"d7\",\"text\":\"p\"}\n{\"docid\":\"d8\",\"text\":\"n\"}\n");
    let set = load(at, &DataSpec { rows: Some(v2), ..DataSpec::default() });
    assert_eq!(shown(&set), "x \"a\" -> d7\nd7 \"\" \"p\"\nd8 \"\" \"n\"\n");
    assert_eq!(set.notices[notice::MISSING_DOCUMENTS], 1);
}

#[test]
fn columns_come_from_fields_and_objects_of_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let year: ArrayRef = Arc::new(Int32Array::from(vec![Some(1965), None]));
    let fields = arrow_schema::Fields::from(vec![arrow_schema::Field::new(
        "year",
        arrow_schema::DataType::Int32,
        true,
    )]);
    let meta: ArrayRef = Arc::new(StructArray::new(fields, vec![year], None));
    let spec = DataSpec {
        corpus: Some(parquet(
            at,
            "c.parquet",
            vec![
                ("_id", texts(&["a", "b"])),
                ("text", texts(&["x", "y"])),
                ("lang", texts(&["en", "de"])),
                ("metadata", meta),
            ],
        )),
        queries: Some(write(
            at,
            "q.jsonl",
            "{\"_id\":\"1\",\"text\":\"t\",\"lang\":\"de\",\"metadata\":{\"year\":\"1965-07-02\"}}\n",
        )),
        ..DataSpec::default()
    };
    let columns = [
        ColumnSpec { name: "lang".into(), kind: ColumnKind::Label },
        ColumnSpec { name: "metadata.year".into(), kind: ColumnKind::Time },
    ];
    let work = at.join("work");
    let set = Dataset::load(&spec, &LoadOptions { columns: &columns, ..LoadOptions::new(&work) }).unwrap();
    let check = |set: &Dataset| {
        let (Some(Column::Label { values, .. }), Some(Column::Label { values: anchor, names })) =
            (set.items.column("lang"), set.anchors.column("lang"))
        else {
            panic!("no labels")
        };
        assert_eq!((names[values[0] as usize].as_str(), values[1]), ("en", anchor[0]));
        assert_eq!(set.items.column("metadata.year"), Some(&Column::Number(vec![Some(1965.0), None])));
        let Some(Column::Number(when)) = set.anchors.column("metadata.year") else { panic!("no times") };
        assert!((when[0].unwrap() - 1965.4986).abs() < 1e-3);
    };
    check(&set);
    set.save(&work).unwrap();
    check(&Dataset::open(&work).unwrap());
}

#[test]
fn a_damaged_save_is_refused_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let work = at.join("work");
    let set = load(at, &DataSpec { pairs: Some(write(at, "p.tsv", "a\tb\nc\td\n")), ..DataSpec::default() });
    set.save(&work).unwrap();
    for name in ["dataset.bin", "items.text", "anchors.text"] {
        let whole = std::fs::read(work.join(name)).unwrap();
        for i in 0..whole.len() {
            let mut broken = whole.clone();
            broken[i] ^= 0x11;
            std::fs::write(work.join(name), &broken).unwrap();
            assert!(Dataset::open(&work).is_err(), "{name}, byte {i}");
        }
        std::fs::write(work.join(name), &whole[..whole.len() - 1]).unwrap();
        assert!(Dataset::open(&work).is_err());
        std::fs::write(work.join(name), &whole).unwrap();
    }
    assert_eq!(shown(&Dataset::open(&work).unwrap()), shown(&set));
}

#[test]
fn an_interrupted_load_leaves_nothing_that_looks_finished() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let work = at.join("work");
    let small = DataSpec { pairs: Some(write(at, "p.tsv", "a\tb\n")), ..DataSpec::default() };
    load(at, &small).save(&work).unwrap();
    assert!(Dataset::is_saved(&work));
    let many: String = (0..5000).map(|i| format!("a{i}\tb{i}\n")).collect();
    let large = DataSpec { pairs: Some(write(at, "l.tsv", many)), ..DataSpec::default() };
    let stop = |records: u64| if records > 4000 { Err(hardrock::Error::Interrupted) } else { Ok(()) };
    let options = LoadOptions { watch: Some(&stop), ..LoadOptions::new(&work) };
    let error = Dataset::load(&large, &options).err().unwrap();
    assert!(matches!(error, hardrock::Error::Interrupted), "{error}");
    assert!(!Dataset::is_saved(&work));
    assert!(!work.join("items.text.part").exists());
}

#[test]
fn an_id_that_two_shards_give_names_both_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(at, "corpus/a.jsonl", CORPUS);
    write(at, "corpus/b.jsonl", "{\"_id\":\"d9\",\"text\":\"again\"}\n");
    let spec = DataSpec {
        corpus: Some(at.join("corpus")),
        queries: Some(write(at, "q.jsonl", QUERIES)),
        ..DataSpec::default()
    };
    let error = Dataset::load(&spec, &LoadOptions::new(&at.join("work"))).err().unwrap();
    let text = error.to_string().replace(&format!("{}/", at.display()), "");
    assert_eq!(text, "corpus/b.jsonl:1: field `_id`: `d9` was already given in corpus/a.jsonl:3");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_any_part_never_panic(
        noise in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..120),
            "[\\[\\]{}\",:_idtexscor0-9\\-\\t\\n \\\\]{0,120}".prop_map(String::into_bytes),
        ],
        part in 0usize..8,
        skip: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        for (name, text) in [("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels/train.tsv", QRELS)] {
            write(at, name, text);
        }
        let mut spec = DataSpec::of_folder(at);
        if skip {
            spec.on_bad_row = hardrock::read::OnBadRow::Skip;
        }
        let alone = |name: &str| Some(write(at, name, &noise));
        match part {
            0 => drop(alone("corpus.jsonl")),
            1 => drop(alone("queries.jsonl")),
            2 => drop(alone("qrels/train.tsv")),
            3 => spec = DataSpec { pairs: alone("p.csv"), ..DataSpec { folder: None, ..spec } },
            4 => spec = DataSpec { pairs: alone("p.tsv"), ..DataSpec { folder: None, ..spec } },
            5 => spec = DataSpec { triples: alone("p.jsonl"), ..DataSpec { folder: None, ..spec } },
            6 => spec = DataSpec { rows: alone("r.jsonl"), ..DataSpec { folder: None, ..spec } },
            _ => {
                let bytes = [&b"PAR1"[..], &noise, b"PAR1"].concat();
                spec = DataSpec { pairs: Some(write(at, "p.parquet", bytes)), ..DataSpec { folder: None, ..spec } };
            }
        }
        let _ = Dataset::load(&spec, &LoadOptions::new(&at.join("work")));
    }

    #[test]
    fn what_was_written_is_what_is_read(
        docs in proptest::collection::btree_map("[a-z]{1,6}", ("\\PC{0,12}", "[a-z]\\PC{0,30}"), 1..12),
        skip in 0usize..3,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let lines: String = docs
            .iter()
            .map(|(id, (title, text))| format!("{}\n", serde_json::json!({"text": text, "_id": id, "title": title, "x": skip})))
            .collect();
        let spec = DataSpec {
            corpus: Some(write(at, "c.jsonl", lines)),
            queries: Some(write(at, "q.jsonl", QUERIES)),
            ..DataSpec::default()
        };
        let set = load(at, &spec);
        for (i, (id, (title, text))) in docs.iter().enumerate() {
            prop_assert_eq!(set.items.id(i as u32), id);
            prop_assert_eq!(set.items.record(i as u32).unwrap(), (title.clone(), text.clone()));
            prop_assert_eq!(set.items.text_hash(i as u32), hardrock::read::text_hash(&set.items.text(i as u32).unwrap()));
        }
    }
}
