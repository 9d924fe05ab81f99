//! Flat tables of named columns as JSON lines, CSV, TSV or Parquet: what the sentence-transformers shapes are written to.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Float32Builder, Int64Builder, ListBuilder, StringBuilder};
use arrow_schema::{DataType, Field, Schema};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::columnar::ParquetSink;
use super::format::Encoding;
use super::sink::TextSink;
use crate::atomic::Sealed;
use crate::{Error, Result};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Texts,
    Int,
    Ints,
    Float,
    Floats,
}

/// One value; its variant matches its column's [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    /// `None` only where a row of an n-tuple is short.
    Text(Option<Cow<'a, str>>),
    Texts(Vec<Cow<'a, str>>),
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Floats(Vec<f32>),
}

/// A named column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

impl Column {
    pub(super) fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind }
    }
}

/// A streaming writer of rows of cells.
pub(super) struct TableWriter {
    columns: Vec<Column>,
    body: Body,
}

enum Body {
    Json(Box<TextSink>),
    Separated(Box<csv::Writer<TextSink>>, std::path::PathBuf),
    Parquet(Box<ParquetSink>, Vec<ColumnBuilder>),
}

impl TableWriter {
    /// Opens the file and, where the encoding has one, writes the header.
    ///
    /// # Errors
    /// Lists in CSV or TSV; two columns of one name; the errors of [`TextSink::create`].
    pub(super) fn create(path: &Path, encoding: Encoding, columns: Vec<Column>, force: bool) -> Result<Self> {
        for (i, column) in columns.iter().enumerate() {
            if columns[..i].iter().any(|c| c.name == column.name) {
                return Err(Error::usage(
                    format!("two columns would be called `{}`", column.name),
                    "give the anchor, positive and negative columns different names",
                ));
            }
        }
        let body = match encoding {
            Encoding::Csv | Encoding::Tsv => {
                let is_list = |c: &&Column| matches!(c.kind, Kind::Texts | Kind::Ints | Kind::Floats);
                if let Some(list) = columns.iter().find(is_list) {
                    return Err(Error::usage(
                        format!(
                            "{}: the column `{}` is a list, which CSV cannot hold",
                            path.display(),
                            list.name
                        ),
                        "write .jsonl or .parquet, or leave the scores out",
                    ));
                }
                let delimiter = if encoding == Encoding::Csv { b',' } else { b'\t' };
                let sink = TextSink::create(path, force)?;
                let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(sink);
                writer
                    .write_record(columns.iter().map(|c| c.name.as_str()))
                    .map_err(|e| Error::io("write", path)(e.into()))?;
                Body::Separated(Box::new(writer), path.to_owned())
            }
            Encoding::Parquet => {
                let fields = columns.iter().map(|c| Field::new(&c.name, c.kind.data_type(), true));
                let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                let builders = columns.iter().map(|c| ColumnBuilder::new(c.kind)).collect();
                Body::Parquet(Box::new(ParquetSink::create(path, schema, force)?), builders)
            }
            Encoding::JsonLines | Encoding::Plain => Body::Json(Box::new(TextSink::create(path, force)?)),
        };
        Ok(Self { columns, body })
    }

