//! Tells the format of a file by its name, else by its first record.

use std::path::Path;

use super::reader::encoding_of;
use super::record::{Record, listed, nearest};
use super::records::Records;
use super::{Encoding, RowFormat};
use crate::{Error, Result, read};

/// The format of an input: what its name says, else what its first record looks like.
///
/// # Errors
/// A record that looks like no format, with its fields and the formats to choose from.
pub fn guess(path: &Path) -> Result<RowFormat> {
    match RowFormat::guess_from_name(path) {
        // `.parquet` says how the file is packed; its columns say what it holds.
        Some(RowFormat::Parquet) | None => {}
        Some(format) => return Ok(format),
    }
    let named = encoding_of(path, RowFormat::StTriplet)?;
    if named == Encoding::Parquet || named == Encoding::Csv {
        return first(path, named).and_then(|r| of_fields(&r, named));
    }
    let mut lines = read::open(path)?.lines();
    let line = loop {
        match lines.next_line() {
            None => return Err(Error::input(path, None, "holds no record", "check the file")),
            Some(line) => {
                let (_, line) = line?;
                if !line.trim().is_empty() {
                    break line.to_owned();
                }
            }
        }
    };
    if line.trim_start().starts_with(['{', '[']) {
        return first(path, Encoding::JsonLines).and_then(|r| of_fields(&r, Encoding::JsonLines));
    }
    let blanks: Vec<&str> = line.split_ascii_whitespace().collect();
    if blanks.len() >= 6 && blanks.get(1).is_some_and(|q| q.eq_ignore_ascii_case("q0")) {
        return Ok(RowFormat::TrecRun);
    }
    let header = first(path, Encoding::Tsv).and_then(|r| of_fields(&r, Encoding::Tsv));
    match (header, line.split('\t').collect::<Vec<_>>().as_slice()) {
        (Ok(format), _) => Ok(format),
        // Ids have no blanks, texts of three columns nearly always have one.
        (_, fields @ [_, _, _]) if fields.iter().all(|f| !f.contains(' ')) => Ok(RowFormat::MsmarcoIds),
        (_, [_, _, _]) => Ok(RowFormat::MsmarcoTriples),
        (Err(e), _) => Err(e),
    }
}

/// The format of an output: what its name says, else `default`.
pub fn guess_output(path: &Path, default: RowFormat) -> RowFormat {
    RowFormat::guess_from_name(path).unwrap_or(default)
}

fn first(path: &Path, encoding: Encoding) -> Result<Record> {
    match Records::open(path, encoding)?.next() {
        Some(record) => record,
        None => Err(Error::input(path, None, "holds no record", "check the file")),
    }
}

/// Fields that tell a format, in order: the first one that is there decides.
const TELLING: [(&str, RowFormat); 13] = [
    ("positives", RowFormat::Native),
    ("negatives", RowFormat::Native),
    ("positive_passages", RowFormat::Tevatron),
    ("positive_document_ids", RowFormat::TevatronV2),
    ("qid", RowFormat::MsmarcoHardNegatives),
    ("pos", RowFormat::FlagEmbedding),
    ("neg", RowFormat::FlagEmbedding),
    ("labels", RowFormat::StLabeledList),
    ("label", RowFormat::StLabeledPair),
    ("negative_1", RowFormat::StNTuple),
    ("negative_2", RowFormat::StNTuple),
    ("negative", RowFormat::StTriplet),
    ("score", RowFormat::StLabeledPair),
];

fn of_fields(record: &Record, encoding: Encoding) -> Result<RowFormat> {
    let names: Vec<&str> = record.names().collect();
    match TELLING.iter().find(|(field, _)| names.contains(field)).map(|(_, format)| *format) {
        Some(RowFormat::Native) if encoding == Encoding::Parquet => return Ok(RowFormat::Parquet),
        Some(format) => return Ok(format),
        None => {}
    }
    if names.contains(&"scores")
        && record.names().any(|n| record.get(n).is_some_and(serde_json::Value::is_array) && n != "scores")
    {
        return Ok(RowFormat::StLabeledList);
    }
    let near = TELLING.iter().find_map(|(field, format)| Some((nearest(field, &names)?, field, format)));
    let help = match near {
        Some((near, field, format)) => {
            format!(
                "is `{near}` meant as `{field}` of {format}? name the format with --from, or rename the field"
            )
        }
        None => "name the format with --from; `hardrock formats` shows a line of each".into(),
    };
    Err(record.bad(format!("looks like no training format: the fields are {}", listed(&names)), help))
}
