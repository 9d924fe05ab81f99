//! Verdicts as text files: JSON lines, qrels, and the records of annotation tools.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::{Answer, Record};
use crate::atomic::write_atomically;
use crate::{Error, Result};

/// A file format of verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Our own record, one per line; nothing is lost.
    Jsonl,
    /// `query 0 document grade`: relevant = 1, not = 0; unsure is left out.
    Qrels,
    /// Records of Argilla: `fields`, `responses`, `metadata` with the ids.
    Argilla,
}

impl Format {
    /// By the ending of a name: `.qrels`, `.tsv`, `.txt` = qrels; `.argilla.jsonl` = Argilla; else JSON lines.
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        match () {
            () if name.contains(".argilla.") => Self::Argilla,
            () if [".qrels", ".tsv", ".txt"].iter().any(|e| name.ends_with(e)) => Self::Qrels,
            () => Self::Jsonl,
        }
    }

    /// A format by its name on the command line.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "jsonl" => Ok(Self::Jsonl),
            "qrels" => Ok(Self::Qrels),
            "argilla" => Ok(Self::Argilla),
            _ => Err(Error::usage(
                format!("there is no format of verdicts `{name}`"),
                "one of jsonl, qrels, argilla",
            )),
        }
    }
}

/// The last of several verdicts on a pair, in the order of the pairs.
pub fn latest(records: Vec<Record>) -> Vec<Record> {
    let mut last: BTreeMap<(String, String), Record> = BTreeMap::new();
    for record in records {
        last.insert((record.query_id.clone(), record.doc_id.clone()), record);
    }
    last.into_values().collect()
}

/// Reads verdicts in the order of the file; the format follows from its name and content.
///
/// # Errors
/// A line that is no verdict, by file, line and field.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let lines = (1u64..).zip(text.lines()).filter(|(_, l)| !l.trim().is_empty());
    match Format::of(path) {
        Format::Qrels => lines.filter_map(|(n, line)| qrel(path, n, line).transpose()).collect(),
        _ => lines.map(|(n, line)| record(path, n, line)).collect(),
    }
}

/// One line of JSON: our record, or that of an annotation tool.
fn record(path: &Path, line: u64, text: &str) -> Result<Record> {
    let help = "a line is {\"query_id\": …, \"doc_id\": …, \"answer\": \"relevant\" | \"not\" | \"unsure\"}";
    let value: Value = serde_json::from_str(text)
        .map_err(|e| Error::input(path, line, format!("broken JSON: {e}"), help))?;
    if value.get("responses").is_some() {
        return annotated(path, line, &value);
    }
    serde_json::from_value(value).map_err(|e| Error::input(path, line, e.to_string(), help))
}

/// A record of Argilla: the ids stand in `metadata`, the answer in `responses.relevant[0].value`.
fn annotated(path: &Path, line: u64, value: &Value) -> Result<Record> {
    let meta = |name: &str| {
        value["metadata"][name].as_str().map(str::to_owned).ok_or_else(|| {
            Error::input(path, line, "is missing", "export with the metadata of the records").field(name)
        })
    };
    let response = &value["responses"]["relevant"][0];
    let answer = match response["value"].as_str() {
        Some("yes" | "relevant") => Answer::Relevant,
        Some("no" | "not") => Answer::Not,
        Some("unsure") => Answer::Unsure,
        other => {
            return Err(Error::input(
                path,
                line,
                format!("the response is {other:?}"),
                "the question `relevant` is answered by yes, no or unsure",
            )
            .field("responses"));
        }
    };
    Ok(Record {
        query_id: meta("query_id")?,
        doc_id: meta("doc_id")?,
        answer,
        judge: response["user_id"].as_str().unwrap_or("argilla").to_owned(),
        at: 0,
        drawn: value["metadata"]["drawn"].as_f64(),
        note: None,
    })
}

/// One line of qrels: four columns as TREC, three as BEIR (whose header is passed over).
fn qrel(path: &Path, line: u64, text: &str) -> Result<Option<Record>> {
    let fields: Vec<&str> =
        if text.contains('\t') { text.split('\t').collect() } else { text.split_whitespace().collect() };
    let (query, doc, grade) = match fields.as_slice() {
        [query, _, doc, grade] | [query, doc, grade] => (*query, *doc, *grade),
        _ => {
            return Err(Error::input(
                path,
                line,
                format!("{} columns", fields.len()),
                "a line is `query 0 document grade` or `query document grade`",
            ));
        }
    };
    let grade: i64 = match grade.trim().parse() {
        Ok(grade) => grade,
        Err(_) if line == 1 => return Ok(None),
        Err(_) => {
            return Err(Error::input(path, line, format!("`{grade}` is no grade"), "give a whole number")
                .field("grade"));
        }
    };
    let answer = if grade > 0 { Answer::Relevant } else { Answer::Not };
    Ok(Some(Record {
        query_id: query.to_owned(),
        doc_id: doc.to_owned(),
        answer,
        judge: format!("qrels:{}", path.file_name().unwrap_or_default().to_string_lossy()),
        at: 0,
        drawn: None,
        note: None,
    }))
}

