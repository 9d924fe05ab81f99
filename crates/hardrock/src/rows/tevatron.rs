//! Tevatron: the old layout with the passages inside the line, and v2 with ids in the line and a corpus file beside it.
//!
//! Both need ids. Where a row has only texts, the id is made of the text (16 hex digits of its BLAKE3 hash), so that equal
//! texts get equal ids in every run.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use serde::Serialize;

use super::record::Record;
use super::records::Records;
use super::sink::TextSink;
use super::{Doc, Encoding, RowWriter, TrainingRow, WriteOptions, Written};
use crate::{Error, Result};

#[derive(Serialize)]
struct LegacyLine<'a> {
    query_id: Cow<'a, str>,
    query: &'a str,
    positive_passages: Vec<Passage<'a>>,
    negative_passages: Vec<Passage<'a>>,
}

#[derive(Serialize)]
struct Passage<'a> {
    docid: Cow<'a, str>,
    // Always there, also when empty: a key that comes and goes becomes null for the loader and breaks the trainer.
    title: &'a str,
    text: &'a str,
}

/// Writer of the old layout.
pub(super) struct LegacyWriter {
    sink: TextSink,
    written: Written,
}

impl LegacyWriter {
    pub(super) fn create(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(Self { sink: TextSink::create(path, options.force)?, written: Written::default() })
    }
}

impl RowWriter for LegacyWriter {
    fn write(&mut self, row: &TrainingRow) -> Result<()> {
        self.written.rows += 1;
        if row.positives.is_empty() {
            self.written.without_positives += 1;
            return Ok(());
        }
        let passage = |doc| -> Result<Passage<'_>> {
            let doc: &Doc = doc;
            let whole = row.text_of(doc)?;
            Ok(Passage {
                docid: id_or_hash(doc.id.as_deref(), &whole),
                title: &doc.title,
                text: doc.text.as_deref().unwrap_or_default(),
            })
        };
        let query = row.anchor_text()?;
        let line = LegacyLine {
            query_id: id_or_hash(row.query_id.as_deref(), query),
            query,
            positive_passages: row.positives.iter().map(passage).collect::<Result<_>>()?,
            negative_passages: row.negatives.iter().map(passage).collect::<Result<_>>()?,
        };
        self.written.records += 1;
        self.sink.json(&line)
    }

    fn finish(self: Box<Self>) -> Result<Written> {
        Ok(self.written.with_files(vec![self.sink.seal()?.publish()?]))
    }
}

/// Reads a line of the old layout.
pub(super) fn legacy_row(record: &mut Record) -> Result<TrainingRow> {
    let query_id = record.optional_id("query_id")?;
    let query = Some(record.text("query")?);
    let Some(positives) = record.objects("positive_passages")? else {
        return Err(record.missing("positive_passages"));
    };
    let negatives = record.objects("negative_passages")?.unwrap_or_default();
    let docs = |passages: Vec<Record>| passages.into_iter().map(passage_of).collect::<Result<Vec<Doc>>>();
    Ok(TrainingRow { query_id, query, positives: docs(positives)?, negatives: docs(negatives)? })
}

fn passage_of(mut record: Record) -> Result<Doc> {
    Ok(Doc {
        id: record.optional_id("docid")?,
        title: record.optional_text("title")?.unwrap_or_default(),
        text: Some(record.text("text")?),
        ..Doc::default()
    })
}

#[derive(Serialize)]
struct Line<'a> {
    query_id: Cow<'a, str>,
    query_text: &'a str,
    positive_document_ids: Vec<&'a str>,
    negative_document_ids: Vec<&'a str>,
}

#[derive(Serialize)]
struct CorpusLine<'a> {
    docid: &'a str,
    text: &'a str,
}

/// Writer of v2: `train.jsonl` and `train.corpus.jsonl`. The corpus holds each document once, in order of appearance.
pub(super) struct V2Writer {
    train: TextSink,
    corpus: TextSink,
    known: HashMap<String, u64>,
    written: Written,
}

impl V2Writer {
    pub(super) fn create(path: &Path, options: &WriteOptions) -> Result<Self> {
        Ok(Self {
            train: TextSink::create(path, options.force)?,
            corpus: TextSink::create(&corpus_path(path), options.force)?,
            known: HashMap::new(),
            written: Written::default(),
        })
    }

