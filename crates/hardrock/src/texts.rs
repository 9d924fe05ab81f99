//! Texts for the few documents and anchors that `explain` and `report` show, looked up by id.
//!
//! Ids are enough to follow a decision, texts make it plain. They are looked for in the data folder (given, or recorded in
//! the manifest's inputs) and then in the mined file itself; what is not found is told, never an error, unless a folder was
//! asked for by name.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::candidates::{AnchorCandidates, CandidateRow};
use crate::manifest::Manifest;
use crate::outputs::Outputs;
use crate::rows::{self, ReadOptions, TrainingRow};
use crate::{Error, Result};

/// Endings of text files that can be searched for ids.
const ENDINGS: [&str; 3] = [".jsonl", ".jsonl.gz", ".jsonl.zst"];

/// Texts by id, with a word on where they came from.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    queries: BTreeMap<String, String>,
    documents: BTreeMap<String, String>,
    note: Option<String>,
}

impl Texts {
    /// Looks up the texts of `anchors` and of `documents`, which are among their rows. `data` is a folder in BEIR layout that takes
    /// the place of the recorded inputs. Errors only when `data` has no `corpus.jsonl` or cannot be read.
    pub fn gather(
        outputs: &Outputs,
        manifest: Option<&Manifest>,
        data: Option<&Path>,
        anchors: &[AnchorCandidates],
        documents: BTreeSet<String>,
    ) -> Result<Self> {
        let mut found = Self::default();
        let mut open = (anchors.iter().map(|a| a.query_id.clone()).collect(), documents);
        let mut problems: Vec<String> = Vec::new();
        if let Some(folder) = data {
            let corpus = in_folder(folder, "corpus").ok_or_else(|| {
                Error::usage(
                    format!("{} has no corpus.jsonl", folder.display()),
                    "give --data a folder in BEIR layout: corpus.jsonl and queries.jsonl (.gz, .zst)",
                )
            })?;
            search(&corpus, &mut open.1, &mut found.documents)?;
            if let Some(file) = in_folder(folder, "queries") {
                search(&file, &mut open.0, &mut found.queries)?;
            }
        } else {
            for (stem, open, texts) in
                [("corpus", &mut open.1, &mut found.documents), ("queries", &mut open.0, &mut found.queries)]
            {
                for file in recorded(manifest, outputs, stem) {
                    if let Err(e) = search(&file, open, texts) {
                        problems.push(e.to_string());
                    }
                }
            }
        }
        if !open.0.is_empty() || !open.1.is_empty() {
            // A mined file that cannot be read has no texts to give; the note says what is missing.
            let _ = found.search_mined(&outputs.mined, anchors, &mut open);
        }
        let missing = open.0.len() + open.1.len();
        if missing > 0 {
            let what = match (found.queries.is_empty() && found.documents.is_empty(), missing) {
                (true, _) => "no texts: the data was not found".to_owned(),
                (false, 1) => "one text was not found".to_owned(),
                (false, n) => format!("{n} texts were not found"),
            };
            let why = problems.first().map(|p| format!(" ({p})")).unwrap_or_default();
            found.note = Some(format!("{what}{why}; --data FOLDER names the folder with corpus.jsonl"));
        }
        Ok(found)
    }

    /// The text of an anchor.
    pub fn query(&self, id: &str) -> Option<&str> {
        self.queries.get(id).map(String::as_str)
    }

    /// Title and text of a document.
    pub fn document(&self, id: &str) -> Option<&str> {
        self.documents.get(id).map(String::as_str)
    }

    /// What could not be found, in words.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Takes what the mined file holds. Its rows are known by their ids; in the formats that have texts only, by their scores:
    /// the row whose positives and negatives score exactly as an anchor's positives and selected do is that anchor's, unless
    /// another row with other texts does so too.
    fn search_mined(
        &mut self,
        mined: &Path,
        anchors: &[AnchorCandidates],
        open: &mut (BTreeSet<String>, BTreeSet<String>),
    ) -> Result<()> {
        let by_id: BTreeMap<&str, usize> =
            anchors.iter().enumerate().map(|(i, a)| (a.query_id.as_str(), i)).collect();
        let mut by_scores: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
        for (i, anchor) in anchors.iter().enumerate() {
            by_scores.extend(scores(row_documents(anchor).map(|r| r.score)).map(|key| (key, i)));
        }
        let mut rows: Vec<Option<TrainingRow>> = vec![None; anchors.len()];
        let mut doubtful = vec![false; anchors.len()];
        for row in rows::read(mined, rows::guess(mined)?, &ReadOptions::default())? {
            let (_, row) = row?;
            let place = match &row.query_id {
                Some(id) => by_id.get(id.as_str()),
                None => scores(row.positives.iter().chain(&row.negatives).map(|d| d.score))
                    .and_then(|key| by_scores.get(&key)),
            };
            if let Some(&i) = place {
                doubtful[i] |= row.query_id.is_none() && rows[i].as_ref().is_some_and(|r| *r != row);
                rows[i].get_or_insert(row);
            }
        }
        for (i, row) in rows.into_iter().enumerate().filter(|(i, _)| !doubtful[*i]) {
            if let Some(row) = row {
                self.take(row, &anchors[i], open);
            }
        }
        Ok(())
    }

