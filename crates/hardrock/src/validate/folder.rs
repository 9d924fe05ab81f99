//! Folders in BEIR layout: `corpus`, `queries` and every file in `qrels/`.

use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::{Check, Findings, Severity, Validation};
use crate::read::{self, text_hash};
use crate::rows::for_each_text;
use crate::{Error, Result};

pub(super) fn validate(folder: &Path) -> Result<Validation> {
    let mut findings = Findings::default();
    let documents = table(folder, "corpus", &mut findings)?;
    let queries = table(folder, "queries", &mut findings)?;
    let mut judged = vec![false; queries.len()];
    let mut judgements = 0;
    for file in qrels(folder)? {
        judgements += judge(&file, &documents, &queries, &mut judged, &mut findings)?;
    }
    let unjudged = queries.lines.iter().zip(&judged).zip(&queries.ids).filter(|((_, judged), _)| !**judged);
    for ((line, _), id) in unjudged {
        findings.add(Check::UnjudgedQuery, &queries.path, *line, || format!("query `{id}`"));
    }
    let counts = vec![
        ("documents", documents.len() as u64),
        ("queries", queries.len() as u64),
        ("judgements", judgements),
    ];
    let mut findings = findings.sorted();
    // Many published corpora hold a few empty documents; mining passes them over.
    for finding in findings.iter_mut().filter(|f| f.check == Check::EmptyText) {
        finding.severity = Severity::Warning;
    }
    Ok(Validation { format: None, counts, findings, collisions: None })
}

/// The records of a table: ids, hashes of their normalised texts and lines, by number.
struct Table {
    path: PathBuf,
    numbers: HashMap<String, u32>,
    ids: Vec<String>,
    texts: Vec<u64>,
    lines: Vec<u64>,
}

impl Table {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn text(&self, id: &str) -> Option<(u32, u64)> {
        let number = *self.numbers.get(id)?;
        Some((number, *self.texts.get(number as usize)?))
    }
}

fn table(folder: &Path, stem: &str, findings: &mut Findings) -> Result<Table> {
    let Some(files) = read::find(folder, stem)? else {
        return Err(Error::usage(
            format!("{} has no {stem}", folder.display()),
            "a folder in BEIR layout holds corpus.jsonl, queries.jsonl and qrels/*.tsv; else name a training file",
        ));
    };
    let (mut ids, mut texts, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut first_of_text: HashMap<u64, u32> = HashMap::new();
    for path in &files {
        for_each_text(path, |t| {
            let shown = || format!("`{}`", t.id);
            let whole = format!("{} {}", t.title, t.text);
            if whole.trim().is_empty() {
                findings.add(Check::EmptyText, path, t.line, shown);
            }
            let number = ids.len() as u32;
            if numbers.contains_key(&t.id) {
                findings.add(Check::DuplicateId, path, t.line, shown);
                return Ok(());
            }
            let hash = text_hash(&whole);
            let first = *first_of_text.entry(hash).or_insert(number);
            if first != number && !whole.trim().is_empty() && stem == "corpus" {
                let other = ids.get(first as usize).cloned().unwrap_or_default();
                findings.add(Check::DuplicateText, path, t.line, || {
                    format!("`{}` says what `{other}` says", t.id)
                });
            }
            numbers.insert(t.id.clone(), number);
            ids.push(t.id);
            texts.push(hash);
            lines.push(t.line);
            Ok(())
        })?;
    }
    let path = files.into_iter().next().unwrap_or_default();
    Ok(Table { path, numbers, ids, texts, lines })
}

/// The files of `qrels/`, by name.
fn qrels(folder: &Path) -> Result<Vec<PathBuf>> {
    let inside = folder.join("qrels");
    let files = if inside.is_dir() { read::data_files(&inside)? } else { Vec::new() };
    if files.is_empty() {
        return Err(Error::usage(
            format!("{} is empty or not there", inside.display()),
            "put qrels/<split>.tsv there",
        ));
    }
    Ok(files)
}

/// Looks through one qrels file and returns its number of judgements.
fn judge(
    path: &Path,
    documents: &Table,
    queries: &Table,
    judged: &mut [bool],
    findings: &mut Findings,
) -> Result<u64> {
    let mut lines = read::open(path)?.lines();
    let mut grades: HashMap<(String, String), i64> = HashMap::new();
    // Query, line of its first judgement, whether one of them is positive; in order of appearance.
    let mut anchors: Vec<(String, u64, bool)> = Vec::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    while let Some(line) = lines.next_line() {
        let (line, text) = line?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (query, document, grade) = match fields.as_slice() {
            [] => continue,
            ["query-id" | "query_id", ..] if line == 1 => continue,
            [query, document, grade] => (*query, *document, *grade),
            [query, _, document, grade] => (*query, *document, *grade),
            other => {
                let problem = format!("{} fields, 3 (BEIR) or 4 (TREC) expected", other.len());
                return Err(Error::input(
                    path,
                    line,
                    problem,
                    "a line is: query-id, corpus-id, score between tabs",
                ));
            }
        };
        let grade: i64 = grade.parse().map_err(|_| {
            let problem = format!("is `{grade}`, but must be a whole number");
            Error::input(path, line, problem, "grades are 0, 1, 2 …").field("score")
        })?;
        let shown = || format!("query `{query}`, document `{document}`");
        let q = queries.text(query);
        let d = documents.text(document);
        if let Some((number, _)) = q
            && let Some(seen) = judged.get_mut(number as usize)
        {
            *seen = true;
        }
        if q.is_none() {
            findings.add(Check::MissingQuery, path, line, shown);
        }
        if d.is_none() {
            findings.add(Check::MissingDocument, path, line, shown);
        }
        if let (Some((_, q)), Some((_, d))) = (q, d)
            && q == d
            && grade > 0
        {
            findings.add(Check::SelfPositive, path, line, shown);
        }
        let number = *numbers.entry_ref(query).or_insert(anchors.len());
        match anchors.get_mut(number) {
            Some(anchor) => anchor.2 |= grade > 0,
            None => anchors.push((query.to_owned(), line, grade > 0)),
        }
        match grades.insert((query.to_owned(), document.to_owned()), grade) {
            Some(other) if other != grade => findings.add(Check::Contradiction, path, line, shown),
            Some(_) => findings.add(Check::RepeatedJudgement, path, line, shown),
            None => {}
        }
    }
    for (query, line, _) in anchors.iter().filter(|(.., positive)| !positive) {
        findings.add(Check::NoPositive, path, *line, || format!("query `{query}`"));
    }
    Ok(grades.len() as u64)
}
