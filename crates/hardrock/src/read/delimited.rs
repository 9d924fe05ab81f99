//! Delimited text: tab-separated as retrieval data comes (quotes are plain characters), comma-separated with CSV quoting.
//!
//! A first row that holds a known field name is a header; otherwise the columns are taken by position where the loader
//! has a reading for that many.

use std::borrow::Cow;
use std::path::Path;

use super::bad_rows::BadRows;
use super::input::{self, clean_text};
use super::notice::{self, Notices};
use super::record::{Each, Fields, Place, Scalar};
use crate::{Error, Result};

/// Which column goes to which slot, settled on the first row.
struct Layout {
    header: Option<Vec<String>>,
    width: usize,
    slots: Vec<Option<usize>>,
}

impl Layout {
    fn of(path: &Path, line: u64, cells: &[&str], fields: &Fields) -> Result<Self> {
        let names: Vec<String> = cells.iter().map(|c| c.trim().to_owned()).collect();
        let width = cells.len();
        if names.iter().any(|n| fields.knows(n)) || fields.without_header().is_empty() {
            let slots = fields.columns(path, None, &names)?;
            return Ok(Self { header: Some(names), width, slots });
        }
        match fields.without_header().iter().find(|h| h.columns.contains(&width)) {
            Some(reading) => Ok(Self { header: None, width, slots: reading.slots.clone() }),
            None => {
                let wanted = (0..fields.len()).filter(|&s| fields.is_required(s)).map(|s| fields.name(s));
                let help = format!(
                    "begin the file with a header line; it needs at least the columns {}",
                    wanted.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
                );
                let columns = if width == 1 { "1 column".into() } else { format!("{width} columns") };
                Err(Error::input(path, None, format!("line {line} has {columns} and is no header"), help))
            }
        }
    }

    /// Fills the slots from a row; `false` = this was the header.
    fn fill<'a>(&self, place: Place<'_>, cells: &[&'a str], row: &mut [Scalar<'a>]) -> Result<()> {
        if cells.len() != self.width {
            let of = if self.header.is_some() { "the header" } else { "the first line" };
            return Err(place.error(
                format!("{} columns where {of} has {}", cells.len(), self.width),
                "every line needs the same columns; a tab or comma inside a text must be quoted (CSV) or removed",
            ));
        }
        if self.header.as_ref().is_some_and(|h| h.iter().map(String::as_str).eq(cells.iter().copied())) {
            return Err(place.error("the header line stands here again", "remove it"));
        }
        for (slot, column) in row.iter_mut().zip(&self.slots) {
            let cell = column.and_then(|c| cells.get(c));
            *slot = cell.map_or(Scalar::Absent, |c| Scalar::Text(Cow::Borrowed(c)));
        }
        Ok(())
    }
}

/// The names in the first row, if it is a header by the loader's names; for columns taken by position.
pub(crate) fn first_row(path: &Path, comma: bool) -> Result<Vec<String>> {
    if comma {
        let mut reader = csv_reader(input::open(path)?);
        let mut record = csv::ByteRecord::new();
        let more = reader.read_byte_record(&mut record).map_err(Error::format(path))?;
        let cells =
            if more { record.iter().map(|c| clean_text(path, 1, c)).collect() } else { Ok(Vec::new()) };
        return cells.map(|cells: Vec<&str>| cells.iter().map(|c| c.trim().to_owned()).collect());
    }
    let mut lines = input::open(path)?.lines();
    while let Some(line) = lines.next_line() {
        let (_, text) = line?;
        if !text.is_empty() {
            return Ok(text.split('\t').map(|c| c.trim().to_owned()).collect());
        }
    }
    Ok(Vec::new())
}

/// Tab-separated rows. Where [`Fields::trec`] allows it, rows without a tab are split at blanks and `#` begins a comment.
pub(crate) fn tabs(
    path: &Path,
    fields: &Fields,
    bad: &mut BadRows,
    notices: &mut Notices,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut lines = input::open(path)?.lines();
    notices.encoding(lines.bom());
    let mut layout: Option<Layout> = None;
    let mut blanks = false;
    loop {
        let outcome = match lines.next_line() {
            None => break,
            Some(Ok((_, text))) if text.is_empty() || (fields.is_trec() && text.starts_with('#')) => continue,
            Some(Ok((line, text))) => {
                if layout.is_none() {
                    blanks = fields.is_trec() && !text.contains('\t');
                }
                let cells: Vec<&str> =
                    if blanks { text.split_ascii_whitespace().collect() } else { text.split('\t').collect() };
                one(path, line, &cells, &mut layout, fields, notices, each)
            }
            Some(Err(e)) => Err(e),
        };
        bad.settle(outcome, || String::from_utf8_lossy(lines.raw()).into_owned())?;
    }
    notices.line_ends(lines.crlf());
    Ok(())
}

/// Comma-separated rows with CSV quoting.
pub(crate) fn commas(
    path: &Path,
    fields: &Fields,
    bad: &mut BadRows,
    notices: &mut Notices,
    each: &mut Each<'_>,
) -> Result<()> {
    let input = input::open(path)?;
    notices.encoding(input.bom());
    let compression = input.compression();
    let mut reader = csv_reader(input);
    let mut record = csv::ByteRecord::new();
    let mut layout: Option<Layout> = None;
    loop {
        let before = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(e) => {
                return Err(match e.into_kind() {
                    csv::ErrorKind::Io(e) => input::broken_stream(path, compression, before, e),
                    other => Error::Format { path: path.to_owned(), message: format!("{other:?}") },
                });
            }
        }
        let line = record.position().map_or(before, csv::Position::line);
        let cells: Result<Vec<&str>> = record.iter().map(|c| clean_text(path, line, c)).collect();
        let outcome = cells.and_then(|cells| one(path, line, &cells, &mut layout, fields, notices, each));
        bad.settle(outcome, || record.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(","))?;
    }
}

fn csv_reader(input: input::Input) -> csv::Reader<input::Input> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input)
}

fn one(
    path: &Path,
    line: u64,
    cells: &[&str],
    layout: &mut Option<Layout>,
    fields: &Fields,
    notices: &mut Notices,
    each: &mut Each<'_>,
) -> Result<()> {
    let layout = match layout {
        Some(layout) => layout,
        None => {
            let settled = layout.insert(Layout::of(path, line, cells, fields)?);
            if settled.header.is_some() {
                return Ok(());
            }
            notices.add(notice::NO_HEADER, 1);
            settled
        }
    };
    let mut row = vec![Scalar::Absent; fields.len()];
    let place = Place { path, line };
    layout.fill(place, cells, &mut row)?;
    each(place, &mut row)
}