    /// Takes the texts of one anchor's training row.
    fn take(
        &mut self,
        row: TrainingRow,
        anchor: &AnchorCandidates,
        open: &mut (BTreeSet<String>, BTreeSet<String>),
    ) {
        if let Some(text) = row.query.filter(|_| open.0.remove(&anchor.query_id)) {
            self.queries.insert(anchor.query_id.clone(), text);
        }
        let without_ids = row.query_id.is_none();
        let mut in_order = row_documents(anchor);
        for doc in row.positives.iter().chain(&row.negatives) {
            let in_order = in_order.next().filter(|_| without_ids).map(|r| r.doc_id.as_str());
            let text = doc.full_text();
            let Some(id) = doc.id.as_deref().or(in_order).filter(|_| !text.is_empty()) else { continue };
            if open.1.remove(id) {
                self.documents.insert(id.to_owned(), text);
            }
        }
    }
}

/// The rows of an anchor in the order of a training row: positives, then the selected as they were chosen.
fn row_documents(anchor: &AnchorCandidates) -> impl Iterator<Item = &CandidateRow> {
    anchor.positives().chain(anchor.selected())
}

/// Scores as a key, bit by bit; `None` when one is not known, or there is none.
fn scores(scores: impl Iterator<Item = Option<f32>>) -> Option<Vec<u32>> {
    let key: Option<Vec<u32>> = scores.map(|s| s.map(f32::to_bits)).collect();
    key.filter(|k| !k.is_empty())
}

/// A line of a corpus or queries file, as far as it is needed here.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, alias = "id", alias = "doc_id", alias = "docid", alias = "query_id", rename = "_id")]
    id: Id<'a>,
    #[serde(borrow, default)]
    title: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "query")]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Number(i64),
}

/// Moves the texts of the open ids out of a file into `texts`; stops when none is open. Lines that are no records are passed
/// over: reading them is the business of `mine`, which has said so.
fn search(path: &Path, open: &mut BTreeSet<String>, texts: &mut BTreeMap<String, String>) -> Result<()> {
    if open.is_empty() {
        return Ok(());
    }
    let mut reader = crate::read::open(path)?;
    let mut line = Vec::new();
    while !open.is_empty() {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(Error::io("read", path))? == 0 {
            break;
        }
        let Ok(record) = serde_json::from_slice::<Record<'_>>(line.trim_ascii()) else { continue };
        let id = match record.id {
            Id::Text(id) => id,
            Id::Number(n) => n.to_string().into(),
        };
        if open.remove(id.as_ref()) {
            let (title, text) = (record.title.unwrap_or_default(), record.text.unwrap_or_default());
            let whole = if title.is_empty() { text.into_owned() } else { format!("{title} {text}") };
            texts.insert(id.into_owned(), whole);
        }
    }
    Ok(())
}

fn in_folder(folder: &Path, stem: &str) -> Option<PathBuf> {
    ENDINGS.iter().map(|e| folder.join(format!("{stem}{e}"))).find(|p| p.is_file())
}

/// Input files of the manifest whose name begins with `stem`, as recorded or beside the mined file.
fn recorded(manifest: Option<&Manifest>, outputs: &Outputs, stem: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for input in manifest.into_iter().flat_map(|m| m.inputs.keys()) {
        let path = Path::new(input);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with(stem) || !ENDINGS.iter().any(|e| name.ends_with(e)) {
            continue;
        }
        let beside = outputs.mined.parent().map(|p| p.join(path));
        found.extend([Some(path.to_owned()), beside].into_iter().flatten().find(|p| p.is_file()));
    }
    found
}

