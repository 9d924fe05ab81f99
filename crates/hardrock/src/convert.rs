//! From one training-file format to another, row by row.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::rows::{self, Fill, ReadOptions, RowFormat, Rows, WriteOptions, Written};
use crate::{Error, Result};

/// What a conversion is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConvertOptions {
    /// Format of the input; `None` = told by its name, else by its first record.
    pub from: Option<RowFormat>,
    /// Format of the output; `None` = told by its name.
    pub to: Option<RowFormat>,
    /// Columns of anchor and positive, and perhaps of the negative, in sentence-transformers files on either side.
    /// `None` = the usual names are looked for, and kept from table to table.
    pub columns: Option<Vec<String>>,
    /// n of `st-n-tuple`; `None` = the most that a row of the input has.
    pub negatives: Option<usize>,
    /// Texts of documents that the input names by id alone.
    pub corpus: Option<PathBuf>,
    /// Texts of anchors that the input names by id alone.
    pub queries: Option<PathBuf>,
    /// Scores, short rows, run tag and `force`; its columns and n are those above.
    pub write: WriteOptions,
}

/// What a conversion did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Converted {
    /// Format read.
    pub from: RowFormat,
    /// Format written.
    pub to: RowFormat,
    /// Files and counts.
    #[serde(flatten)]
    pub written: Written,
}

/// Reads `input` and writes `output`, streaming; nothing is left behind on an error.
///
/// # Errors
/// A format that cannot be told; an output that exists (without `force`); a bad record with file, line, field and mend; a
/// target made of texts where the source has ids and no `corpus` / `queries` is given, and the other way round.
pub fn convert(input: &Path, output: &Path, options: &ConvertOptions) -> Result<Converted> {
    let from = options.from.map_or_else(|| rows::guess(input), Ok)?;
    let to = options.to.or_else(|| RowFormat::guess_from_name(output)).ok_or_else(|| {
        Error::usage(
            format!("the name {} does not say which format to write", output.display()),
            "add --to FORMAT, or put the format into the name: train.st-triplet.jsonl",
        )
    })?;
    let (read, mut write) = columns(input, from, options)?;
    let open = || -> Result<Rows> { rows::read(input, from, &read) };
    // Before the passes over the input, so that a refusal comes at once.
    if !write.force && output.exists() {
        return Err(Error::Exists { path: output.to_owned() });
    }
    to.encoding(output)?;
    if to == RowFormat::StNTuple {
        write.negatives = match options.negatives {
            Some(n) => n,
            None => {
                let mut most = 0;
                for row in open()? {
                    most = most.max(row?.1.negatives.len());
                }
                most
            }
        };
    }
    let (corpus, queries) = (options.corpus.as_deref(), options.queries.as_deref());
    let fill = match (corpus, queries) {
        (None, None) => None,
        _ => Some(Fill::gather(open()?, corpus, queries)?),
    };
    let mut writer = rows::writer(output, to, &write)?;
    for row in open()? {
        let (line, mut row) = row?;
        if let Some(fill) = &fill {
            fill.fill(&mut row, corpus, queries)?;
        }
        writer.write(&row).map_err(|e| at_line(e, input, line))?;
    }
    Ok(Converted { from, to, written: writer.finish()? })
}

/// The options of both sides with their column names.
fn columns(input: &Path, from: RowFormat, options: &ConvertOptions) -> Result<(ReadOptions, WriteOptions)> {
    let mut read = ReadOptions::default();
    let mut write = options.write.clone();
    match options.columns.as_deref() {
        Some([anchor, positive, negative @ ..]) if negative.len() < 2 => {
            (read.anchor, read.positive) = (Some(anchor.clone()), Some(positive.clone()));
            read.negative = negative.first().cloned();
            (write.anchor, write.positive) = (anchor.clone(), positive.clone());
            if let Some(negative) = &read.negative {
                write.negative.clone_from(negative);
            }
        }
        Some(other) => {
            return Err(Error::usage(
                format!("{} column names, 2 or 3 expected", other.len()),
                "give --columns ANCHOR,POSITIVE or --columns ANCHOR,POSITIVE,NEGATIVE",
            ));
        }
        None if from.is_table() => {
            let found = rows::columns(input, from, &read)?;
            (write.anchor, write.positive, write.negative) = (found.anchor, found.positive, found.negative);
        }
        None => {}
    }
    Ok((read, write))
}