    /// Writes one row; `cells` in column order.
    pub(super) fn write(&mut self, cells: &[Cell<'_>]) -> Result<()> {
        debug_assert_eq!(cells.len(), self.columns.len());
        match &mut self.body {
            Body::Json(sink) => sink.json(&JsonRow { columns: &self.columns, cells }),
            Body::Separated(writer, path) => writer
                .write_record(cells.iter().map(|c| c.flat()).map(|c| c.into_owned()))
                .map_err(|e| Error::io("write", path)(e.into())),
            Body::Parquet(sink, builders) => {
                let bytes = cells.iter().map(Cell::size).sum();
                for (builder, cell) in builders.iter_mut().zip(cells) {
                    builder.push(cell);
                }
                if sink.added(bytes) {
                    sink.batch(builders.iter_mut().map(ColumnBuilder::finish).collect())?;
                }
                Ok(())
            }
        }
    }

    /// Writes what is left; the file is whole under its temporary name.
    pub(super) fn seal(self) -> Result<Sealed> {
        match self.body {
            Body::Json(sink) => sink.seal(),
            Body::Separated(writer, path) => {
                writer.into_inner().map_err(|e| Error::io("write", &path)(e.into_error()))?.seal()
            }
            Body::Parquet(sink, mut builders) => {
                sink.seal(builders.iter_mut().map(ColumnBuilder::finish).collect())
            }
        }
    }
}

impl Cell<'_> {
    /// The value as a field of CSV. Lists were refused when the file was opened.
    fn flat(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text.as_deref().unwrap_or_default()),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Float(value) => Cow::Owned(value.to_string()),
            Self::Texts(_) | Self::Ints(_) | Self::Floats(_) => Cow::Borrowed(""),
        }
    }

    /// Bytes it takes in memory, roughly.
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.as_deref().map_or(0, str::len) + 4,
            Self::Texts(texts) => texts.iter().map(|t| t.len() + 4).sum(),
            Self::Int(_) | Self::Float(_) => 8,
            Self::Ints(values) => values.len() * 8,
            Self::Floats(values) => values.len() * 4,
        }
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Texts(texts) => texts.serialize(serializer),
            Self::Int(value) => value.serialize(serializer),
            Self::Ints(values) => values.serialize(serializer),
            Self::Float(value) => value.serialize(serializer),
            Self::Floats(values) => values.serialize(serializer),
        }
    }
}

/// A row as a JSON object with its keys in column order.
struct JsonRow<'a> {
    columns: &'a [Column],
    cells: &'a [Cell<'a>],
}

impl Serialize for JsonRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, cell) in self.columns.iter().zip(self.cells) {
            map.serialize_entry(&column.name, cell)?;
        }
        map.end()
    }
}

impl Kind {
    fn data_type(self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Texts => list(DataType::Utf8),
            Self::Ints => list(DataType::Int64),
            Self::Floats => list(DataType::Float32),
        }
    }
}

/// Collects one column until its batch is full.
enum ColumnBuilder {
    Text(StringBuilder),
    Texts(ListBuilder<StringBuilder>),
    Int(Int64Builder),
    Ints(ListBuilder<Int64Builder>),
    Float(Float32Builder),
    Floats(ListBuilder<Float32Builder>),
}

impl ColumnBuilder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Texts => Self::Texts(ListBuilder::new(StringBuilder::new())),
            Kind::Int => Self::Int(Int64Builder::new()),
            Kind::Ints => Self::Ints(ListBuilder::new(Int64Builder::new())),
            Kind::Float => Self::Float(Float32Builder::new()),
            Kind::Floats => Self::Floats(ListBuilder::new(Float32Builder::new())),
        }
    }

    fn push(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Text(b), Cell::Text(text)) => b.append_option(text.as_deref()),
            (Self::Texts(b), Cell::Texts(texts)) => b.append_value(texts.iter().map(|t| Some(t.as_ref()))),
            (Self::Int(b), Cell::Int(value)) => b.append_value(*value),
            (Self::Ints(b), Cell::Ints(values)) => b.append_value(values.iter().map(|v| Some(*v))),
            (Self::Float(b), Cell::Float(value)) => b.append_value(*value),
            (Self::Floats(b), Cell::Floats(values)) => b.append_value(values.iter().map(|v| Some(*v))),
            (_, cell) => debug_assert!(false, "{cell:?} is not of its column's kind"),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(b) => Arc::new(b.finish()),
            Self::Texts(b) => Arc::new(b.finish()),
            Self::Int(b) => Arc::new(b.finish()),
            Self::Ints(b) => Arc::new(b.finish()),
            Self::Float(b) => Arc::new(b.finish()),
            Self::Floats(b) => Arc::new(b.finish()),
        }
    }
}
