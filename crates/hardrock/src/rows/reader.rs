//! Opens the reader of a format and joins the lines that belong to one row.

use std::path::{Path, PathBuf};

use super::msmarco;
use super::records::Records;
use super::tevatron::{self, Corpus};
use super::{Columns, Encoding, RowFormat, TrainingRow, corpus_path, flagembedding, native, st_read, trec};
use crate::read::input;
use crate::{Error, Result};

/// How a file is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Column of the anchor in the sentence-transformers shapes; `None` = one of the usual names.
    pub anchor: Option<String>,
    /// Column of the positive (in the labeled shapes: of the documents); `None` = one of the usual names.
    pub positive: Option<String>,
    /// Column of the negative; in n-tuples, what stands before `_1`; `None` = `negative`.
    pub negative: Option<String>,
    /// Corpus of a Tevatron v2 file; `None` = the file beside it, if there.
    pub corpus: Option<PathBuf>,
    /// Leaves the Tevatron v2 corpus alone: the rows hold ids only, and the caller has the texts.
    pub ids_only: bool,
}

/// The rows of a file, each with the line (Parquet: row) where it begins, from 1.
pub type Rows = Box<dyn Iterator<Item = Result<(u64, TrainingRow)>> + Send>;

/// Streams the rows of a file. Packing is told by content, Parquet too; CSV and TSV by the name.
///
/// # Errors
/// At once: a file that cannot be opened, columns that are not clear. Per row: file, line, field, problem and mend.
pub fn read(path: &Path, format: RowFormat, options: &ReadOptions) -> Result<Rows> {
    match format {
        RowFormat::MsmarcoTriples | RowFormat::MsmarcoIds => {
            let ids = format == RowFormat::MsmarcoIds;
            let rows =
                msmarco::triples(path)?.map(move |line| line.map(|(n, f)| (n, msmarco::triple_row(ids, f))));
            return Ok(Box::new(Joined::new(rows, msmarco::joins)));
        }
        RowFormat::TrecRun => {
            let mut lines = trec::run(path)?;
            let rows = std::iter::from_fn(move || {
                let line = lines.next()?;
                Some(line.and_then(|(n, fields)| Ok((n, trec::line_row(&lines, n, fields)?))))
            });
            let joined = Joined::new(rows, |row, next| row.query_id == next.query_id);
            return Ok(Box::new(joined.map(|row| {
                row.map(|(line, mut row)| {
                    trec::rank(&mut row);
                    (line, row)
                })
            })));
        }
        _ => {}
    }
    let encoding = encoding_of(path, format)?;
    let records = Records::open(path, encoding)?;
    match format {
        RowFormat::StTriplet | RowFormat::StNTuple | RowFormat::StLabeledPair | RowFormat::StLabeledList => {
            let (options, mut columns) = (options.clone(), None);
            let rows = records.map(move |record| {
                let mut record = record?;
                if columns.is_none() {
                    columns = Some(Columns::of(&record, format, &options)?);
                }
                match &columns {
                    Some(columns) => Ok((record.line, st_read::row_of(&mut record, format, columns)?)),
                    None => Err(record.bad("no columns", "")),
                }
            });
            Ok(Box::new(Joined::new(rows, move |row, next| st_read::joins(format, row, next))))
        }
        RowFormat::TevatronV2 => {
            let beside = corpus_path(path);
            let corpus = match &options.corpus {
                Some(given) => Some(Corpus::read(given, encoding_of(given, format)?)?),
                None if beside.exists() && !options.ids_only => {
                    Some(Corpus::read(&beside, encoding_of(&beside, format)?)?)
                }
                None => None,
            };
            Ok(Box::new(records.map(move |record| {
                let mut record = record?;
                Ok((record.line, tevatron::v2_row(&mut record, corpus.as_ref())?))
            })))
        }
        _ => {
            let row_of = match format {
                RowFormat::FlagEmbedding => flagembedding::row_of,
                RowFormat::Tevatron => tevatron::legacy_row,
                RowFormat::MsmarcoHardNegatives => msmarco::hard_negatives_row,
                _ => native::row_of,
            };
            Ok(Box::new(records.map(move |record| {
                let mut record = record?;
                Ok((record.line, row_of(&mut record)?))
            })))
        }
    }
}

/// The columns of a file in one of the sentence-transformers shapes.
///
/// # Errors
/// A file without records; columns that are not clear.
pub fn columns(path: &Path, format: RowFormat, options: &ReadOptions) -> Result<Columns> {
    match Records::open(path, encoding_of(path, format)?)?.next() {
        Some(record) => Columns::of(&record?, format, options),
        None => Err(Error::input(path, None, "holds no record", "check the file")),
    }
}

/// How the file at `path` holds `format`: Parquet by content, the rest by name.
pub(super) fn encoding_of(path: &Path, format: RowFormat) -> Result<Encoding> {
    if input::is_parquet(path)? {
        return Ok(Encoding::Parquet);
    }
    match format.encoding(path) {
        Ok(encoding @ (Encoding::Csv | Encoding::Tsv)) => Ok(encoding),
        // Any other name holds JSON lines; what is not JSON is told with its line.
        _ => Ok(Encoding::JsonLines),
    }
}

/// Puts lines that follow each other into one row while `joins` says that they belong together.
struct Joined<I, J> {
    rows: I,
    joins: J,
    pending: Option<(u64, TrainingRow)>,
    /// An error read while the row before it was still growing; it comes right after that row.
    failed: Option<crate::Error>,
}

impl<I, J> Joined<I, J>
where
    J: Fn(&TrainingRow, &TrainingRow) -> bool,
{
    fn new(rows: I, joins: J) -> Self {
        Self { rows, joins, pending: None, failed: None }
    }
}

impl<I, J> Iterator for Joined<I, J>
where
    I: Iterator<Item = Result<(u64, TrainingRow)>>,
    J: Fn(&TrainingRow, &TrainingRow) -> bool,
{
    type Item = Result<(u64, TrainingRow)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        loop {
            match (self.rows.next(), &mut self.pending) {
                (None, _) => return self.pending.take().map(Ok),
                (Some(Err(e)), None) => return Some(Err(e)),
                (Some(Err(e)), Some(_)) => {
                    self.failed = Some(e);
                    return self.pending.take().map(Ok);
                }
                (Some(Ok(row)), None) => self.pending = Some(row),
                (Some(Ok((_, next))), Some((_, row))) if (self.joins)(row, &next) => {
                    // A line with both sides repeats the row's positive; a labeled pair brings one side only.
                    let repeats = !next.positives.is_empty() && !next.negatives.is_empty();
                    row.positives.extend(next.positives.into_iter().filter(|_| !repeats));
                    row.negatives.extend(next.negatives);
                }
                (Some(Ok(row)), Some(_)) => return self.pending.replace(row).map(Ok),
            }
        }
    }
}