/// Texts for formats that show them.
pub trait Texts {
    /// The anchor's text.
    fn query(&self, id: &str) -> Option<&str>;
    /// A document's text.
    fn document(&self, id: &str) -> Option<&str>;
}

/// Writes verdicts; the file appears whole.
pub fn write(path: &Path, format: Format, records: &[Record], texts: &dyn Texts) -> Result<()> {
    let mut out = String::new();
    let bad = |e: serde_json::Error| Error::usage(e.to_string(), "");
    for r in records {
        match format {
            Format::Jsonl => out.push_str(&serde_json::to_string(r).map_err(bad)?),
            Format::Qrels if r.answer == Answer::Unsure => continue,
            Format::Qrels => {
                let _ = write!(
                    out,
                    "{}\t0\t{}\t{}",
                    r.query_id,
                    r.doc_id,
                    u8::from(r.answer == Answer::Relevant)
                );
            }
            Format::Argilla => {
                let value = match r.answer {
                    Answer::Relevant => "yes",
                    Answer::Not => "no",
                    Answer::Unsure => "unsure",
                };
                let record = json!({
                    "fields": {
                        "query": texts.query(&r.query_id).unwrap_or_default(),
                        "document": texts.document(&r.doc_id).unwrap_or_default(),
                    },
                    "responses": {"relevant": [{"value": value, "user_id": r.judge, "status": "submitted"}]},
                    "metadata": {"query_id": r.query_id, "doc_id": r.doc_id, "drawn": r.drawn},
                });
                out.push_str(&record.to_string());
            }
        }
        out.push('\n');
    }
    write_atomically(path, &[out.as_bytes()])
}

/// Confirmed false negatives as new positives: a BEIR qrels file of grade 1, and beside it, as `PATH.provenance.jsonl`, the
/// verdict behind each line. Answers how many there are.
pub fn promote(path: &Path, records: &[Record]) -> Result<usize> {
    let mut qrels = String::from("query-id\tcorpus-id\tscore\n");
    let mut provenance = String::new();
    let confirmed: Vec<&Record> = records.iter().filter(|r| r.answer == Answer::Relevant).collect();
    for r in &confirmed {
        let _ = writeln!(qrels, "{}\t{}\t1", r.query_id, r.doc_id);
        let line = serde_json::to_string(r).map_err(|e| Error::usage(e.to_string(), ""))?;
        provenance.push_str(&line);
        provenance.push('\n');
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".provenance.jsonl");
    write_atomically(Path::new(&beside), &[provenance.as_bytes()])?;
    write_atomically(path, &[qrels.as_bytes()])?;
    Ok(confirmed.len())
}

#[cfg(test)]
mod tests {
    use super::super::tests::record as made;
    use super::*;

    struct Few;

    impl Texts for Few {
        fn query(&self, id: &str) -> Option<&str> {
            (id == "q1").then_some("red fox")
        }
        fn document(&self, _: &str) -> Option<&str> {
            None
        }
    }

    fn all() -> Vec<Record> {
        vec![
            made("q1", "d 1", Answer::Relevant),
            made("q1", "d2", Answer::Not),
            made("q2", "d2", Answer::Unsure),
        ]
    }

    #[test]
    fn every_format_leads_back_to_the_answers() {
        let folder = tempfile::tempdir().unwrap();
        for (name, format, kept) in [
            ("v.jsonl", Format::Jsonl, 3),
            ("v.qrels", Format::Qrels, 2),
            ("v.argilla.jsonl", Format::Argilla, 3),
        ] {
            let path = folder.path().join(name);
            assert_eq!(Format::of(&path), format);
            write(&path, format, &all(), &Few).unwrap();
            let back: Vec<_> =
                read(&path).unwrap().into_iter().map(|r| (r.query_id, r.doc_id, r.answer)).collect();
            let want: Vec<_> =
                all().into_iter().map(|r| (r.query_id, r.doc_id, r.answer)).take(kept).collect();
            assert_eq!(back, want, "{name}");
        }
        let text = std::fs::read_to_string(folder.path().join("v.argilla.jsonl")).unwrap();
        assert!(text.contains(r#""query":"red fox""#));
    }

    #[test]
    fn a_beir_header_is_passed_over_and_a_bad_grade_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.tsv");
        std::fs::write(&path, "query-id\tcorpus-id\tscore\nq\td\t2\n").unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        std::fs::write(&path, "q\td\t2\nq\te\tgood\n").unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("new.tsv:2: field `grade`"), "{error}");
    }

    #[test]
    fn a_wrong_answer_names_the_line_and_the_choices() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.jsonl");
        std::fs::write(&path, "{\"query_id\":\"q\",\"doc_id\":\"d\",\"answer\":\"maybe\"}\n").unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            error.to_string().contains("v.jsonl:1: ") && error.help().unwrap().contains("unsure"),
            "{error}"
        );
    }

    #[test]
    fn promoted_pairs_are_qrels_with_provenance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("promoted.tsv");
        assert_eq!(promote(&path, &all()).unwrap(), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "query-id\tcorpus-id\tscore\nq1\td 1\t1\n");
        let beside = std::fs::read_to_string(folder.path().join("promoted.tsv.provenance.jsonl")).unwrap();
        assert_eq!(serde_json::from_str::<Record>(beside.trim()).unwrap(), all()[0]);
    }
}
