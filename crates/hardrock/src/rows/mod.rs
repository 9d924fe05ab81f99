//! Training rows: one anchor with its positives and negatives, the form between mining and every trainer's file format.
//!
//! [`writer`] and [`read`] stream rows to and from every [`RowFormat`]. An output file appears whole, under its name, when
//! [`RowWriter::finish`] went well, and not at all otherwise.

mod columnar;
mod flagembedding;
mod format;
mod guess;
mod msmarco;
mod native;
mod reader;
mod record;
mod records;
mod sink;
mod st;
mod st_read;
mod table;
mod tevatron;
mod texts;
mod trec;
mod writer;

pub use format::{Encoding, FORMATS, FormatFacts, Holds, RowFormat};
pub use guess::{guess, guess_output};
pub use reader::{ReadOptions, Rows, columns, read};
pub use sink::TextSink;
pub use st_read::Columns;
pub use tevatron::corpus_path;
pub(crate) use texts::{Fill, for_each_text};
pub use writer::{RowWriter, Short, WriteOptions, Written, example, writer};

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One document in a training row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Doc {
    /// Id in the corpus; `None` where the format has only texts.
    #[serde(rename = "doc_id", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Title; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Text without the title; `None` where the format has only ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Judging score; `None` where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Rank in the judged order, 0 = best; mined negatives only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Sources that proposed it, joined by `+`; mined negatives only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Weight in training, in `[0, 1]`; mined negatives only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
}

impl Doc {
    /// Title and text as one: what a model reads. Empty when the format has only ids.
    pub fn full_text(&self) -> String {
        let text = self.text.as_deref().unwrap_or_default();
        match (self.title.is_empty(), text.is_empty()) {
            (true, _) => text.to_owned(),
            (false, true) => self.title.clone(),
            (false, false) => format!("{} {text}", self.title),
        }
    }

    /// The document in a message: its id, else the start of its text.
    pub(crate) fn shown(&self) -> String {
        match (&self.id, &self.text) {
            (Some(id), _) => format!("document `{id}`"),
            (None, Some(text)) => format!("document {:?}", start(text)),
            (None, None) => format!("document {:?}", start(&self.title)),
        }
    }
}

/// One anchor with everything that a trainer's row can hold; ragged by design.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingRow {
    /// Id of the anchor; `None` where the format has only texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_id: Option<String>,
    /// Text of the anchor; `None` where the format has only ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Labelled positives.
    #[serde(default)]
    pub positives: Vec<Doc>,
    /// Negatives, best (hardest) first.
    #[serde(default)]
    pub negatives: Vec<Doc>,
}

impl TrainingRow {
    /// The row in a message: the anchor's id, else the start of its text.
    pub(crate) fn shown(&self) -> String {
        match (&self.query_id, &self.query) {
            (Some(id), _) => format!("query `{id}`"),
            (None, Some(text)) => format!("query {:?}", start(text)),
            (None, None) => "a row without a query".into(),
        }
    }

    /// The anchor's text; an error where the row has only its id.
    fn anchor_text(&self) -> Result<&str> {
        self.query.as_deref().ok_or_else(|| no_texts(&self.shown(), "--queries FILE"))
    }

    /// Title and text of one of the row's documents; an error where it has only an id.
    fn text_of<'a>(&self, doc: &'a Doc) -> Result<Cow<'a, str>> {
        match &doc.text {
            None if doc.title.is_empty() => {
                Err(no_texts(&format!("{} of {}", doc.shown(), self.shown()), "--corpus FILE"))
            }
            Some(text) if doc.title.is_empty() => Ok(Cow::Borrowed(text)),
            _ => Ok(Cow::Owned(doc.full_text())),
        }
    }

    /// The document's score; an error where it is not known or not finite.
    fn score_of(&self, doc: &Doc) -> Result<f32> {
        doc.score.filter(|s| s.is_finite()).ok_or_else(|| {
            let known = doc.score.map_or("no score".into(), |s| format!("the score {s}"));
            Error::usage(
                format!("scores are wanted, but {} of {} has {known}", doc.shown(), self.shown()),
                "leave scores out (--no-scores), or score positives and negatives with the same source",
            )
        })
    }

    /// The anchor's id; an error where the row has only its text.
    fn anchor_id(&self) -> Result<&str> {
        self.query_id.as_deref().ok_or_else(|| no_ids(&self.shown()))
    }

    /// The document's id; an error where it has only a text.
    fn id_of<'a>(&self, doc: &'a Doc) -> Result<&'a str> {
        doc.id.as_deref().ok_or_else(|| no_ids(&format!("{} of {}", doc.shown(), self.shown())))
    }
}

fn no_texts(what: &str, option: &str) -> Error {
    Error::usage(format!("{what} has no text, and this format is made of texts"), format!("add {option}"))
}

fn no_ids(what: &str) -> Error {
    Error::usage(
        format!("{what} has no id, and this format is made of ids"),
        "convert from a file that has ids: native, parquet or tevatron",
    )
}

/// The first words of a text, for messages.
fn start(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