/// A text on one line: runs of white space become one blank, control characters go, so that a text can neither break a table
/// nor steer a terminal.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let start = line.len();
        if start > 0 {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| !c.is_control()));
        if line.len() == start + 1 && start > 0 {
            line.truncate(start);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::candidates::Status;

    fn anchor(id: &str) -> Vec<AnchorCandidates> {
        vec![AnchorCandidates { query_id: id.into(), rows: Vec::new() }]
    }

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|&s| s.to_owned()).collect()
    }

    #[test]
    fn one_line_neither_breaks_nor_steers() {
        assert_eq!(one_line(" a\n\n b\u{1b}[31mred\t\u{7} c "), "a b[31mred c");
    }

    #[test]
    fn texts_come_from_a_folder_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"{\"_id\":\"d1\",\"title\":\"T\",\"text\":\"x\"}\nbroken\n{\"_id\":7,\"title\":null,\"text\":\"seven \\u00e9\"}\n").unwrap();
        std::fs::write(folder.path().join("corpus.jsonl.gz"), gz.finish().unwrap()).unwrap();
        std::fs::write(folder.path().join("queries.jsonl"), "\u{feff}{\"_id\":\"q\",\"text\":\"why\"}")
            .unwrap();
        let outputs = Outputs::of(&folder.path().join("m.jsonl"));
        let texts = Texts::gather(&outputs, None, Some(folder.path()), &anchor("q"), set(&["d1", "7", "d9"]))
            .unwrap();
        assert_eq!(texts.document("d1"), Some("T x"));
        assert_eq!(texts.document("7"), Some("seven é"));
        assert_eq!(texts.query("q"), Some("why"));
        assert_eq!(
            texts.note(),
            Some("one text was not found; --data FOLDER names the folder with corpus.jsonl")
        );
    }

    #[test]
    fn texts_come_from_a_mined_file_in_the_native_format() {
        let folder = tempfile::tempdir().unwrap();
        let mined = folder.path().join("m.jsonl");
        std::fs::write(
            &mined,
            r#"{"query_id":"q","query":"why","positives":[{"doc_id":"p","text":"yes"}],"negatives":[{"doc_id":"n","title":"no","text":"way"}]}"#,
        )
        .unwrap();
        let texts = Texts::gather(&Outputs::of(&mined), None, None, &anchor("q"), set(&["p", "n"])).unwrap();
        assert_eq!((texts.query("q"), texts.document("p")), (Some("why"), Some("yes")));
        assert_eq!((texts.document("n"), texts.note()), (Some("no way"), None));
    }

    #[test]
    fn rows_without_ids_are_known_by_their_scores_unless_two_are_alike() {
        let row = |doc: &str, status, score, pick| CandidateRow {
            doc_id: doc.into(),
            status,
            score: Some(score),
            rank: None,
            evidence: Vec::new(),
            drop: None,
            pick,
            signals: Vec::new(),
        };
        let anchor = AnchorCandidates {
            query_id: "q".into(),
            rows: vec![
                row("p", Status::Positive, 0.1, None),
                row("n2", Status::Selected, 0.9, Some(1)),
                row("n1", Status::Selected, 0.7, Some(0)),
            ],
        };
        let anchors = [anchor];
        let line = |query: &str, negative: f32| {
            format!(
                r#"{{"query":"{query}","pos":["yes"],"neg":["no","never"],"pos_scores":[0.1],"neg_scores":[{negative},0.9]}}"#
            )
        };
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs::of(&folder.path().join("m.jsonl"));
        let gather = |lines: [String; 2]| {
            std::fs::write(&outputs.mined, lines.join("\n")).unwrap();
            Texts::gather(&outputs, None, None, &anchors, set(&["p", "n1", "n2"])).unwrap()
        };
        let texts = gather([line("other", 0.2), line("why", 0.7)]);
        let documents = ["p", "n1", "n2"].map(|d| texts.document(d));
        assert_eq!(documents, [Some("yes"), Some("no"), Some("never")]);
        assert_eq!((texts.query("q"), texts.note()), (Some("why"), None));
        assert_eq!(gather([line("other", 0.7), line("why", 0.7)]).query("q"), None);
    }

    #[test]
    fn a_folder_without_a_corpus_is_an_error_and_no_data_at_all_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = Outputs::of(&folder.path().join("m.jsonl"));
        let error = Texts::gather(&outputs, None, Some(folder.path()), &anchor("q"), set(&[])).unwrap_err();
        assert!(error.to_string().ends_with("has no corpus.jsonl"), "{error}");
        let texts = Texts::gather(&outputs, None, None, &anchor("q"), set(&[])).unwrap();
        assert!(texts.note().unwrap().starts_with("no texts"));
    }
}
