//! Reads the four sentence-transformers shapes back into rows.
//!
//! Triplets and n-tuples that follow each other with the same anchor and positive become one row, labeled pairs with the
//! same anchor likewise: what was spread over lines by the writer comes together again, and nothing else does.

use super::record::{Record, listed};
use super::{Doc, ReadOptions, RowFormat, TrainingRow};
use crate::{Error, Result};

/// Column names that are taken for the anchor, first match first.
const ANCHORS: [&str; 7] = ["anchor", "query", "question", "sentence1", "sentence_A", "premise", "text1"];
/// Column names that are taken for the positive (or the documents of a labeled shape).
const POSITIVES: [&str; 12] = [
    "positive",
    "answer",
    "document",
    "passage",
    "pos",
    "response",
    "sentence2",
    "sentence_B",
    "context",
    "text2",
    "docs",
    "text",
];

/// Names of the columns of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The anchor's column.
    pub anchor: String,
    /// The positive's column; of the labeled shapes, the documents' column.
    pub positive: String,
    /// The negative's column; of n-tuples, what stands before `_1`.
    pub negative: String,
}

impl Columns {
    /// Finds the columns in the first record: the names given, else the usual ones.
    ///
    /// # Errors
    /// A given name that is not there (with the nearest that is); no usual name (with the names that are there).
    pub(super) fn of(record: &Record, format: RowFormat, options: &ReadOptions) -> Result<Self> {
        let names: Vec<&str> = record.names().collect();
        let find = |given: &Option<String>, usual: &[&str], what: &str| {
            match given {
            Some(name) if names.contains(&name.as_str()) => Ok(name.clone()),
            Some(name) => Err(record.missing(name)),
            None => usual.iter().find(|u| names.contains(u)).map(|u| (*u).to_owned()).ok_or_else(|| {
                record.bad(
                    format!("which column is the {what}? the columns are {}", listed(&names)),
                    "name them: --anchor-column and --positive-column in `mine`, --columns ANCHOR,POSITIVE in `convert`",
                )
            }),
        }
        };
        let anchor = find(&options.anchor, &ANCHORS, "anchor")?;
        let positive = find(&options.positive, &POSITIVES, "positive")?;
        let negative = match format {
            RowFormat::StTriplet => find(&options.negative, &["negative", "neg"], "negative")?,
            _ => options.negative.clone().unwrap_or_else(|| "negative".into()),
        };
        Ok(Self { anchor, positive, negative })
    }
}

/// Turns records of one shape into rows of one positive; [`joins`] says which of them belong together.
pub(super) fn row_of(record: &mut Record, format: RowFormat, columns: &Columns) -> Result<TrainingRow> {
    let query = Some(record.text(&columns.anchor)?);
    let (positives, negatives) = match format {
        RowFormat::StLabeledPair => labeled_pair(record, columns)?,
        RowFormat::StLabeledList => labeled_list(record, columns)?,
        _ => {
            let mut texts = vec![record.text(&columns.positive)?];
            texts.extend(negatives(record, format, columns)?);
            let mut docs = scored(record, "scores", texts)?;
            (docs.drain(..1).collect(), docs)
        }
    };
    Ok(TrainingRow { query_id: None, query, positives, negatives })
}

/// Whether `next` continues `row`.
pub(super) fn joins(format: RowFormat, row: &TrainingRow, next: &TrainingRow) -> bool {
    match format {
        RowFormat::StTriplet => row.query == next.query && row.positives == next.positives,
        RowFormat::StLabeledPair => row.query == next.query,
        // A line of the other shapes holds a whole row.
        _ => false,
    }
}

fn negatives(record: &mut Record, format: RowFormat, columns: &Columns) -> Result<Vec<String>> {
    if format == RowFormat::StTriplet {
        return Ok(vec![record.text(&columns.negative)?]);
    }
    let number = |name: &str| name.strip_prefix(&columns.negative)?.strip_prefix('_')?.parse::<u32>().ok();
    let mut numbered: Vec<(u32, String)> =
        record.names().filter_map(|n| Some((number(n)?, n.to_owned()))).collect();
    if numbered.is_empty() {
        return Err(record.missing(&format!("{}_1", columns.negative)));
    }
    numbered.sort();
    // Short rows hold null, or nothing in CSV, where a negative is missing.
    let texts = numbered.iter().filter_map(|(_, name)| record.optional_text(name).transpose());
    texts.filter(|t| t.as_ref().map_or(true, |t| !t.is_empty())).collect()
}

fn labeled_pair(record: &mut Record, columns: &Columns) -> Result<(Vec<Doc>, Vec<Doc>)> {
    let doc = Doc { text: Some(record.text(&columns.positive)?), ..Doc::default() };
    match record.label("label")? {
        Some(true) => Ok((vec![doc], Vec::new())),
        Some(false) => Ok((Vec::new(), vec![doc])),
        None => Err(unlabelled(record, "label", "score")),
    }
}

fn labeled_list(record: &mut Record, columns: &Columns) -> Result<(Vec<Doc>, Vec<Doc>)> {
    let texts = record.texts(&columns.positive)?;
    let labels = record.labels("labels", texts.len())?;
    let docs = scored(record, "scores", texts)?;
    let Some(labels) = labels else {
        // With scores the labels are left out, and the first document is the positive.
        let mut docs = docs.into_iter();
        return match docs.next() {
            Some(first) if first.score.is_some() => Ok((vec![first], docs.collect())),
            _ => Err(unlabelled(record, "labels", "scores")),
        };
    };
    let (mut positives, mut negatives) = (Vec::new(), Vec::new());
    for (doc, label) in docs.into_iter().zip(labels) {
        if label { positives.push(doc) } else { negatives.push(doc) }
    }
    Ok((positives, negatives))
}

fn unlabelled(record: &Record, label: &str, score: &str) -> Error {
    match record.names().any(|n| n == score) {
        true => record.wrong(
            label,
            format!("is missing; the `{score}` beside it does not say which documents are positive"),
            "write the file again without scores, or from the native record",
        ),
        false => record.missing(label),
    }
}

/// Documents of texts, with the scores of the field `name` where it is there.
fn scored(record: &mut Record, name: &str, texts: Vec<String>) -> Result<Vec<Doc>> {
    let scores = record.scores(name, texts.len())?;
    let mut docs: Vec<Doc> = texts.into_iter().map(|t| Doc { text: Some(t), ..Doc::default() }).collect();
    for (doc, score) in docs.iter_mut().zip(scores.into_iter().flatten()) {
        doc.score = Some(score);
    }
    Ok(docs)
}