    /// Puts the documents into the corpus file and returns their ids.
    fn ids(&mut self, row: &TrainingRow, docs: &[Doc]) -> Result<Vec<String>> {
        let mut ids = Vec::with_capacity(docs.len());
        for doc in docs {
            let text = row.text_of(doc)?;
            let id = id_or_hash(doc.id.as_deref(), &text).into_owned();
            let hash = hash(&text);
            match self.known.get(&id) {
                None => {
                    self.corpus.json(&CorpusLine { docid: &id, text: &text })?;
                    self.known.insert(id.clone(), hash);
                }
                Some(&other) if other != hash => {
                    return Err(Error::usage(
                        format!("document `{id}` has two different texts, in {} the second", row.shown()),
                        "`hardrock validate` finds such ids; give each document an id of its own",
                    ));
                }
                Some(_) => {}
            }
            ids.push(id);
        }
        Ok(ids)
    }
}

impl RowWriter for V2Writer {
    fn write(&mut self, row: &TrainingRow) -> Result<()> {
        self.written.rows += 1;
        if row.positives.is_empty() {
            self.written.without_positives += 1;
            return Ok(());
        }
        let query_text = row.anchor_text()?;
        let (positives, negatives) = (self.ids(row, &row.positives)?, self.ids(row, &row.negatives)?);
        self.written.records += 1;
        self.train.json(&Line {
            query_id: id_or_hash(row.query_id.as_deref(), query_text),
            query_text,
            positive_document_ids: positives.iter().map(String::as_str).collect(),
            negative_document_ids: negatives.iter().map(String::as_str).collect(),
        })
    }

    fn finish(self: Box<Self>) -> Result<Written> {
        let (train, corpus) = (self.train.seal()?, self.corpus.seal()?);
        // The corpus first: a training file never stands without its texts.
        let corpus = corpus.publish()?;
        Ok(self.written.with_files(vec![train.publish()?, corpus]))
    }
}

/// Name of the corpus file beside a v2 training file: `train.jsonl.gz` has `train.corpus.jsonl.gz`.
pub fn corpus_path(train: &Path) -> PathBuf {
    let name = train.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let packing = [".gz", ".zst"].into_iter().find(|p| name.ends_with(p)).unwrap_or_default();
    let plain = name.strip_suffix(packing).unwrap_or(&name);
    let (stem, ending) = plain.rsplit_once('.').map_or((plain, "jsonl"), |(s, e)| (s, e));
    train.with_file_name(format!("{stem}.corpus.{ending}{packing}"))
}

/// Texts of a v2 corpus by id.
pub(super) struct Corpus(HashMap<String, String>);

impl Corpus {
    /// Reads a corpus file whole: v2 rows name documents in any order.
    pub(super) fn read(path: &Path, encoding: Encoding) -> Result<Self> {
        let mut texts = HashMap::new();
        for record in Records::open(path, encoding)? {
            let mut record = record?;
            let id = match record.optional_id("docid")? {
                Some(id) => id,
                None => return Err(record.missing("docid")),
            };
            // The trainer reads `text`; its README says `document_text`.
            let text = match record.optional_text("text")? {
                Some(text) => text,
                None => record.optional_text("document_text")?.ok_or_else(|| record.missing("text"))?,
            };
            if texts.contains_key(&id) {
                return Err(record.wrong("docid", format!("`{id}` stands twice"), "keep one of the two"));
            }
            texts.insert(id, text);
        }
        Ok(Self(texts))
    }
}

/// Reads a v2 line; without a corpus the documents have ids only.
pub(super) fn v2_row(record: &mut Record, corpus: Option<&Corpus>) -> Result<TrainingRow> {
    let query_id = record.optional_id("query_id")?;
    let query = Some(record.text("query_text")?);
    let positives = record.ids("positive_document_ids")?;
    let negatives =
        if record.has("negative_document_ids") { record.ids("negative_document_ids")? } else { Vec::new() };
    let docs = |field: &str, ids: Vec<String>| -> Result<Vec<Doc>> {
        let doc = |id: String| {
            let text = match corpus {
                None => None,
                Some(corpus) => Some(corpus.0.get(&id).cloned().ok_or_else(|| {
                    let problem = format!("document `{id}` is not in the corpus");
                    record.wrong(field, problem, "give the corpus that belongs to this file with --corpus")
                })?),
            };
            Ok(Doc { id: Some(id), text, ..Doc::default() })
        };
        ids.into_iter().map(doc).collect()
    };
    Ok(TrainingRow {
        query_id,
        query,
        positives: docs("positive_document_ids", positives)?,
        negatives: docs("negative_document_ids", negatives)?,
    })
}

/// The id, or one made of the text.
fn id_or_hash<'a>(id: Option<&'a str>, text: &str) -> Cow<'a, str> {
    id.map_or_else(|| Cow::Owned(format!("{:016x}", hash(text))), Cow::Borrowed)
}

/// The first 8 bytes, big-endian, of the text's BLAKE3 hash.
fn hash(text: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    u64::from_be_bytes(first)
}