/// A row that the target cannot hold is told with its place in the input.
fn at_line(error: Error, input: &Path, line: u64) -> Error {
    match error {
        Error::Usage { problem, help } => Error::input(input, line, problem, help),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn column_names_are_kept_from_table_to_table() {
        let folder = tempfile::tempdir().unwrap();
        let input =
            file(folder.path(), "in.jsonl", "{\"query\":\"q\",\"answer\":\"a\",\"negative\":\"n\"}\n");
        let output = folder.path().join("out.st-labeled-pair.csv");
        let done = convert(&input, &output, &ConvertOptions::default()).unwrap();
        assert_eq!((done.from, done.to), (RowFormat::StTriplet, RowFormat::StLabeledPair));
        assert_eq!(std::fs::read_to_string(output).unwrap(), "query,answer,label\nq,a,1\nq,n,0\n");
    }

    #[test]
    fn ids_get_their_texts_from_corpus_and_queries() {
        let folder = tempfile::tempdir().unwrap();
        let f = folder.path();
        let input = file(f, "qidpidtriples.tsv", "1\t10\t11\n1\t10\t12\n");
        let output = f.join("out.flagembedding.jsonl");
        let error = convert(&input, &output, &ConvertOptions::default()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("qidpidtriples.tsv:1: query `1` has no text, and this format is made of texts")
        );
        assert_eq!(error.help().unwrap(), "add --queries FILE");
        let mut options = ConvertOptions {
            corpus: Some(file(f, "collection.tsv", "10\tten\n11\televen\n12\ttwelve\n13\tnot wanted\n")),
            queries: Some(file(f, "queries.jsonl", "{\"_id\":1,\"text\":\"one\"}\n")),
            ..ConvertOptions::default()
        };
        convert(&input, &output, &options).unwrap();
        let text = std::fs::read_to_string(&output).unwrap();
        assert_eq!(text, "{\"query\":\"one\",\"pos\":[\"ten\"],\"neg\":[\"eleven\",\"twelve\"]}\n");
        options.corpus = Some(file(f, "other.tsv", "10\tten\n"));
        options.write.force = true;
        let error = convert(&input, &output, &options).unwrap_err();
        assert!(error.to_string().ends_with("other.tsv: has no document `11`"), "{error}");
        assert_eq!(std::fs::read_to_string(&output).unwrap(), text, "the old output stays");
    }

    #[test]
    fn n_tuples_are_as_wide_as_the_widest_row() {
        let folder = tempfile::tempdir().unwrap();
        let rows = "{\"query\":\"q\",\"pos\":[\"p\"],\"neg\":[\"a\",\"b\"]}\n{\"query\":\"r\",\"pos\":[\"p\"],\"neg\":[\"a\"]}\n";
        let input = file(folder.path(), "in.jsonl", rows);
        let output = folder.path().join("out.st-n-tuple.csv");
        let done = convert(&input, &output, &ConvertOptions::default()).unwrap();
        assert_eq!(
            std::fs::read_to_string(output).unwrap(),
            "anchor,positive,negative_1,negative_2\nq,p,a,b\n"
        );
        assert_eq!(done.written.notices["rows with fewer negatives than the format's n: left out"], 1);
    }

    #[test]
    fn a_target_that_is_not_said_or_exists_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let input = file(folder.path(), "in.jsonl", "{\"query\":\"q\",\"pos\":[\"p\"]}\n");
        let unsaid =
            convert(&input, &folder.path().join("out.jsonl"), &ConvertOptions::default()).unwrap_err();
        assert!(unsaid.help().unwrap().starts_with("add --to FORMAT"));
        let there = file(folder.path(), "out.native.jsonl", "old");
        let exists = convert(&input, &there, &ConvertOptions::default());
        assert!(matches!(exists, Err(Error::Exists { .. })));
    }
}
