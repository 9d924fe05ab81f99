//! Streams the records of a file, whatever holds them: JSON lines, CSV or TSV with a header, Parquet, or bare lines.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::columnar::ParquetRecords;
use super::format::Encoding;
use super::record::Record;
use crate::read::{self, Input, Lines};
use crate::{Error, Result};

/// The records of a file in order.
pub(super) enum Records {
    Json { path: Arc<Path>, lines: Lines },
    Separated { path: Arc<Path>, reader: Box<csv::Reader<Input>>, header: Vec<String>, late: u64 },
    Parquet(ParquetRecords),
}

impl Records {
    pub(super) fn open(path: &Path, encoding: Encoding) -> Result<Self> {
        let shared: Arc<Path> = path.into();
        match encoding {
            Encoding::Parquet => ParquetRecords::open(path).map(Self::Parquet),
            Encoding::Csv | Encoding::Tsv => {
                let delimiter = if encoding == Encoding::Csv { b',' } else { b'\t' };
                let mut reader =
                    csv::ReaderBuilder::new().delimiter(delimiter).from_reader(read::open(path)?);
                let header: Vec<String> = match reader.headers() {
                    Ok(names) => names.iter().map(str::to_owned).collect(),
                    Err(e) => return Err(separated_error(path, e)),
                };
                for (i, name) in header.iter().enumerate() {
                    if header[..i].contains(name) {
                        return Err(Error::input(
                            path,
                            1,
                            "this column stands twice",
                            "rename one of the two",
                        )
                        .field(name));
                    }
                }
                let late = u64::from(windows_lines(path)?);
                Ok(Self::Separated { path: shared, reader: Box::new(reader), header, late })
            }
            Encoding::JsonLines | Encoding::Plain => {
                Ok(Self::Json { path: shared, lines: read::open(path)?.lines() })
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Parquet(records) => records.next(),
            Self::Json { path, lines } => loop {
                match lines.next_line()? {
                    Ok((_, text)) if text.trim().is_empty() => {}
                    Ok((line, text)) => return Some(Record::parse(path.clone(), line, text)),
                    Err(e) => return Some(Err(e)),
                }
            },
            Self::Separated { path, reader, header, late } => {
                let mut row = csv::StringRecord::new();
                match reader.read_record(&mut row) {
                    Ok(false) => None,
                    Ok(true) => {
                        let line = row.position().map_or(0, csv::Position::line) + *late;
                        let fields =
                            header.iter().zip(&row).map(|(n, v)| (n.clone(), Value::String(v.to_owned())));
                        Some(Ok(Record::new(path.clone(), line, fields.collect())))
                    }
                    Err(e) => Some(Err(separated_error(path, e))),
                }
            }
        }
    }
}

/// The bare lines of a file, each split by `split` into exactly `N` fields.
pub(super) struct PlainLines<const N: usize> {
    path: Arc<Path>,
    lines: Lines,
    split: Split,
}

/// How a bare line falls into fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Split {
    /// At every tab.
    Tabs,
    /// At runs of blanks; fields behind the last one wanted are left out, as trec_eval does.
    Blanks,
}

impl<const N: usize> PlainLines<N> {
    pub(super) fn open(path: &Path, split: Split) -> Result<Self> {
        Ok(Self { path: path.into(), lines: read::open(path)?.lines(), split })
    }

    /// An error about a line of this file.
    pub(super) fn wrong(&self, line: u64, field: &str, problem: String, help: &str) -> Error {
        Error::input(&self.path, line, problem, help).field(field)
    }
}

impl<const N: usize> Iterator for PlainLines<N> {
    type Item = Result<(u64, [String; N])>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (line, text) = match self.lines.next_line()? {
                Ok((_, text)) if text.trim().is_empty() => continue,
                Ok(line) => line,
                Err(e) => return Some(Err(e)),
            };
            let fields: Vec<String> = match self.split {
                Split::Tabs => text.split('\t').map(str::to_owned).collect(),
                Split::Blanks => text.split_ascii_whitespace().take(N).map(str::to_owned).collect(),
            };
            let count = fields.len();
            return Some(<[String; N]>::try_from(fields).map(|f| (line, f)).map_err(|_| {
                let (what, help) = match self.split {
                    Split::Tabs => ("tabs", "separate the fields by single tabs; texts must hold none"),
                    Split::Blanks => ("blanks", "a run line is: query Q0 document rank score tag"),
                };
                Error::input(&self.path, line, format!("{count} fields between {what}, {N} expected"), help)
            }));
        }
    }
}

/// Whether the first line ends in `\r\n`. The csv crate ends a record at the `\r`, so its line numbers are one behind then.
fn windows_lines(path: &Path) -> Result<bool> {
    let mut line = Vec::new();
    read::open(path)?.read_until(b'\n', &mut line).map_err(Error::io("read", path))?;
    Ok(line.ends_with(b"\r\n"))
}

/// The csv crate's error in our words.
fn separated_error(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(e) => Error::io("read", path)(e),
        csv::ErrorKind::Utf8 { .. } => {
            Error::input(path, line, "not UTF-8", "convert it: iconv -f LATIN1 -t UTF-8 FILE")
        }
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => Error::input(
            path,
            line,
            format!("{len} fields, but the header has {expected_len}"),
            "put texts that hold the separator, quotes or line breaks in double quotes",
        ),
        other => Error::input(path, line, format!("{other:?}"), "check the quoting"),
    }
}
